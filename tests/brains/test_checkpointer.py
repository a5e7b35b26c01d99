"""A loader of ours in the checkpoints of a Brain that knows nothing of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter
from tone_corpus import make_tone_corpus

from toolkit.brains.checkpointer import load_loader, save_loader
from toolkit.dataio.loaders import load_split

BATCHES = 6


class Letters:
    """A tokenizer of letters."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


class Stopped(BaseException):
    """The end of a run."""


class PlainBrain(sb.Brain):
    """As a recipe of SpeechBrain has it, and what it was trained on; it may stop at a batch."""

    stop_at = 0

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.seen: list[list[str]] = []

    def compute_forward(self, batch, stage):  # noqa: ARG002
        if len(self.seen) + 1 == self.stop_at:
            raise Stopped
        self.seen.append(batch.id)
        wavs, lengths = batch.sig
        return self.modules.model(wavs.square().mean(1, keepdim=True)) * lengths

    def compute_objectives(self, predictions, *_):
        return predictions.square().mean()

    def on_stage_end(self, stage, *_):
        if stage == sb.Stage.TRAIN:
            self.checkpointer.save_and_keep_only()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tone_corpus(tmp_path_factory.mktemp("tones"), 2 * BATCHES)["train"]


def make_brain(folder: Path) -> PlainBrain:
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    recoverables = {"model": model, "counter": EpochCounter(3)}
    options = {"device": "cpu", "noprogressbar": True, "ckpt_interval_steps": 1}
    return PlainBrain(
        {"model": model}, lambda parameters: torch.optim.SGD(parameters, lr=0.1), run_opts=options,
        checkpointer=Checkpointer(folder, recoverables=recoverables),
    )  # fmt: skip


def train(manifest: Path, folder: Path, *, workers: int = 0, stop_at: int = 0) -> PlainBrain:
    data = {"manifest_filepath": str(manifest), "batch_size": 2, "num_buckets": 1, "shuffle": True, "seed": 1}
    loader = load_split("train_data", {"train_data": data | {"num_workers": workers}, "tokenizer": Letters()})
    brain = make_brain(folder)
    brain.checkpointer.add_recoverable("loader", loader, load_loader, save_loader)
    brain.stop_at = stop_at
    with contextlib.suppress(Stopped):
        brain.fit(epoch_counter=brain.checkpointer.recoverables["counter"], train_set=loader)
    return brain


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after", "stop_at"), [(0, 2, BATCHES + 3), (2, 1, 2 * BATCHES + 1)])
def test_a_stopped_run_goes_on_with_the_next_batch(manifest: Path, tmp_path: Path, before, after, stop_at: int):
    whole = train(manifest, tmp_path / "whole")
    assert len(whole.seen) == 3 * BATCHES
    stopped = train(manifest, tmp_path / "stopped", workers=before, stop_at=stop_at)
    continued = train(manifest, tmp_path / "stopped", workers=after)
    assert stopped.seen + continued.seen == whole.seen
    assert torch.equal(continued.modules.model.weight, whole.modules.model.weight)
