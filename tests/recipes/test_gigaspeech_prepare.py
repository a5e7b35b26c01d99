"""GigaSpeech's preparation on a miniature GigaSpeech.json with Opus audio."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.dataio.cut_audio import load_cut
from toolkit.errors import DataError


@pytest.fixture(scope="module")
def gigaspeech() -> ModuleType:
    """The recipe's script."""
    return load_prepare("GigaSpeech")


def segment(recording: str, number: int, start: float, words: str, *subsets: str) -> dict[str, Any]:
    return {
        **{"sid": f"{recording}_S{number:07d}", "speaker": "N/A", "begin_time": start, "end_time": start + 1},
        **{"text_tn": words, "subsets": [f"{{{subset}}}" for subset in subsets]},
    }


PODCAST = [
    segment("POD1", 1, 0.0, "DOUGLAS MCGRAY <COMMA> OUR GUIDE <PERIOD>", "XL", "L", "M", "S", "XS"),
    segment("POD1", 2, 1.5, "DON'T GO <EXCLAMATIONPOINT> WHY <QUESTIONMARK>", "XL", "L"),
    segment("POD1", 3, 3.0, "<MUSIC>", "XL", "L", "M", "S", "XS"),
    segment("POD1", 4, 4.0, "<COMMA> <PERIOD>", "XL", "L", "M", "S", "XS"),
]
YOUTUBE = [segment("YOU1", 1, 0.5, "AS WE KNOW", "DEV"), segment("YOU1", 2, 2.0, "IT IS <OTHER>", "TEST")]
BOOK = [segment("AUD1", 1, 2.25, "CHAPTER ONE", "TEST"), segment("AUD1", 2, 4.5, "THE END", "XL", "XS")]


def build(folder: Path) -> Path:
    audios = []
    for name, kind, segments in (("POD1", "podcast", PODCAST), ("YOU1", "youtube", YOUTUBE), ("AUD1", "book", BOOK)):
        path = f"audio/{kind}/P0000/{name}.opus"
        sing(folder / path, 5.0)
        subsets = sorted({subset for one in segments for subset in one["subsets"]})
        audios.append({"aid": name, "path": path, "subsets": subsets, "speaker": "N/A", "segments": segments})
    document = {"dataset": "GigaSpeech", "language": "EN", "version": "v1.0.0", "audios": audios}
    (folder / "GigaSpeech.json").write_text(json.dumps(document, indent=4))
    return folder


@pytest.mark.parametrize(
    ("subset", "train"),
    [
        ("XS", {"POD1_S0000001": "DOUGLAS MCGRAY OUR GUIDE"}),
        ("L", {"POD1_S0000001": "DOUGLAS MCGRAY OUR GUIDE", "POD1_S0000002": "DON'T GO WHY"}),
    ],
)
def test_subsets(gigaspeech: ModuleType, tmp_path: Path, subset: str, train: dict[str, str]) -> None:
    dropped = gigaspeech.prepare_gigaspeech(build(tmp_path / "giga"), tmp_path / "m", subset)
    assert spoken(tmp_path / "m/train.json") == train
    assert spoken(tmp_path / "m/valid.json") == {"YOU1_S0000001": "AS WE KNOW"}
    assert spoken(tmp_path / "m/test.json") == {"AUD1_S0000001": "CHAPTER ONE"}
    reasons = {"with <MUSIC>": ["POD1_S0000003"], "with <OTHER>": ["YOU1_S0000002"]}
    reasons["with an empty transcript"] = ["POD1_S0000004"]
    beyond = {"that are no part of their recording": 1} if subset == "XS" else {}
    counts = {reason: len(cases) for reason, cases in dropped.reasons.items()}
    assert counts == dict.fromkeys(reasons, 1) | beyond
    assert (tmp_path / "m/lm_train.txt").read_text().splitlines() == list(train.values())


def test_opus_is_heard_at_its_place(gigaspeech: ModuleType, tmp_path: Path) -> None:
    gigaspeech.main([str(build(tmp_path / "giga")), str(tmp_path / "m"), "--subset", "L"])
    whole, _ = soundfile.read(tmp_path / "giga/audio/book/P0000/AUD1.opus")
    (cut,) = read_cuts(tmp_path / "m/test.json")
    np.testing.assert_allclose(load_cut(cut).numpy(), whole[36000:52000], atol=0.01)


def test_bad_input_is_named(gigaspeech: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "giga")
    with pytest.raises(DataError, match=r"is not GigaSpeech: looked for GigaSpeech.json, audio; it holds: giga"):
        gigaspeech.prepare_gigaspeech(tmp_path, tmp_path / "m")
    path = corpus / "GigaSpeech.json"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=r"GigaSpeech.json: ends within its list"):
        gigaspeech.prepare_gigaspeech(corpus, tmp_path / "m")
    path.write_text(text.replace('"begin_time"', '"start"'))
    with pytest.raises(DataError, match=r"GigaSpeech.json: recording 1 is not as expected \(KeyError\('begin_time'\)"):
        gigaspeech.prepare_gigaspeech(corpus, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []
