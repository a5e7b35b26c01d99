"""What Brains do with batches, gradients, learning rates and checkpoints; what their losses are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from speechbrain import Stage
from speechbrain.nnet.schedulers import NewBobScheduler
from speechbrain.utils.epoch_loop import EpochCounter, EpochCounterWithStopper
from tiny_experiment import make_experiment
from torch import Tensor, nn
from torch.utils.data import DataLoader

import toolkit.brains.base
import toolkit.brains.transducer
from toolkit.brains.asr import consistency_loss
from toolkit.brains.attention import AttentionBrain
from toolkit.brains.base import RecipeBrain
from toolkit.brains.ctc import CTCBrain
from toolkit.brains.language import LanguageModelBrain
from toolkit.brains.learning_curve import read_train_log
from toolkit.brains.moving_average import MovingAverage
from toolkit.brains.schedules import WarmupCosine
from toolkit.brains.transducer import TransducerBrain
from toolkit.checkpoints import best_checkpoints, read_weights
from toolkit.dataio.batches import Batch, TextBatch, pad_tokens
from toolkit.decoders.ctc import CTCGreedySearcher
from toolkit.errors import ConfigError, ModelError
from toolkit.models.language import RNNLM
from toolkit.models.transducer import Joint
from toolkit.tokenizer import Tokenizer

# A Brain that fits a line to points: what every Brain does, in milliseconds.


@dataclass
class Points:
    x: Tensor
    y: Tensor

    def to(self, _: str) -> Points:
        return self


class PointLoader(DataLoader):
    """Batches in their order; each call of `seek` is noted."""

    def __init__(self, batches: list[Points]) -> None:
        super().__init__(batches, batch_size=None)
        self.sought: list[tuple[int, int]] = []

    def seek(self, epoch: int, batches: int = 0) -> None:
        self.sought.append((epoch, batches))


class LineBrain(RecipeBrain):
    """Squared error; in validation, errors are read from a list, so that a test decides which epoch is best."""

    valid_errors: Iterator[float] = iter(())

    def compute_forward(self, batch: Points, stage: Stage) -> Tensor:  # noqa: ARG002
        return self.modules.model(batch.x)

    def compute_objectives(self, predictions: Tensor, batch: Points, stage: Stage) -> Tensor:  # noqa: ARG002
        return (predictions - batch.y).square().mean()

    def stage_figures(self, stage: Stage, stage_loss: float) -> dict[str, float]:
        loss = next(self.valid_errors, stage_loss) if stage == Stage.VALID else stage_loss
        return {"loss": loss}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these epochs."""
    monkeypatch.setattr(toolkit.brains.base, "plot_learning_curve", lambda *_: None)


