"""``asr align``: words of a known text with their times, printed or written in any format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.cli.main import main
from toolkit.inference.formats import text_of
from toolkit.inference.transcriber import Transcriber

TEXT = "BA CAB"


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    noise = 0.1 * np.random.default_rng(4).standard_normal(40000)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    return tmp_path / "a.wav"


def test_a_table_is_printed(run_folder: Path, audio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", str(run_folder), str(audio), TEXT, "--device", "cpu"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header == "start\tend\tconfidence\tword"
    assert (first.split("\t")[3], second.split("\t")[3]) == ("BA", "CAB")
    assert 0 <= float(first.split("\t")[0]) < float(second.split("\t")[0]) < 2.5


@pytest.mark.parametrize("form", ["TextGrid", "ctm", "srt", "json"])
def test_the_files_ending_is_the_format(run_folder: Path, audio: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / "text.txt").write_text(f"{TEXT}\n")
    output = tmp_path / "new" / f"a.{form}"
    arguments = [str(run_folder), str(audio), str(tmp_path / "text.txt"), "--output", str(output), "--device", "cpu"]
    assert main(["align", *arguments]) == 0
    found = Transcriber.from_hparams(run_folder, device="cpu").align(str(audio), TEXT)
    assert output.read_text(encoding="utf-8") == text_of(found, form)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("missing.txt", [], "missing.txt: cannot be read as text"),
        (TEXT, ["--format", "doc"], "format 'doc': expected one of txt, json"),
        (TEXT, ["--channel", "3"], "a.wav: has no channel 3"),
        ("", [], "the text to align has no words"),
    ],
)
def test_errors_are_one_sentence(
    run_folder: Path, audio: Path, text: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["align", str(run_folder), str(audio), text, *options, "--device", "cpu"]) == 2
    assert said in capsys.readouterr().err
