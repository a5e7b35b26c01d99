"""From the command line to the first words: CPU seconds of a process that starts cold, imports and all."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from inference_corpus import write_files, write_model
from side_by_side import Row, compare

PEER = """
import sys
from speechbrain.inference.ASR import EncoderASR
folder, path = sys.argv[1:]
print(EncoderASR.from_hparams(folder, savedir=folder + "/fetched").transcribe_file(path))
"""
SHIPPED = Path(__file__).parents[1] / "pretrained/an4-small"
ASR = (sys.executable, "-m", "toolkit")


def rows(quick: bool) -> Iterator[Row]:
    """The list of commands, and a short file: with the model that is shipped, and with a Conformer of 12 x 256."""
    repeats = {"repeats": 2 if quick else 5}
    python = (sys.executable, "-c", "import argparse")
    yield compare(
        "cold start, `asr --help`",
        lambda: output(*ASR, "--help"),
        lambda: output(*python),
        peer_name="Python, `import argparse`",
        goal=None,
        most=0.5,
        same=lambda ours, _: "transcribe" in ours,
        **repeats,
    )
    with tempfile.TemporaryDirectory() as name:
        model = str(write_model(Path(name) / "ctc", "ctc"))
        (path,) = write_files(Path(name) / "audio", [3.0])
        yield compare(
            "cold start, `asr transcribe pretrained/an4-small` of a file of 3 s",
            lambda: output(*ASR, "transcribe", str(SHIPPED), path),
            lambda: output(sys.executable, "-c", "import torch"),
            peer_name="Python, `import torch`",
            goal=None,
            most=5.0,
            same=lambda ours, _: path in ours,
            **repeats,
        )
        yield compare(
            "cold start, `asr transcribe` of a file of 3 s, Conformer 12 x 256, CTC, greedy",
            lambda: output(*ASR, "transcribe", model, path),
            lambda: output(sys.executable, "-c", PEER, model, path),
            peer_name="SpeechBrain EncoderASR",
            goal=None,
            most=5.0,
            same=lambda ours, peer: peer.split()[-1] in ours,
            **repeats,
        )


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
