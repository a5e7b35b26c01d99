"""What the table of transcribers promises to check."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import soundfile

from toolkit.inference.transcript import Transcript

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("inference_files")


@pytest.mark.filterwarnings("ignore")  # of SpeechBrain
def test_nothing_is_said_of_answers_that_differ(files: ModuleType):
    def ours(paths: list[str]) -> list[Transcript]:
        return [Transcript(path) for path in paths]

    agreeing = (
        SimpleNamespace(transcribe_file=str),
        SimpleNamespace(transcribe_file=lambda path: path.replace("b", "c")),
    )
    row = files.Both(SimpleNamespace(transcribe_files=ours), agreeing[0], ["a", "b"]).timed_once("files", "peer", 8)
    assert (row.answers_equal, row.goal) == (True, 8)
    with pytest.raises(ValueError, match="answer differently"):
        files.Both(SimpleNamespace(transcribe_files=ours), agreeing[1], ["a", "b"]).timed_once("files", "peer", 8)


@pytest.mark.filterwarnings("ignore")
def test_files_have_the_length_that_is_asked_for(files: ModuleType, tmp_path: Path):
    paths = files.write_files(tmp_path, [1.5, 0.5])
    assert [soundfile.info(path).duration for path in paths] == [1.5, 0.5]
