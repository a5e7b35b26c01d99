"""What services are asked, and what the model itself hears in it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from inference_corpus import SPEECH, write_files
from serving_clients import Answer

from toolkit.inference.transcriber import Transcriber

# The words that pretrained/an4-small knows, said by speakers that it does not; or other speech, or noise.
AN4 = SPEECH.parent / "an4/wav/an4test_clstk"
FILES = 48
LENGTHS = (2.0, 10.0)  # seconds
LONG_S = 1800.0


@dataclass(frozen=True)
class Corpus:
    """Files with their lengths in seconds, and what is said in them, and a long one."""

    files: Sequence[str]
    seconds: Sequence[float]
    texts: Sequence[str]
    long: str

    def check(self, answers: Sequence[Answer]) -> None:
        """Raise a ValueError where a service heard something else than the model does alone."""
        for answer in answers:
            if answer.text is not None and answer.text != self.texts[answer.file]:
                raise ValueError(
                    f"{self.files[answer.file]}: {answer.text!r} was answered, and {self.texts[answer.file]!r} is heard"
                )


@contextlib.contextmanager
def corpus(model: str, long_seconds: float = 0.0) -> Iterator[Corpus]:
    """Files of 2 to 10 s, the same every time, and a long one of so many seconds."""
    source = AN4 if AN4.is_dir() else SPEECH
    seconds = np.random.default_rng(0).uniform(*LENGTHS, size=FILES).round(1).tolist()
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name) / "short", seconds, source)
        long = write_files(Path(name) / "long", [long_seconds], source)[0] if long_seconds else ""
        heard = Transcriber.from_hparams(model).transcribe_files(files)
        yield Corpus(files, seconds, [transcript.text for transcript in heard], long)
