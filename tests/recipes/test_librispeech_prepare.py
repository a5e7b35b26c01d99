"""The preparations of LibriSpeech and its miniature, on miniature trees in their layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from librispeech_tree import RECIPES, build_librispeech, build_openrir, script
from miniature import read_cuts

from toolkit.dataio.librispeech import archives_of
from toolkit.dataio.noises import list_audio
from toolkit.errors import DataError

REAL = Path(os.environ.get("ASR_DATA", RECIPES.parent.parent / "shared/data")) / "LibriSpeech"
TESTS = {"test-clean": {"61-70968-0000": "HE BEGAN"}, "test-other": {"367-130732-0000": "LOBSTERS"}}
MINI = {
    "train-clean-5": {"84-121123-0000": "GO ON", "84-121123-0001": "DON'T"},
    "dev-clean-2": {"1272-128104-0000": "MISTER QUILTER"},
    **TESTS,
}
FULL = {
    "train-clean-100": {"103-1240-0000": "CHAPTER ONE"},
    "train-clean-360": {"100-121669-0000": "TOM THE PIPER'S SON"},
    "train-other-500": {"20-205-0000": "NINETY NINE"},
    "dev-clean": {"1272-128104-0000": "MISTER QUILTER"},
    "dev-other": {"116-288045-0000": "AS I APPROACHED THE CITY"},
    **TESTS,
}


def words(manifests: Path, split: str) -> dict[str, str]:
    return {cut.id: cut.supervisions[0].text for cut in read_cuts(manifests / f"{split}.json")}


def test_the_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, manifests = build_librispeech(tmp_path / "LibriSpeech", MINI), tmp_path / "manifests"
    script("MiniLibriSpeech", "mini_librispeech_prepare").main([str(corpus), str(manifests)])
    splits = {"train": "train-clean-5", "valid": "dev-clean-2", "test_clean": "test-clean", "test_other": "test-other"}
    assert {split: words(manifests, split) for split in splits} == {split: MINI[splits[split]] for split in splits}
    cuts = list(read_cuts(manifests / "train.json"))
    assert [(cut.supervisions[0].speaker, cut.load_audio().shape) for cut in cuts] == [("84", (1, 2000))] * 2
    assert (manifests / "lm_train.txt").read_text() == "GO ON\nDON'T\n"
    assert "nothing was dropped" in capsys.readouterr().out


@pytest.mark.parametrize(("hours", "parts"), [("100", 1), ("460", 2), ("960", 3)])
def test_as_many_hours_as_are_asked_for(hours: str, parts: int, tmp_path: Path) -> None:
    corpus, manifests = build_librispeech(tmp_path / "LibriSpeech", FULL), tmp_path / "manifests"
    script("LibriSpeech", "librispeech_prepare").main([str(corpus), str(manifests), "--hours", hours])
    asked = [FULL[part] for part in ("train-clean-100", "train-clean-360", "train-other-500")[:parts]]
    assert words(manifests, "train") == {name: text for part in asked for name, text in part.items()}
    assert words(manifests, "dev_other") == FULL["dev-other"]


def test_100_hours_need_no_other(tmp_path: Path) -> None:
    some = {part: texts for part, texts in FULL.items() if part not in ("train-clean-360", "train-other-500")}
    corpus = build_librispeech(tmp_path / "LibriSpeech", some)
    prepare = script("LibriSpeech", "librispeech_prepare").main
    prepare([str(corpus), str(tmp_path / "manifests"), "--hours", "100"])
    with pytest.raises(DataError, match="looked for train-clean-360, train-other-500; it holds: dev-clean"):
        prepare([str(corpus), str(tmp_path / "others")])
    assert not (tmp_path / "others").exists()


def test_text_and_noises_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, manifests = build_librispeech(tmp_path / "LibriSpeech", MINI), tmp_path / "manifests"
    text = tmp_path / "books.txt"
    text.write_text("".join(f"SENTENCE {number}\n" for number in range(503)) + "HE BEGAN\n")
    options: list[Any] = ["--lm-text", text, "--openrir", build_openrir(tmp_path / "RIRS_NOISES")]
    script("MiniLibriSpeech", "mini_librispeech_prepare").main([str(corpus), str(manifests), *map(str, options)])
    assert (manifests / "lm_books.txt").read_text() == "SENTENCE 500\nSENTENCE 501\nSENTENCE 502\n"
    assert [len(list_audio(manifests / f"{kind}s.jsonl", kind)) for kind in ("noise", "rir")] == [2, 1]
    assert "OpenRIR: 2 noises, 1 rirs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "told"),
    [("--lm-text", "nowhere: no such text; expected sentences"), ("--openrir", "nowhere is not OpenRIR's RIRS_NOISES")],
)
def test_what_is_asked_for_is_looked_for_before_anything_is_written(option: str, told: str, tmp_path: Path) -> None:
    corpus, manifests = build_librispeech(tmp_path / "LibriSpeech", MINI), tmp_path / "manifests"
    with pytest.raises(DataError, match=told):
        script("MiniLibriSpeech", "mini_librispeech_prepare").main(
            [str(corpus), str(manifests), option, str(tmp_path / "nowhere")]
        )
    assert not manifests.exists()


def test_what_is_validated_or_tested_on_is_left_out_of_the_text(tmp_path: Path) -> None:
    corpus, manifests, text = build_librispeech(tmp_path / "LibriSpeech", FULL), tmp_path / "m", tmp_path / "books.txt"
    text.write_text(
        "".join(f"SENTENCE {number}\n" for number in range(500)) + "CHAPTER ONE\nMISTER QUILTER\nLOBSTERS\n"
    )
    script("LibriSpeech", "librispeech_prepare").main([str(corpus), str(manifests), "--lm-text", str(text)])
    assert (manifests / "lm_books.txt").read_text() == "CHAPTER ONE\n"


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    corpus, text = build_librispeech(tmp_path / "LibriSpeech", MINI), tmp_path / "books.txt"
    text.write_text("".join(f"SENTENCE {number}\n" for number in range(503)))
    extras = ["--lm-text", str(text), "--openrir", str(build_openrir(tmp_path / "RIRS_NOISES"))]
    before = sorted(tmp_path.rglob("*"))
    prepare = script("MiniLibriSpeech", "mini_librispeech_prepare").main
    prepare([str(corpus), str(tmp_path / "manifests"), "--download", *extras])
    assert [path for path in sorted(tmp_path.rglob("*")) if "manifests" not in path.parts] == before


def test_archives_are_those_of_openslr() -> None:
    mini, clean = archives_of(["train-clean-5", "test-clean"])
    assert (mini.url, mini.checksum) == ("https://www.openslr.org/resources/31/train-clean-5.tar.gz", None)
    assert clean.url == "https://www.openslr.org/resources/12/test-clean.tar.gz"
    assert (clean.target, clean.member) == ("test-clean", "LibriSpeech/test-clean")
    assert clean.checksum.startswith("sha256:39fde525")


@pytest.mark.skipif(not REAL.is_dir(), reason="LibriSpeech is not beside the project")
def test_the_real_miniature(tmp_path: Path) -> None:
    script("MiniLibriSpeech", "mini_librispeech_prepare").main([str(REAL), str(tmp_path)])
    speakers = {}
    for split in ("train", "valid", "test_clean", "test_other"):
        speakers[split] = {cut.supervisions[0].speaker for cut in read_cuts(tmp_path / f"{split}.json")}
    assert sum(map(len, speakers.values())) == len(set.union(*speakers.values()))
