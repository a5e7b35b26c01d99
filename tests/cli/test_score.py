"""The command ``asr score``: what it prints is what jiwer counts, and what it writes can be read."""

from __future__ import annotations

import base64
import io
import json
import random
import re
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile

from toolkit.cli.main import main
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.metrics.report import totals

WORDS = ["GO", "STOP", "YES", "NO", "ON", "OFF"]


@pytest.fixture
def texts(tmp_path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """References in ref.txt, and in hyp.txt what was recognised, in another order."""
    rng = random.Random(5)
    references = {f"u{number}": " ".join(rng.choices(WORDS, k=rng.randint(1, 8))) for number in range(40)}
    hypotheses = {
        name: " ".join(word if rng.random() < 0.8 else rng.choice([*WORDS, ""]) for word in text.split())
        for name, text in reversed(references.items())
    }
    for name, said in (("ref.txt", references), ("hyp.txt", hypotheses)):
        (tmp_path / name).write_text("".join(f"{key}\t{text}\n" for key, text in said.items()))
    return references, hypotheses


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["score", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_rates_are_jiwers(texts: tuple[dict, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    references, hypotheses = texts
    found = jiwer.process_words(list(references.values()), [" ".join(hypotheses[name].split()) for name in references])
    printed = shown(capsys, tmp_path / "ref.txt", tmp_path / "hyp.txt")
    errors = found.substitutions + found.insertions + found.deletions
    assert printed.startswith(f"%WER {100 * found.wer:.2f} [ {errors} / {sum(map(len, found.references))}, ")
    wrong = sum(references[name].split() != hypotheses[name].split() for name in references)
    assert f"%SER {100 * wrong / 40:.2f} [ {wrong} / 40 ]" in printed
    characters = [" ".join(text.split()) for text in (hypotheses[name] for name in references)]
    assert f"%CER {100 * jiwer.cer(list(references.values()), characters):.2f} [" in printed


def manifest(folder: Path) -> Path:
    """Two speakers, of whom Bob is not understood; one recording is a segment of NeMo's."""
    rng = np.random.default_rng(1)
    lines = []
    for number, speaker in enumerate(["ann", "ann", "bob"]):
        soundfile.write(folder / f"{number}.wav", rng.standard_normal(16000) / 9, 8000)
        entry = {"id": f"u{number}", "audio_filepath": f"{number}.wav", "duration": 0.5, "offset": 1.0, "text": "GO ON"}
        lines.append(json.dumps(entry | {"speaker": speaker, "sampling_rate": 8000}))
    (folder / "ref.jsonl").write_text("\n".join(lines) + "\n")
    hypotheses = ["GO ON", "GO", "STOP"]
    found = [json.dumps({"file": f"u{number}", "text": text}) for number, text in enumerate(hypotheses)]
    (folder / "hyp.jsonl").write_text("\n".join(found) + "\n")
    return folder / "ref.jsonl"


def test_errors_of_each_speaker_the_worst_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = shown(capsys, manifest(tmp_path), tmp_path / "hyp.jsonl", "--by", "speaker").splitlines()
    assert [line.split()[:5] for line in printed[-3:]] == [
        ["speaker", "utterances", "words", "errors", "WER"],
        ["bob", "1", "2", "2", "100.00"],
        ["ann", "2", "4", "1", "25.00"],
    ]
    assert all(line.endswith("  too few utterances") for line in printed[-2:])
    assert main(["score", str(tmp_path / "ref.jsonl"), str(tmp_path / "hyp.jsonl"), "--by", "speker"]) == 2
    assert "no reference has this field (did you mean 'speaker'?)" in capsys.readouterr().err


def test_page_links_to_the_segments_or_holds_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, page = manifest(tmp_path), tmp_path / "pages/report.html"
    shown(capsys, reference, tmp_path / "hyp.jsonl", "--html", page)
    assert re.findall(r'<audio[^>]*src="([^"]*)"', page.read_text()) == [
        "../2.wav#t=1.00,1.50",
        "../1.wav#t=1.00,1.50",
        "../0.wav#t=1.00,1.50",
    ]
    shown(capsys, reference, tmp_path / "hyp.jsonl", "--html", page, "--embed-audio", "--by", "speaker")
    held = re.findall(r'<audio[^>]*src="data:audio/flac;base64,([^"]*)"', page.read_text())
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(held[0])))
    np.testing.assert_allclose(samples, soundfile.read(tmp_path / "2.wav")[0][8000:12000], atol=1e-4)
    assert (rate, page.read_text().count("<td>ann")) == (8000, 2)


def test_case_and_punctuation_can_be_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ref.txt").write_text(
        "a\tDon't stop\u2014it's \u00bbYES\u00ab, \u0928\u092e\u0938\u094d\u0924\u0947!\n"
    )
    (tmp_path / "hyp.txt").write_text("a\tdon't stop it's yes \u0928\u092e\u0938\u094d\u0924\u0947\n")
    names = [tmp_path / "ref.txt", tmp_path / "hyp.txt"]
    assert "%WER 0.00 [ 0 / 5," in shown(capsys, *names, "--lower", "--no-punctuation")
    assert "%WER 40.00 [ 2 / 5," in shown(capsys, *names, "--no-punctuation")
    assert "%WER 0.00" not in shown(capsys, *names, "--lower")


def test_two_systems_are_compared_in_pairs(
    texts: tuple[dict, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    references, hypotheses = texts
    half = {name: references[name] if number % 2 else text for number, (name, text) in enumerate(hypotheses.items())}
    (tmp_path / "half.txt").write_text("".join(f"{key}\t{text}\n" for key, text in half.items()))
    last = shown(capsys, tmp_path / "ref.txt", tmp_path / "hyp.txt", tmp_path / "half.txt").splitlines()[-1]
    joined = [list(references.values()), *([system[name] for name in references] for system in (hypotheses, half))]
    joined = [[" ".join(text.split()) for text in texts] for texts in joined]
    change = 100 * (jiwer.wer(joined[0], joined[2]) - jiwer.wer(joined[0], joined[1]))
    assert last.startswith(f"{tmp_path}/half.txt: WER {change:+.2f} against {tmp_path}/hyp.txt, 95 % confidence inter")
    assert "better in 100.0 % of resamples" in last


def test_of_few_utterances_nothing_is_said_to_be_sure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ref.txt").write_text("a\tGO ON\n")
    (tmp_path / "hyp.txt").write_text("a\tGO\n")
    printed = shown(capsys, tmp_path / "ref.txt", tmp_path / "hyp.txt", tmp_path / "ref.txt")
    assert "Scored 1 utterances. They are too few for a confidence interval." in printed
    assert printed.endswith(
        f"ref.txt: WER -50.00 against {tmp_path}/hyp.txt; too few utterances for a confidence interval\n"
    )


def test_intervals_are_those_of_the_training_report(
    texts: tuple[dict, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    references, hypotheses = texts
    tracker = ErrorRateTracker()
    for name in sorted(references, reverse=True):
        tracker.add(name, references[name], hypotheses[name])
    assert shown(capsys, tmp_path / "ref.txt", tmp_path / "hyp.txt").splitlines() == list(totals(tracker))


def test_ids_that_differ_are_an_error_or_deletions(
    texts: tuple[dict, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few.txt").write_text(f"u3\t{texts[0]['u3']}\n")
    command = [str(tmp_path / "ref.txt"), str(tmp_path / "few.txt")]
    assert main(["score", *command]) == 2
    assert "39 references have no transcript (u0, u1, u2, u4, u5, ...); --missing deletions" in capsys.readouterr().err
    words = sum(len(text.split()) for text in texts[0].values())
    lost = words - len(texts[0]["u3"].split())
    assert f"[ {lost} / {words}, 0 ins, {lost} del, 0 sub ]" in shown(capsys, *command, "--missing", "deletions")
