"""Confidence as the share of right words: fitted on words whose truth is known, kept in a model's folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tone_corpus import make_tone_corpus

from toolkit.cli.main import main
from toolkit.errors import ConfigError, DataError
from toolkit.inference.confidence import Calibration, calibration_error, fit, judged_words
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Transcript, Word


def drawn(slope: float, offset: float, count: int = 20000) -> tuple[np.ndarray, np.ndarray]:
    """Words that are right as often as a calibration says."""
    random = np.random.default_rng(1)
    confidences = random.uniform(0.02, 0.98, count)
    return confidences, random.uniform(size=count) < np.vectorize(Calibration(slope, offset))(confidences)


@pytest.mark.parametrize(("slope", "offset"), [(0.5, 1.0), (2.0, -0.5), (1.0, 0.0)])
def test_the_calibration_that_words_were_drawn_by_is_found(slope: float, offset: float) -> None:
    found = fit(*drawn(slope, offset))
    assert (found.slope, found.offset) == (pytest.approx(slope, abs=0.06), pytest.approx(offset, abs=0.06))


def test_a_calibration_is_likeliest() -> None:
    confidences, right = drawn(0.7, -0.2, 300)

    def surprise(one: Calibration) -> float:
        chances = np.vectorize(one)(confidences)
        return -np.log(np.where(right, chances, 1 - chances)).sum()

    found = fit(confidences, right)
    for step in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):
        assert surprise(found) < surprise(Calibration(found.slope + step[0], found.offset + step[1]))


@pytest.mark.parametrize("right", [[True] * 4, [False] * 4, [False, False, True, True], [True, True, False, False]])
def test_few_words_give_a_chance_between_0_and_1_in_the_same_order(right: list[bool]) -> None:
    found = fit(np.array([0.0, 0.2, 0.9, 1.0]), np.array(right))
    chances = [found(value) for value in (0.0, 0.2, 0.9, 1.0)]
    assert chances == sorted(chances)
    assert all(0.0 < chance < 1.0 for chance in chances)


def test_the_calibration_error_is_the_distance_from_the_share_that_is_right() -> None:
    confidences, right = np.array([0.9] * 5 + [0.3] * 5), np.array([True] * 4 + [False] * 5 + [True])
    assert calibration_error(confidences, right, bins=2) == pytest.approx((0.1 + 0.1) / 2)
    assert calibration_error(*drawn(1.0, 0.0)) < 0.01


def test_words_are_judged_by_their_alignment() -> None:
    words = tuple(Word(text, 0.0, 1.0, 0.1 * place) for place, text in enumerate("ABXD", start=1))
    silent = Transcript("")
    confidences, right = judged_words([Transcript("A B X D", words), silent], ["A C B Y D", "E"])
    np.testing.assert_allclose(confidences, [0.1, 0.2, 0.3, 0.4])
    assert right.tolist() == [True, True, False, True]


def test_without_words_there_is_nothing_to_calibrate() -> None:
    with pytest.raises(DataError, match="no words"):
        fit(np.zeros(0), np.zeros(0, bool))


def test_the_command_writes_what_the_transcriber_reads(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    manifests, run = make_tone_corpus(tmp_path), Path(shutil.copytree(run_folder, tmp_path / "run"))
    arguments = [str(manifests["valid"]), "--test", str(manifests["test"]), "--device", "cpu"]
    assert main(["calibrate", str(run), *arguments]) == 0
    valid, test = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r".*valid\.json: \d+ words, 0 right; calibration error 0\.\d+, calibrated 0\.\d+ \(the set .*fitted to\)", valid
    )
    assert "test.json: " in test
    assert "fitted" not in test
    transcribers = Transcriber.from_hparams(run_folder, device="cpu"), Transcriber.from_hparams(run, device="cpu")
    wav = torch.randn(40000, generator=torch.Generator().manual_seed(2))
    (raw,), (calibrated,) = (one.transcribe([wav]) for one in transcribers)
    assert raw.words
    for before, after in zip(raw.words, calibrated.words, strict=True):
        assert after.confidence == transcribers[1].calibration(before.confidence) < 0.1  # no word was ever right


@pytest.mark.parametrize("content", ["", "{}", '{"slope": "steep", "offset": 0}', "[1, 2]"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "confidence.json").write_text(content)
    with pytest.raises(ConfigError, match=r"confidence\.json: expected the numbers slope and offset"):
        Calibration.read(tmp_path)


def test_without_a_file_nothing_changes(tmp_path: Path) -> None:
    assert Calibration.read(tmp_path)(0.123) == 0.123