@pytest.fixture
def points() -> PointLoader:
    """Five batches of four points."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, 3, generator=generator)
    return PointLoader([Points(one, one.sum(1, keepdim=True) + 1) for one in x])


def line_brain(folder: Path, epochs: int = 1, lr: float = 0.1, **hparams: Any) -> LineBrain:
    torch.manual_seed(1)
    made = {
        "model": nn.Linear(3, 1),
        "opt_class": partial(torch.optim.SGD, lr=lr),
        "epoch_counter": EpochCounter(epochs),
        "output_folder": str(folder),
        "max_grad_norm": -1.0,
    }
    return LineBrain(made | hparams, {"device": "cpu", "noprogressbar": True})


def gradient(model: nn.Linear, batches: list[Points]) -> Tensor:
    """Of the mean loss of the batches, computed by hand: 2 * (prediction - y) * x, and bias beside weights."""
    total = torch.zeros(4, dtype=torch.float64)
    for batch in batches:
        x = torch.cat([batch.x, torch.ones(len(batch.x), 1)], dim=1).double()
        error = x @ flat(model).double() - batch.y.squeeze(1).double()
        total += 2 * (error @ x) / len(x) / len(batches)
    return total.float()


def flat(model: nn.Linear) -> Tensor:
    return torch.cat([model.weight.detach().flatten(), model.bias.detach()])


def test_batches_accumulate_to_a_step_and_the_last_ones_of_an_epoch_too(points: PointLoader, tmp_path: Path):
    brain = line_brain(tmp_path, grad_accumulation_factor=2)
    by_hand = line_brain(tmp_path / "not used").model
    for batches in (points.dataset[:2], points.dataset[2:4], points.dataset[4:]):
        step = 0.1 * gradient(by_hand, batches) * len(batches) / 2
        with torch.no_grad():
            by_hand.weight -= step[:3]
            by_hand.bias -= step[3:]
    brain.train_on(points, points)
    assert brain.optimizer_step == 3
    torch.testing.assert_close(flat(brain.model), flat(by_hand))


def test_gradients_are_clipped_to_a_norm(points: PointLoader, tmp_path: Path):
    one = PointLoader(points.dataset[:1])
    brain = line_brain(tmp_path, lr=1.0, max_grad_norm=0.01)
    before, wanted = flat(brain.model), gradient(brain.model, one.dataset)
    brain.train_on(one, one)
    assert wanted.norm() > 1
    torch.testing.assert_close(flat(brain.model), before - 0.01 * wanted / wanted.norm(), rtol=1e-4, atol=1e-6)


def test_a_norm_of_zero_or_less_clips_nothing(points: PointLoader, tmp_path: Path):
    one = PointLoader(points.dataset[:1])
    brain = line_brain(tmp_path, lr=1.0, max_grad_norm=-1)
    before, wanted = flat(brain.model), gradient(brain.model, one.dataset)
    brain.train_on(one, one)
    torch.testing.assert_close(flat(brain.model), before - wanted)


@pytest.mark.parametrize(("warmup_steps", "is_told"), [(7, True), (6, False)])
def test_a_warm_up_longer_than_training_is_told(
    warmup_steps: int, *, is_told: bool, points: PointLoader, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    schedule = WarmupCosine(0.7, warmup_steps, number_of_epochs=2)
    line_brain(tmp_path, epochs=2, lr_schedule=schedule, grad_accumulation_factor=2).train_on(points, points)
    told = "warmup_steps is 7, but training has only 6 steps (3 in each of 2 epochs)"
    assert (f"{told}: the learning rate never exceeds 0.3;" in caplog.text) == is_told
    assert ("warmup_steps" in caplog.text) == is_told


def test_no_step_is_taken_from_gradients_that_are_not_finite(points: PointLoader, tmp_path: Path, caplog):
    points.dataset[0].y[0] = math.nan
    one = PointLoader(points.dataset[:1])
    brain = line_brain(tmp_path)
    before = flat(brain.model)
    brain.train_on(one, one)
    assert torch.equal(flat(brain.model), before)
    assert "epoch 1, batch 1: gradients are not finite; no step is taken" in caplog.text


def test_a_run_whose_loss_stays_not_finite_ends(points: PointLoader, tmp_path: Path):
    for batch in points.dataset:
        batch.y[0] = math.nan
    with pytest.raises(ModelError, match=r"epoch 1, batch 4: the loss is not finite, .* lower lr"):
        line_brain(tmp_path).train_on(points, points)


def test_a_diverged_epoch_is_the_worst(points: PointLoader, tmp_path: Path):
    brain = line_brain(tmp_path, epochs=3)
    brain.valid_errors = iter([2.0, math.nan, 3.0])
    brain.train_on(points, points)
    assert ranks(tmp_path) == [2.0, 3.0]


def ranks(folder: Path) -> list[float]:
    """Of the checkpoints that are kept, best first."""
    return [read_meta(one)["rank"] for one in best_checkpoints(folder / "save", 99)]


def read_meta(checkpoint: Path) -> dict[str, Any]:
    return yaml.safe_load((checkpoint / "CKPT.yaml").read_text())


def test_the_best_checkpoints_and_the_last_are_kept_and_the_best_averaged(points: PointLoader, tmp_path: Path):
    brain = line_brain(tmp_path, epochs=6, average_checkpoints=2)
    brain.valid_errors = iter([9.0, 1.0, 5.0, 2.0, 7.0, 8.0])
    weights = []
    brain.on_fit_batch_end = lambda *_: weights.append(flat(brain.model))
    brain.train_on(points, points)
    assert ranks(tmp_path) == [1.0, 2.0, 8.0]
    epochs = weights[len(points.dataset) - 1 :: len(points.dataset)]
    brain.test_on(points, "points")
    torch.testing.assert_close(flat(brain.model), (epochs[1] + epochs[3]) / 2)
    stored = [read_weights(one / "model.ckpt")["weight"].flatten() for one in best_checkpoints(tmp_path / "save", 2)]
    torch.testing.assert_close(torch.stack(stored), torch.stack([epochs[1], epochs[3]])[:, :3])


def test_what_is_frozen_is_not_averaged_and_is_when_a_run_goes_on_with_it(tmp_path: Path):
    model = nn.ModuleDict({"frozen": nn.Linear(1, 1), "trained": nn.Linear(1, 1)})
    model["frozen"].requires_grad_(False)
    before = MovingAverage(model, 0.5)
    assert set(before.names) == {"trained.weight", "trained.bias"}
    before.save(tmp_path / "ema.ckpt")
    model["frozen"].requires_grad_(True)
    after = MovingAverage(model, 0.5)
    with torch.no_grad():
        model["frozen"].weight.fill_(7.0)  # as the checkpoint has it
    after.load(tmp_path / "ema.ckpt", True)
    after.use(wanted=True)
    assert model["frozen"].weight.item() == 7.0


def test_the_moving_average_is_evaluated_and_saved_and_training_goes_on_without_it(points: PointLoader, tmp_path: Path):
    brain, plain = (line_brain(tmp_path / name, epochs=2, ema_decay=decay) for name, decay in (("a", 0.4), ("b", None)))
    seen: dict[str, list[Tensor]] = {"trained": [], "evaluated": [], "plain": []}
    average = flat(brain.model)
    for one, name in ((brain, "trained"), (plain, "plain")):
        one.on_fit_batch_end = lambda *_, one=one, name=name: seen[name].append(flat(one.model))
        one.train_on(points, points)
    torch.testing.assert_close(torch.stack(seen["trained"]), torch.stack(seen["plain"]), rtol=0, atol=0)
    for step, weights in enumerate(seen["trained"], 1):
        decay = min(0.4, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights
        seen["evaluated"].append(average)
    ends = {"evaluated": [seen["evaluated"][4], seen["evaluated"][9]]}
    checkpoints = sorted(best_checkpoints(tmp_path / "a/save", 99), key=lambda one: read_meta(one)["epoch"])
    assert read_meta(checkpoints[-1])["epoch"] == 2
    saved = read_weights(checkpoints[-1] / "model.ckpt")
    torch.testing.assert_close(torch.cat([saved["weight"].flatten(), saved["bias"]]), ends["evaluated"][-1])
    with torch.no_grad():
        brain.model.weight[0], brain.model.bias[0] = ends["evaluated"][-1][:3], ends["evaluated"][-1][3]
        errors = [(brain.model(one.x) - one.y).square().mean() for one in points.dataset]
    assert read_meta(checkpoints[-1])["loss"] == pytest.approx(float(torch.stack(errors).mean()), rel=1e-4)


@pytest.mark.parametrize("decay", [1.0, -0.1, "0.9", True])
def test_a_decay_that_cannot_be(points: PointLoader, tmp_path: Path, decay: Any):
    with pytest.raises(ConfigError, match=r"ema_decay: expected a number between 0 and 1, such as 0\.999, not"):
        line_brain(tmp_path, ema_decay=decay).train_on(points, points)


def test_new_bob_anneals_when_validation_does_not_improve(points: PointLoader, tmp_path: Path):
    brain = line_brain(tmp_path, epochs=4, lr=0.08, lr_annealing=NewBobScheduler(0.08, annealing_factor=0.5))
    brain.valid_errors = iter([5.0, 4.0, 4.5, 1.0])
    brain.train_on(points, points)
    assert learning_rates(tmp_path) == [0.08, 0.08, 0.08, 0.04]


def learning_rates(folder: Path) -> list[float]:
    lines = (folder / "train_log.txt").read_text().splitlines()
    return [float(line.partition("lr: ")[2].split()[0]) for line in lines if line.startswith("epoch")]


def test_a_schedule_is_asked_at_every_step(points: PointLoader, tmp_path: Path):
    rates = []
    brain = line_brain(tmp_path, epochs=2, lr=9.0, lr_schedule=WarmupCosine(0.1, warmup_steps=4, number_of_epochs=2))
    brain.on_fit_batch_end = lambda *_: rates.append(brain.optimizer.param_groups[0]["lr"])
    brain.train_on(points, points)
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert rates[5:] == pytest.approx([0.1 * (0.01 + 0.99 * 0.5)] * 5)


def test_training_stops_early(points: PointLoader, tmp_path: Path):
    counter = EpochCounterWithStopper(limit=9, limit_to_stop=2, limit_warmup=0, direction="min")
    brain = line_brain(tmp_path, epoch_counter=counter)
    brain.valid_errors = iter([5.0, 4.0, 4.5, 4.2, 1.0])
    brain.train_on(points, points)
    assert len(learning_rates(tmp_path)) == 4
    counter = EpochCounterWithStopper(limit=9, limit_to_stop=2, limit_warmup=0, direction="min")
    line_brain(tmp_path, epoch_counter=counter).train_on(points, points)
    assert len(learning_rates(tmp_path)) == 4  # it stays stopped


def test_patience_outlasts_a_stop(points: PointLoader, tmp_path: Path):
    for limit in (3, 9):  # the second run continues the first
        counter = EpochCounterWithStopper(limit=limit, limit_to_stop=3, limit_warmup=0, direction="min")
        brain = line_brain(tmp_path, epoch_counter=counter)
        brain.valid_errors = iter([1.0, 4.0, 4.5] if limit == 3 else [4.2, 0.5, 0.4])
        brain.train_on(points, points)
    assert len(learning_rates(tmp_path)) == 4  # three epochs without improvement, two of them before the stop


def test_the_loader_is_put_where_training_stands(points: PointLoader, tmp_path: Path):
    line_brain(tmp_path, epochs=2).train_on(points, points)
    line_brain(tmp_path, epochs=3).train_on(points, points)
    assert points.sought == [(1, 0), (2, 0), (3, 0)]


def test_every_batch_has_random_numbers_of_its_own(points: PointLoader, tmp_path: Path):
    drawn = []

    def train(seed: int, folder: str) -> list[float]:
        brain = line_brain(tmp_path / folder, epochs=2, seed=seed)
        brain.on_fit_batch_end = lambda *_: drawn.append(float(torch.rand(())))
        brain.train_on(points, points)
        return drawn[-10:]

    first, again, other = train(1, "a"), train(1, "b"), train(2, "c")
    assert first == again
    assert len({*first, *other}) == 20


@pytest.mark.filterwarnings("default")  # torch's own, of what is deprecated in it
def test_a_compiled_model_learns_the_same_and_is_saved_as_any_other(points: PointLoader, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # seconds of g++ say no more
    plain, compiled = (line_brain(tmp_path / name, epochs=2) for name in ("plain", "compiled"))
    compiled.compile = compiled.compile_using_dynamic_shape_tracing = True
    for brain in (plain, compiled):
        brain.train_on(points, points)
    assert compiled.modules.model is not compiled.model
    torch.testing.assert_close(flat(compiled.model), flat(plain.model))
    weights = (
        read_weights(best_checkpoints(tmp_path / name / "save")[0] / "model.ckpt") for name in ("plain", "compiled")
    )
    assert next(weights).keys() == next(weights).keys()


# Losses


@pytest.fixture
def ctc_brain(tmp_path: Path, tokenizer: Tokenizer) -> CTCBrain:
    """Its loss is asked, it is not trained."""
    return CTCBrain(asr_hparams(tmp_path, nn.Linear(1, 1), tokenizer), {"device": "cpu"})


def asr_hparams(folder: Path, model: nn.Module, tokenizer: Tokenizer, **hparams: Any) -> dict[str, Any]:
    search = CTCGreedySearcher()
    counter, optimizer = EpochCounter(1), partial(torch.optim.SGD, lr=0.1)
    made = {"model": model, "epoch_counter": counter, "opt_class": optimizer, "output_folder": str(folder)}
    return made | {"tokenizer": tokenizer, "valid_search": search, "test_search": search} | hparams


def test_writing_without_spaces_is_ranked_by_characters(tmp_path: Path, tokenizer: Tokenizer) -> None:
    figures = {}
    for ranked_by in ("WER", "CER"):
        brain = CTCBrain(asr_hparams(tmp_path, nn.Linear(1, 1), tokenizer, ranked_by=ranked_by), {"device": "cpu"})
        brain.on_stage_start(Stage.VALID)
        brain.scored.add("a", "而对楼市成交", "而对楼市成本")
        figures[ranked_by] = next(iter(brain.stage_figures(Stage.VALID, 1.0).items()))
    assert figures == {"WER": ("WER", 100.0), "CER": ("CER", pytest.approx(100 / 6))}
    with pytest.raises(ConfigError, match="ranked_by: 'SER'; expected WER or CER"):
        CTCBrain(asr_hparams(tmp_path, nn.Linear(1, 1), tokenizer, ranked_by="SER"), {"device": "cpu"})


def batch_of(tokens: list[list[int]]) -> Batch:
    padded, counts = pad_tokens(tokens)
    ids = [f"utt{number}" for number in range(len(tokens))]
    wavs, samples = torch.zeros(len(ids), 1), torch.ones(len(ids), dtype=torch.int64)
    return Batch(["A"] * len(ids), padded, counts, ids, wavs, samples)


def ctc_by_hand(log_probs: Tensor, tokens: list[int]) -> float:
    """-log of the sum over all paths of (T, V) log-probabilities, by the forward recursion in float64."""
    extended = [0] + [one for token in tokens for one in (token, 0)]
    probs = log_probs.detach().double().exp()
    alpha = [float(probs[0, token]) if place < 2 else 0.0 for place, token in enumerate(extended)]
    for frame in probs[1:]:
        before = alpha
        alpha = []
        for place, token in enumerate(extended):
            skips = place > 1 and token != 0 and token != extended[place - 2]
            total = before[place] + (before[place - 1] if place else 0.0) + (before[place - 2] if skips else 0.0)
            alpha.append(total * float(frame[token]))
    return -math.log(sum(alpha[-2:]))


def test_ctc_loss_leaves_out_utterances_that_are_too_short(ctc_brain: CTCBrain, caplog):
    tokens = [[1, 2, 3], [1, 1, 2, 2], [3, 3], [1, 2, 3, 4, 5]]
    frames = torch.tensor([7, 5, 3, 4])  # [1, 1, 2, 2] needs 6, [3, 3] just has its 3, the last needs 5
    logits = torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ctc_brain.on_stage_start(Stage.VALID)
    loss = ctc_brain.ctc_loss(logits.log_softmax(-1), frames, batch_of(tokens))
    possible = [ctc_by_hand(logits.log_softmax(-1)[row, : frames[row]], tokens[row]) for row in (0, 2)]
    assert float(loss.detach()) == pytest.approx(sum(possible) / 2, rel=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert [bool(row.any()) for row in logits.grad] == [True, False, True, False]

    ctc_brain.stage_figures(Stage.TRAIN, 0.0)
    assert "left out: 2 (utt1, utt3)" in caplog.text
    caplog.clear()
    ctc_brain.stage_figures(Stage.TRAIN, 0.0)
    assert caplog.text == ""  # of the same ones, once


def test_ctc_loss_of_nothing_but_short_utterances_is_zero(ctc_brain: CTCBrain):
    logits = torch.randn(2, 3, 6, requires_grad=True)
    ctc_brain.on_stage_start(Stage.VALID)
    loss = ctc_brain.ctc_loss(logits.log_softmax(-1), torch.tensor([1, 0]), batch_of([[1, 2], [3]]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logits.grad.any()


def test_consistency_is_the_mean_divergence_of_two_views_over_valid_frames():
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    views, frames = logits.log_softmax(-1), torch.tensor([3, 2, 3, 2])
    expected, p = 0.0, views.detach().double().exp()
    for one, other in ((0, 2), (1, 3), (2, 0), (3, 1)):
        valid = slice(0, int(frames[one]))
        expected += float((p[other, valid] * (p[other, valid] / p[one, valid]).log()).sum()) / 4
    loss = consistency_loss(views, frames)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()  # each view is drawn to the other, as it is: p(view) - p(other view)
    torch.testing.assert_close(logits.grad[1, :2], ((p[1, :2] - p[3, :2]) / 4).float())
    assert not logits.grad[1, 2:].any()
    same = torch.cat([views[:2], views[:2]])
    assert float(consistency_loss(same, frames).detach()) == pytest.approx(0, abs=1e-6)


class Loudness(nn.Module):
    """A model of one frame, which hears every row of a batch at a loudness of its own, and notes what it heard."""

    def __init__(self) -> None:
        super().__init__()
        self.output, self.heard = nn.Linear(1, 5), []

    def forward(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        self.heard.append((len(wavs), wavs * torch.rand(len(wavs), 1)))
        return self.output(self.heard[-1][1]).log_softmax(-1)[:, None], torch.ones_like(samples)


@pytest.mark.parametrize(("weight", "rows"), [(0.0, 2), (0.5, 4)])
def test_two_views_of_an_utterance_are_trained_to_agree(tmp_path: Path, tokenizer: Tokenizer, weight, rows):
    torch.manual_seed(0)
    model = Loudness()
    hparams = asr_hparams(tmp_path, model, tokenizer, consistency_weight=weight)
    brain = CTCBrain(hparams, {"device": "cpu"})
    brain.on_fit_start()
    brain.on_stage_start(Stage.VALID)
    brain.nonfinite_count, brain.step, brain.train_loader = 0, 1, [None]
    batch = batch_of([[1], [2]])
    batch.wavs = torch.tensor([[1.0], [2.0]])
    weights = [one.detach().clone() for one in model.parameters()]
    loss = brain.fit_batch(batch)
    ((heard, wavs),) = model.heard
    assert heard == rows
    outputs = torch.nn.functional.linear(wavs, *weights).log_softmax(-1)
    expected = -sum(float(row[token]) for row, token in zip(outputs, [1, 2] * 2, strict=False)) / rows
    if weight:
        expected += weight * float(consistency_loss(outputs[:, None], torch.ones(rows, dtype=torch.int64)))
        assert not torch.equal(wavs[:2], wavs[2:])
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def cross_entropy_by_hand(logits: Tensor, tokens: list[int], smoothing: float) -> float:
    """Summed over tokens and the end: (1 - s) * -log p(token) + s * the mean of -log p over the vocabulary."""
    log_probs = logits.detach().double().log_softmax(-1)
    wanted = [*tokens, 0]
    return sum(
        -(1 - smoothing) * float(log_probs[place, token]) - smoothing * float(log_probs[place].mean())
        for place, token in enumerate(wanted)
    )


@pytest.mark.parametrize(("stage", "smoothing"), [(Stage.TRAIN, 0.1), (Stage.VALID, 0.0)])
@pytest.mark.parametrize(("weight", "epoch"), [(0.3, 1), (0.0, 1), (1.0, 1), (0.3, 6)])
def test_attention_loss(tmp_path: Path, tokenizer: Tokenizer, stage, smoothing: float, weight: float, epoch: int):
    options = {"ctc_weight": weight, "label_smoothing": 0.1, "number_of_ctc_epochs": 5}
    brain = AttentionBrain(asr_hparams(tmp_path, nn.Linear(1, 1), tokenizer, **options), {"device": "cpu"})
    brain.on_stage_start(Stage.VALID)
    brain.epoch = epoch
    tokens, frames = [[1, 2, 3], [4]], torch.tensor([6, 4])
    generator = torch.Generator().manual_seed(0)
    ctc = torch.randn(2, 6, 5, generator=generator, requires_grad=True)
    logits = torch.randn(2, 4, 5, generator=generator, requires_grad=True)
    loss = brain.compute_objectives((ctc.log_softmax(-1), frames, logits), batch_of(tokens), stage)
    attention = sum(cross_entropy_by_hand(logits[row], tokens[row], smoothing) for row in (0, 1)) / 2
    by_ctc = sum(ctc_by_hand(ctc.log_softmax(-1)[row, : frames[row]], tokens[row]) for row in (0, 1)) / 2
    weight = weight if epoch <= 5 else 0.0
    assert float(loss.detach()) == pytest.approx(weight * by_ctc + (1 - weight) * attention, rel=1e-5)
    loss.backward()
    assert not logits.grad[1, 2:].any()  # padding teaches nothing
    assert ctc.grad is not None  # where the weight is 0 too: a distributed run waits for it


CTC = {"ctc_weight": 0.3, "number_of_ctc_epochs": 5}


@pytest.mark.parametrize(
    ("kind", "options", "epoch", "rows"),
    [
        (CTCBrain, {}, 6, 4),
        (AttentionBrain, CTC, 5, 4),
        (AttentionBrain, CTC, 6, 2),  # the CTC loss was dropped, and with it what compares the two views
        (TransducerBrain, {}, 1, 2),
        (TransducerBrain, CTC, 5, 4),
    ],
)
def test_only_with_ctc_is_an_utterance_heard_twice(tmp_path: Path, tokenizer, monkeypatch, kind, options, epoch, rows):
    options = options | {"consistency_weight": 0.2, "label_smoothing": 0.1}
    brain = kind(asr_hparams(tmp_path, nn.Linear(1, 1), tokenizer, **options), {"device": "cpu"})
    brain.epoch = epoch
    monkeypatch.setattr(RecipeBrain, "fit_batch", lambda _, batch: len(batch))
    assert brain.fit_batch(batch_of([[1], [2]])) == rows


def transducer_by_hand(log_probs: Tensor, tokens: list[int]) -> float:
    """-log of the sum over all alignments of (T, U + 1, V) log-probabilities, by the forward recursion in float64."""
    probs = log_probs.detach().double().exp().tolist()
    alpha = [1.0] + [0.0] * len(tokens)
    for frame in probs:
        for place, token in enumerate(tokens):
            alpha[place + 1] += alpha[place] * frame[place][token]
        alpha = [mass * row[0] for mass, row in zip(alpha, frame, strict=False)]
    return -math.log(alpha[-1])


@pytest.mark.parametrize("most_logits", [2**25, 150, 1])  # all utterances at once, two of them, one by one
@pytest.mark.parametrize(("options", "epoch", "weight"), [({}, 1, 0.0), (CTC, 5, 0.3), (CTC, 6, 0.0)])
def test_transducer_loss(tmp_path: Path, tokenizer: Tokenizer, monkeypatch, most_logits, options, epoch, weight):
    monkeypatch.setattr(toolkit.brains.transducer, "MAX_LOGITS", most_logits)
    torch.manual_seed(0)
    model = nn.Module()
    model.joint, model.vocab_size = Joint(3, 4, 5, size=6), 5
    brain = TransducerBrain(asr_hparams(tmp_path, model, tokenizer, **options), {"device": "cpu"})
    brain.on_stage_start(Stage.VALID)
    brain.epoch = epoch
    tokens, frames = [[1, 2, 3], [4], [], [1, 1]], torch.tensor([6, 4, 2, 5])
    ctc = torch.randn(4, 6, 5, requires_grad=True)
    acoustic, prefixes = torch.randn(4, 6, 6, requires_grad=True), torch.randn(4, 4, 6, requires_grad=True)
    predictions = ctc.log_softmax(-1), frames, acoustic, prefixes
    loss = brain.compute_objectives(predictions, batch_of(tokens), Stage.TRAIN)
    lattices = model.joint(acoustic[:, :, None], prefixes[:, None]).log_softmax(-1)
    lattices = [lattice[:T, : len(text) + 1] for lattice, T, text in zip(lattices, frames, tokens, strict=True)]
    expected = sum(map(transducer_by_hand, lattices, tokens)) / 4
    by_ctc = sum(ctc_by_hand(ctc.log_softmax(-1)[row, : frames[row]], tokens[row]) for row in range(4)) / 4
    assert float(loss.detach()) == pytest.approx(weight * by_ctc + (1 - weight) * expected, rel=1e-5)
    loss.backward()
    assert [bool(row.any()) for row in acoustic.grad] == [True] * 4
    assert not acoustic.grad[1, 4:].any()  # padding teaches nothing
    assert not prefixes.grad[1, 2:].any()
    assert ctc.grad is not None  # where the weight is 0 too: a distributed run waits for it


def test_transducer_loss_of_an_utterance_without_frames_is_zero(tmp_path: Path, tokenizer: Tokenizer):
    model = nn.Module()
    model.joint, model.vocab_size = Joint(3, 4, 5, size=6), 5
    brain = TransducerBrain(asr_hparams(tmp_path, model, tokenizer), {"device": "cpu"})
    acoustic, prefixes = torch.randn(2, 3, 6, requires_grad=True), torch.randn(2, 2, 6)
    losses = []
    for frames in ([3, 0], [3, 3]):  # of the first utterance, the same loss and gradient
        loss = brain._transducer_loss(acoustic, torch.tensor(frames), prefixes, batch_of([[1], [2]]))
        losses.append((float(loss.detach()), torch.autograd.grad(loss, acoustic)[0]))
    assert 0.0 < losses[0][0] < losses[1][0]
    assert not losses[0][1][1].any()
    torch.testing.assert_close(losses[0][1][0], losses[1][1][0])


def test_perplexity_is_that_of_each_sentence_alone(tmp_path: Path):
    torch.manual_seed(0)
    model = RNNLM(6, embedding_size=4, neurons=8, layers=1, dropout=0.5)
    counter, optimizer = EpochCounter(1), partial(torch.optim.SGD, lr=0.1)
    hparams = {"model": model, "epoch_counter": counter, "opt_class": optimizer, "output_folder": str(tmp_path)}
    brain = LanguageModelBrain(hparams, {"device": "cpu"})
    sentences = {"A B": [1, 2, 3, 5, 5], "B": [4], "C A B": [2, 1, 3]}
    brain.on_stage_start(Stage.VALID)
    brain.modules.eval()
    for words in (["A B", "B"], ["C A B"]):
        batch = TextBatch(words, *pad_tokens([sentences[one] for one in words]))
        brain.evaluate_batch(batch, Stage.VALID)
    figures = brain.stage_figures(Stage.VALID, stage_loss=0.0)

    nats = 0.0
    for tokens in sentences.values():
        state = model.start(1, torch.device("cpu"))
        for before, token in zip([0, *tokens], [*tokens, 0], strict=True):
            log_probs, state = model.step(torch.tensor([before]), state)
            nats -= float(log_probs[0, token].detach())
    assert figures["loss"] == pytest.approx(nats / (9 + 3), rel=1e-5)
    assert figures["perplexity"] == pytest.approx(math.exp(nats / (9 + 3)), rel=1e-5)
    assert figures["word_perplexity"] == pytest.approx(math.exp(nats / (6 + 3)), rel=1e-5)


# Whole experiments


@pytest.mark.usefixtures("logging_put_back")
def test_the_error_rate_does_not_depend_on_the_batch_size(tmp_path: Path):
    experiment = make_experiment(tmp_path)
    test = f"manifest_filepath: {tmp_path}/manifests/test.json"
    tests = f"{{alone: {{{test}, batch_size: 1}}, together: {{{test}, batch_size: 4}}}}"
    run = experiment.train("--test_data", tests, "--number_of_epochs", "4", "--lr", "0.03")
    alone, together = ((run / f"wer_{name}.txt").read_text() for name in ("alone", "together"))
    assert sorted(alone.splitlines()) == sorted(together.splitlines())
    assert "ALIGNMENTS" in alone


@pytest.mark.usefixtures("logging_put_back")
def test_bf16_is_close_to_fp32(tmp_path: Path):
    experiment = make_experiment(tmp_path)
    losses = {}
    for precision in ("fp32", "bf16"):
        options = ["--precision", precision, "--output_folder", str(tmp_path / precision), "--number_of_epochs", "1"]
        experiment.train(*options)
        losses[precision] = read_train_log(tmp_path / precision / "train_log.txt")["train loss"][1]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
