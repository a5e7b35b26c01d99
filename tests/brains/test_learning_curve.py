from __future__ import annotations

import math
from pathlib import Path

import pytest
from matplotlib.image import imread

from toolkit.brains.learning_curve import plot_learning_curve, read_train_log
from toolkit.brains.train_log import TrainLog

LOG = """\
epoch: 1, lr: 1.00e-03 - train loss: 23.10, train seconds: 1.01e+02 - valid WER: 1.00e+02, valid loss: 40.34
epoch: 2, lr: 2.00e-03 - train loss: 1.20e-01, train seconds: 98.08 - valid WER: 9.50e-01, valid loss: nan
epoch: 2, lr: 2.00e-03 - train loss: 1.50, train seconds: 98.08 - valid WER: 50.00, valid loss: inf
test: clean - test WER: 12.00, test CER: 3.00, test loss: 2.00
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "train_log.txt").write_text(LOG)
    return tmp_path / "train_log.txt"


def test_figures_by_name_and_epoch(log: Path):
    figures = read_train_log(log)
    assert set(figures) == {"train loss", "train seconds", "valid WER", "valid loss"}
    assert figures["valid WER"] == {1: 100.0, 2: 50.0}  # of an epoch that was trained twice, the later
    assert figures["train loss"] == {1: 23.1, 2: 1.5}
    assert figures["valid loss"] == {1: 40.34, 2: math.inf}


def test_figures_that_are_no_numbers(log: Path):
    log.write_text("epoch: 1, lr: 1.00e-03 - train loss: nan - valid loss: -inf, valid perplexity: -1.00e-02\n")
    figures = read_train_log(log)
    assert math.isnan(figures["train loss"][1])
    assert figures["valid loss"] == {1: -math.inf}
    assert figures["valid perplexity"] == {1: -0.01}


def test_the_picture_shows_the_curves(log: Path):
    png = log.with_name("learning_curve.png")
    plot_learning_curve(log, png)
    first = imread(png)
    assert first.shape[:2] == (400, 1000)
    assert first.std() > 0
    with log.open("a") as file:
        file.write("epoch: 3, lr: 2.00e-03 - train loss: 1.00 - valid WER: 90.00, valid loss: 30.00\n")
    plot_learning_curve(log, png)
    assert (imread(png) != first).any()
    assert {path.name for path in log.parent.iterdir()} == {"train_log.txt", "learning_curve.png"}


@pytest.mark.parametrize(
    ("figures", "panels"),
    [("loss: 1.00, valid WER: 9.00", 2), ("loss: 1.00, valid word_perplexity: 9.00", 2), ("loss: 1.00", 1)],
)
def test_no_panel_is_empty(log: Path, figures: str, panels: int):
    log.write_text(f"epoch: 1, lr: 1.00e-03 - valid {figures}\n")
    plot_learning_curve(log, log.with_name("learning_curve.png"))
    assert imread(log.with_name("learning_curve.png")).shape[:2] == (400, 500 * panels)


def test_figures_are_written_to_be_read(tmp_path: Path):
    figures = {"WER": 100.0, "CER": 99.5, "loss": 0.0123, "seconds": 1234.5, "steps": 7, "ratio": 1.0}
    TrainLog(tmp_path / "log.txt").log_stats({"epoch": 1, "lr": 0.001}, valid_stats=figures)
    text = (tmp_path / "log.txt").read_text()
    assert "lr: 1.00e-03 - valid WER: 100.00, valid CER: 99.50, valid loss: 1.23e-02, valid seconds: 1234.50" in text
    assert text.endswith("valid steps: 7, valid ratio: 1.00\n")
    assert read_train_log(tmp_path / "log.txt")["valid WER"] == {1: 100.0}


@pytest.mark.parametrize("text", ["", "epoch: 1, lr: 1.00e-03 - train loss: nan - valid loss: nan\n"])
def test_a_log_without_figures_gives_empty_axes(log: Path, text: str):
    log.write_text(text)
    plot_learning_curve(log, log.with_name("learning_curve.png"))
    assert log.with_name("learning_curve.png").is_file()
