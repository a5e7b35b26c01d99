"""Statistics: every figure counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from toolkit.cli.main import main
from toolkit.tokenizer import Tokenizer

SECONDS = [1.0, 2.0, 2.5, 4.0, 10.0]
TEXTS = ["ABC", "B A C", "ABC CAB", "", "A B"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Five utterances of two speakers, whose audio is not there."""
    lines = [
        {"audio_filepath": f"{number}.wav", "duration": seconds, "text": text, "lang": "en", "sampling_rate": 8000}
        | ({"speaker": f"s{number % 2}"} if number < 4 else {})
        for number, (seconds, text) in enumerate(zip(SECONDS, TEXTS, strict=True))
    ]
    path = tmp_path / "m.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def table(text: str) -> dict[str, list[str]]:
    rows = [(line[:22].strip(), line[22:].split()) for line in text.splitlines()]
    return {name: figures for name, figures in rows if len(figures) > 8}


def test_figures(manifest: Path, tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = [len(tokenizer.encode(text)) for text in TEXTS]
    options = ["--tokenizer", str(tokenizer.model_file), "--max-duration", "4", "--min-tps", "0.5", "--max-tps", "3.5"]
    assert main(["data", "stats", str(manifest), *options]) == 0
    shown = capsys.readouterr().out
    for line in (
        "utterances    5",
        "hours         0.01",
        "speakers      2",
        "languages     en: 5",
        "sample rates  8000 Hz: 5",
        "words         8, 5 different",  # ABC twice; B, A and C, of which two once more; CAB
        "characters    4 different: ' ABC'",
        f"tokens        {sum(tokens)}",
        "without text  1",
        "seconds: 1 above 4 (20.00% out of range)",
    ):
        assert line in shown.splitlines()
    rows = table(shown)
    rates = np.divide(tokens, SECONDS)
    for name, values in (("seconds", SECONDS), ("tokens", tokens), ("tokens a second", rates)):
        quartiles = [np.quantile(values, level) for level in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)]
        expected = [np.mean(values), min(values), *quartiles, max(values)]
        np.testing.assert_allclose([float(figure) for figure in rows[name]], expected, atol=0.006)
    below, above = sum(rate < 0.5 for rate in rates), sum(rate > 3.5 for rate in rates)
    assert f"tokens a second: {below} below 0.5, {above} above 3.5 ({(below + above) / 5:.2%} out of range)" in shown


def test_bounds_of_the_yaml_are_counted_not_applied(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.yaml").write_text(f"{{manifest_filepath: {manifest}, min_duration: 1.5, max_duration: 4}}")
    assert main(["data", "stats", str(tmp_path / "data.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "utterances    5" in shown
    assert "seconds: 1 below 1.5, 1 above 4 (40.00% out of range)" in shown


def test_histograms(manifest: Path, tmp_path: Path) -> None:
    assert main(["data", "stats", str(manifest), "--png", str(tmp_path / "h.png"), "--max-duration", "4"]) == 0
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")


def test_tokens_need_a_tokenizer(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(manifest), "--max-tps", "4"]) == 2
    assert capsys.readouterr().err == "error: --max-tps: counts tokens; name a --tokenizer\n"


@pytest.mark.parametrize("kind", ["nemo", "kaldi"])
def test_a_rate_that_the_manifest_does_not_tell_is_not_known(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "nemo":
        path = tmp_path / "m.json"
        lines = [{"audio_filepath": "a.wav", "duration": 1.0}] * 2
        lines += [{"audio_filepath": "b.wav", "duration": 1.0, "sampling_rate": 8000}]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        path = tmp_path
        (path / "wav.scp").write_text("a a.wav\nb b.wav\n")
        (path / "reco2dur").write_text("a 1.0\nb 2.0\n")
    assert main(["data", "stats", str(path)]) == 0
    known = ", 8000 Hz: 1" if kind == "nemo" else ""
    assert f"sample rates  not known: 2{known}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--min-duration", "3", "--max-duration", "1"], "min_duration is 3 and max_duration is 1: nothing is within"),
        (["--png", "x.jpgg"], "--png x.jpgg: expected a file that ends in .png"),
        (["--png", "/dev/null/x.png"], "--png: /dev/null is not a folder"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(
    options: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.json").write_text("damaged")
    assert main(["data", "stats", str(tmp_path / "m.json"), *options]) == 2
    assert problem in capsys.readouterr().err


def test_an_empty_manifest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert main(["data", "stats", str(tmp_path / "empty.jsonl")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/empty.jsonl: holds no example\n"
