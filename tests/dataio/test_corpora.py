"""Utterances from the manifests of lhotse.recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from lhotse import AudioSource, Recording
from lhotse.supervision import SupervisionSegment

from toolkit.dataio.corpora import utterances_of
from toolkit.dataio.prepare import Dropped


def test_each_recording_is_an_utterance(tmp_path: Path) -> None:
    recordings, supervisions = [], []
    for name, text in {"a": "Go on", "b": "", "c": "Lost", "d": "Damaged", "e": None}.items():
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.zeros(800), 16000)
        recordings.append(Recording(name, [AudioSource("file", [0], str(path))], 16000, 800, 0.05))
        if text is not None:
            supervisions.append(SupervisionSegment(name, name, 0, 0.05, text=text, speaker="S", language="en"))
    supervisions.append(SupervisionSegment("a-2", "a", 0, 0.05, text="Go off"))
    recordings = [one for one in recordings if one.id != "c"]
    (tmp_path / "d.wav").write_bytes(b"no audio")
    dropped = Dropped()
    found = utterances_of(recordings, supervisions, tmp_path, dropped, words=lambda one: one.text.upper())
    assert found == {
        "a": {"wav": "{data_root}/a.wav", "length": 0.05, "sample_rate": 16000, "num_samples": 800, "words": "GO ON"}
        | {"speaker": "S", "language": "en"}
    }
    cases = {reason: [Path(case.split(":")[0]).stem for case in cases] for reason, cases in dropped.reasons.items()}
    assert cases == {
        "of a recording with another transcript": ["a-2"],
        "with an empty transcript": ["b"],
        "without audio": ["c"],
        "with unreadable audio": ["d"],
        "without a transcript": ["e"],
    }
