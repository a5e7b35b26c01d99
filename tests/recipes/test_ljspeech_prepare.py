"""LJSpeech's preparation on a miniature corpus."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.errors import DataError

LINES = {
    "LJ001-0001": "Printing, in the only sense|Printing, in the only sense",
    "LJ001-0007": "of about 1455, it's|of about fourteen fifty-five, it's",
    "LJ002-0001": 'the "rules" of § 3|the "rules" of § three',
    "LJ049-0001": "a café|a café",
    "LJ050-0001": "The President's car|The President's car",
}


@pytest.fixture(scope="module")
def ljspeech() -> ModuleType:
    """The recipe's script."""
    return load_prepare("LJSpeech")


def build(folder: Path) -> Path:
    for name in LINES:
        sing(folder / f"wavs/{name}.wav", sample_rate=22050)
    lines = "".join(f"{name}|{texts}\n" for name, texts in reversed(LINES.items()))
    (folder / "metadata.csv").write_text(lines, encoding="utf-8")
    return folder


def test_the_last_are_held_out(ljspeech: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dropped = ljspeech.prepare_ljspeech(build(tmp_path / "lj"), tmp_path / "m", held_out=1)
    assert spoken(tmp_path / "m/train.json") == {
        "LJ001-0001": "printing in the only sense",
        "LJ001-0007": "of about fourteen fifty five it's",
    }
    assert list(spoken(tmp_path / "m/valid.json")) == ["LJ049-0001"]
    assert spoken(tmp_path / "m/test.json") == {"LJ050-0001": "the president's car"}
    assert [case.split(":")[0] for cases in dropped.reasons.values() for case in cases] == ["LJ002-0001"]
    (cut,) = read_cuts(tmp_path / "m/test.json")
    assert (cut.sampling_rate, cut.supervisions[0].speaker) == (22050, "LJ")
    assert "COMMA" in capsys.readouterr().out  # of the table of characters that were left out


def test_a_missing_file_moves_no_other_to_another_split(ljspeech: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "lj")
    (corpus / "wavs/LJ001-0007.wav").unlink()
    dropped = ljspeech.prepare_ljspeech(corpus, tmp_path / "m", held_out=1)
    assert dropped.reasons["without audio"] == ["LJ001-0007"]
    assert json.loads((tmp_path / "m/valid.json").read_text(encoding="utf-8")).keys() == {"LJ049-0001"}
    (corpus / "wavs/LJ049-0001.wav").unlink()
    with pytest.raises(DataError, match="no utterance is left for valid"):
        ljspeech.prepare_ljspeech(corpus, tmp_path / "m", held_out=1)


def test_bad_input_is_named(ljspeech: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "lj")
    with pytest.raises(DataError, match=r"is not LJSpeech: looked for metadata.csv, wavs; it holds: lj"):
        ljspeech.main([str(tmp_path), str(tmp_path / "m")])
    with (corpus / "metadata.csv").open("a") as lines:
        lines.write("LJ050-0002|one column\n")
    with pytest.raises(DataError, match=r"metadata.csv: line 6 is not 'utterance\|text\|text with numbers"):
        ljspeech.main([str(corpus), str(tmp_path / "m")])
