"""What every Brain of the collection does around its two methods: checkpoints, schedules, logs, resuming, testing."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
import zlib
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.distributed import MainProcessContext, ddp_all_reduce, get_rank, if_main_process
from speechbrain.utils.seed import seed_everything
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from toolkit.brains.checkpointer import WholeCheckpointer, load_counter, save_counter
from toolkit.brains.interrupts import sigterm_as_ctrl_c, uninterrupted
from toolkit.brains.learning_curve import plot_learning_curve
from toolkit.brains.loggers import BY_KEY, make_curves
from toolkit.brains.moving_average import MovingAverage
from toolkit.brains.param_groups import GroupOptions, freeze, make_optimizer
from toolkit.brains.profiler import StepProfiler
from toolkit.brains.train_log import TrainLog
from toolkit.brains.warm_up import warn_of_long_warm_up
from toolkit.checkpoints import RANK
from toolkit.dataio.any_loader import Foreseen, enter_epoch, has_length
from toolkit.dataio.batches import TextBatch
from toolkit.errors import ConfigError, ModelError
from toolkit.files import temporary_folder
from toolkit.init_from import take_weights
from toolkit.pretrained import load_weights
from toolkit.run_facts import RunFacts, hardware

logger = logging.getLogger(__name__)


class RecipeBrain(sb.Brain):
    """A Brain that is ready from its hyperparameters: one model, one optimizer, one output folder.

    A subclass says what a batch costs (``compute_forward``, ``compute_objectives``) and, in ``stage_figures``, what a
    stage showed; the first figure of validation ranks the checkpoints. It trains ``self.modules.model``, which is
    wrapped in a distributed run, and evaluates with ``self.model``, which is not.

    A run that was killed or stopped continues to the very weights that it would have reached: every batch has random
    numbers of its own, and checkpoints are made between steps of the optimizer.

    Parameters
    ----------
    hparams : dict
        As `toolkit.experiment.load_experiment` builds it, with the keys ``needs`` and, optionally, ``reads``.
    run_opts : dict
        Options of the run, such as ``device``; ``archive`` is called before the first step of training;
        without one, reports of tests are written to the folder ``reports``.
    """

    # Keys of the YAML, beside those of `toolkit.declarations.GENERAL_KEYS`: without ``needs`` nothing begins.
    needs: ClassVar[set[str]] = {"model", "opt_class", "epoch_counter", "output_folder"}
    reads: ClassVar[set[str]] = {
        *("init_from", "freeze", "param_groups", "lr_annealing", "lr_schedule", "ema_decay", "average_checkpoints"),
        *("precision", "compile", "max_grad_norm", "grad_accumulation_factor", "ckpt_interval_minutes", *BY_KEY),
    }
    batch_type: ClassVar[type[TextBatch]] = TextBatch

    def __init__(self, hparams: dict[str, Any], run_opts: dict[str, Any] | None = None) -> None:
        self.output_folder, run_opts = Path(hparams["output_folder"]), dict(run_opts or {})
        self.archive, reports = run_opts.pop("archive", None), run_opts.pop("reports", None)
        self.train_only = run_opts.pop("train_only", False)
        is_profiled = run_opts.pop("profile_training", False) and if_main_process()
        if run_opts.get("debug"):
            self.output_folder, run_opts["debug_persistently"] = temporary_folder("debug-"), True
        self.reports = reports or self.output_folder
        self.model = hparams["model"]
        recoverables = {"model": self.model}
        if "lr_annealing" in hparams:
            recoverables["lr_annealing"] = hparams["lr_annealing"]
        super().__init__(
            modules={"model": self.model},
            opt_class=hparams["opt_class"],
            hparams=hparams,
            run_opts=run_opts,
            checkpointer=WholeCheckpointer(self.output_folder / "save", recoverables=recoverables),
        )
        self.checkpointer.add_recoverable("counter", hparams["epoch_counter"], load_counter, save_counter)
        self.noprogressbar = self.noprogressbar or not sys.stderr.isatty()
        self.max_grad_norm = self.max_grad_norm if self.max_grad_norm > 0 else math.inf
        self.average = getattr(self.hparams, "average_checkpoints", 1)
        self.epoch, self.place, self.ema, self.facts = 0, None, None, None
        self.train_log = TrainLog(self.output_folder / "train_log.txt")
        self.curves = make_curves(self.output_folder, hparams) if if_main_process() and not self.debug else []
        if is_profiled:
            self.tot_prof_steps = math.inf  # after so many, SpeechBrain would end the program
            self.profiler = StepProfiler(self.output_folder, after=self.profile_warmup, steps=self.profile_steps)
        self.frozen_names = freeze(self.model, getattr(self.hparams, "freeze", None) or [])
        parameters = sum(one.numel() for one in self.model.parameters())
        trained = sum(one.numel() for one in self.model.parameters() if one.requires_grad)
        counted = f"{parameters:,} parameters" + (f", {trained:,} of them trained" if trained < parameters else "")
        logger.info("%s: %s, on %s", type(self).__name__, counted, self.device)

    @sigterm_as_ctrl_c()
    def train_on(self, train: DataLoader, valid: DataLoader) -> None:
        """Train for the remaining epochs; Ctrl-C, and SIGTERM of a cluster, saves a checkpoint first.

        Loaders are those of `toolkit.dataio.loaders`, or SpeechBrain's SaveableDataLoader, which continues, too,
        unless its dataset is an IterableDataset.
        """
        self.train_loader = train
        try:
            self.fit(epoch_counter=self.hparams.epoch_counter, train_set=train, valid_set=valid)
            if self.profiler:
                self.profiler.stop()
            if self.facts is None and not self.test_only:
                logger.info("%s is trained already: no epoch is left.", self.output_folder)
            for curves in self.curves:
                curves.finish()
        except KeyboardInterrupt:
            self._save_where_stopped()
            raise

    def test_on(self, test: DataLoader, name: str) -> None:
        """Evaluate the averaged best checkpoints on a test set; in a distributed run, the main process does."""
        self.test_name = name
        if if_main_process() and not self.train_only:
            with MainProcessContext():
                self.evaluate(test_set=test)

    def stage_figures(self, stage: sb.Stage, stage_loss: float) -> dict[str, float]:
        """What a finished stage showed, the figure that ranks checkpoints first."""
        return {"loss": stage_loss}

    def facts_of_epoch(self, epoch: int) -> dict[str, Any]:
        """What ``run.json`` says of the run after an epoch; in a distributed run, every process is to ask."""
        return {
            "seed": getattr(self.hparams, "seed", 0),
            "parameters": sum(one.numel() for one in self.model.parameters()),
            "hardware": hardware(self.device),
            "processes": int(os.environ.get("WORLD_SIZE", 1)),
            "threads": torch.get_num_threads(),
            "epochs": epoch,
            "train_hours": 0.0,
        }

    def receive(self, batch: Any) -> Any:
        """The batch or, of a PaddedBatch, what every method takes in its place: a `batch_type`."""
        return self.batch_type.of(batch) if isinstance(batch, PaddedBatch) else batch

    def init_optimizers(self) -> None:
        """Make the optimizer, in groups as the YAML has them, and remember what it says of each."""
        groups = getattr(self.hparams, "param_groups", None) or {}
        self.opt_class = partial(make_optimizer, self.hparams.opt_class, self.model, groups)
        try:
            super().init_optimizers()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"opt_class: {error}") from error
        self.group_options = GroupOptions(self.optimizer)

    def on_fit_start(self) -> None:
        """Continue from the last checkpoint, with the optimizer's options as the YAML has them now.

        Without one, begin with the weights of ``init_from``, if the YAML has it.
        """
        source = getattr(self.hparams, "init_from", None)
        if source is not None and self.checkpointer.find_checkpoint() is None:
            take_weights(self.model, source, getattr(self.hparams, "tokenizer_file", None))
        if decay := getattr(self.hparams, "ema_decay", None):
            self.ema = MovingAverage(self.model, decay)
            self.checkpointer.add_recoverable("ema", self.ema, MovingAverage.load, MovingAverage.save)
        super().on_fit_start()
        self.frozen = [self.model.get_submodule(name) for name in self.frozen_names]  # DDP may have replaced them
        self._use_average(wanted=False)
        self.group_options.renew(is_annealed=hasattr(self.hparams, "lr_annealing"))
        if self.hparams.epoch_counter.current or self.step:
            logger.info("Continuing after %d epochs and %d batches.", self.hparams.epoch_counter.current, self.step)

    def fit_batch(self, batch: Any) -> torch.Tensor:
        """Train on one batch, wherever it was loaded; the last of an epoch makes a step of what is accumulated."""
        batch = self.receive(batch).to(self.device)
        should_step = self.step % self.grad_accumulation_factor == 0 or self._at_end()
        with uninterrupted():
            self.on_fit_batch_start(batch, should_step)
            with self.no_sync(not should_step):
                with self.training_ctx:
                    predictions = self.compute_forward(batch, sb.Stage.TRAIN)
                    loss = self.compute_objectives(predictions, batch, sb.Stage.TRAIN)
                self.check_loss_isfinite(loss)
                self.scaler.scale(loss / self.grad_accumulation_factor).backward()
            if should_step:
                self.optimizers_step()
            loss = loss.detach().cpu()
            if should_step:
                self.place = self.step, self.update_average(loss, self.avg_train_loss)
            self.on_fit_batch_end(batch, predictions, loss, should_step)
        return loss

    def _at_end(self) -> bool:
        """Whether the batch in hand is the last of the epoch."""
        return self.step == len(self.train_loader) if has_length(self.train_loader) else self.foreseen.at_end

    def _fit_train(self, train_set: DataLoader, epoch: int, enable: bool) -> None:
        """Train for an epoch, whose last batch is known to be the last."""
        self.foreseen = Foreseen(train_set)
        super()._fit_train(self.foreseen, epoch, enable)

    def optimizers_step(self) -> None:
        """Clip the gradients and step, unless one of them is not finite."""
        self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self.modules.parameters(), self.max_grad_norm)
        if self.scaler.is_enabled() or torch.isfinite(norm):  # a scaler looks for itself
            self.scaler.step(self.optimizer)
        else:
            logger.warning("epoch %d, batch %d: gradients are not finite; no step is taken", self.epoch, self.step)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer_step += 1
        if self.ema:
            self.ema.update(self.optimizer_step)

    def _use_average(self, *, wanted: bool) -> None:
        """Give the model the averaged weights, which is what is evaluated and saved, or those that are trained."""
        if self.ema:
            with uninterrupted():
                self.ema.use(wanted=wanted)

    def check_loss_isfinite(self, loss: torch.Tensor) -> None:
        """Let a few losses of an epoch pass that are not finite: no step is taken from them.

        Raises
        ------
        ModelError
            When there are more than ``nonfinite_patience``.
        """
        self.nonfinite_count += not torch.isfinite(loss)
        if self.nonfinite_count > self.nonfinite_patience:
            raise ModelError(
                f"epoch {self.epoch}, batch {self.step}: the loss is not finite, as were {self.nonfinite_patience} "
                "before in this epoch; the model has diverged: train with a lower lr, in another output_folder"
            )

    def evaluate_batch(self, batch: Any, stage: sb.Stage) -> torch.Tensor:
        """Evaluate one batch, wherever it was loaded."""
        return super().evaluate_batch(self.receive(batch).to(self.device), stage)

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Put the loader where training stands, also in the middle of an epoch."""
        self.stage_began = time.perf_counter()
        if stage == sb.Stage.TRAIN:
            self._archive()
            self.epoch, self.place = epoch, (self.step, self.avg_train_loss)
            self._seed(epoch, 0)  # for a loader that shuffles with torch's random numbers
            enter_epoch(self.train_loader, epoch, self.step)
            if epoch == 1 and if_main_process() and has_length(self.train_loader):
                warn_of_long_warm_up(self, len(self.train_loader))
        elif stage == sb.Stage.VALID:
            self._use_average(wanted=True)

    def _archive(self) -> None:
        """Put the experiment into its folder, once a step will be trained; its reports belong there, then."""
        if self.facts is not None:
            return
        if self.archive is not None:
            self.archive()
        self.facts, self.reports = RunFacts(self.output_folder), self.output_folder

    def on_fit_batch_start(self, batch: Any, should_step: bool) -> None:
        """Give the batch random numbers of its own, for dropout and the like; set the learning rate of its step."""
        self._seed(self.epoch, self.step, get_rank() or 0)
        for module in self.frozen:
            if module.training:  # at the beginning of an epoch
                module.eval()
        schedule = getattr(self.hparams, "lr_schedule", None)
        if schedule is not None and should_step:
            self.group_options.set_rate(schedule(self.optimizer_step + 1, self.epoch))

    def _seed(self, *place: int) -> None:
        seed = "/".join(map(str, (getattr(self.hparams, "seed", 0), *place)))
        seed_everything(zlib.crc32(seed.encode()), verbose=False)

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Log what the stage showed; after validation, anneal and save a checkpoint."""
        figures = self._mean_over_ranks(self.stage_figures(stage, float(stage_loss)))
        if stage == sb.Stage.TRAIN:
            self.train_figures = {**figures, "seconds": time.perf_counter() - self.stage_began}
            if self.profiler:
                self.profiler.end_epoch()
        elif stage == sb.Stage.VALID:
            with uninterrupted():
                self._end_epoch(epoch, figures)
                self._use_average(wanted=False)
        else:
            self.train_log.log_stats({"test": self.test_name}, test_stats=figures)
            self._draw({"test": self.test_name}, test_stats=figures)

    def on_evaluate_start(self, max_key: str | None = None, min_key: str | None = None) -> None:
        """Load the mean of the best checkpoints."""
        load_weights(self.model, self.output_folder, self.average)

    def _mean_over_ranks(self, figures: dict[str, float]) -> dict[str, float]:
        """The mean of what the processes of a distributed run found, so that all go on from the same."""
        summed = torch.tensor([*figures.values(), 1.0], dtype=torch.float64, device=self.device)
        summed = ddp_all_reduce(summed, torch.distributed.ReduceOp.SUM)
        return dict(zip(figures, (summed[:-1] / summed[-1]).tolist(), strict=True))

    def _end_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        rank = next(iter(figures.values()))
        rank = math.inf if math.isnan(rank) else rank
        meta = {"epoch": epoch, "lr": self.group_options.rate}
        if hasattr(self.hparams, "lr_annealing"):
            _, new_rate = self.hparams.lr_annealing(rank)
            self.group_options.set_rate(new_rate)
        if hasattr(self.hparams.epoch_counter, "update_metric"):
            self.hparams.epoch_counter.update_metric(rank)
        stats = {"train_stats": self.train_figures, "valid_stats": figures}
        self.train_log.log_stats(meta, **stats)
        self.checkpointer.save_epoch({RANK: rank, "epoch": epoch, **figures}, best=self.average)
        self.place = None  # the epoch's own checkpoint is where to continue
        facts = self.facts_of_epoch(epoch)
        if if_main_process():
            self.facts.update(**facts)
            plot_learning_curve(self.output_folder / "train_log.txt", self.output_folder / "learning_curve.png")
        self._draw(meta, **stats)  # once the epoch is safe: a service may let one wait

    def _draw(self, meta: dict[str, Any], **stats: dict[str, float]) -> None:
        for curves in self.curves:
            curves.log_stats(meta, **stats)

    def _should_save_intra_epoch_ckpt(self, *since: float) -> bool:
        """Never while gradients are being accumulated, as checkpoints hold none."""
        return self.step % self.grad_accumulation_factor == 0 and super()._should_save_intra_epoch_ckpt(*since)

    def _save_where_stopped(self) -> None:
        """Save a checkpoint after the last step of the optimizer, also when validation had begun."""
        if self.place is None or not if_main_process():
            return
        self.step, self.avg_train_loss = self.place
        with uninterrupted(), MainProcessContext():
            self._save_intra_epoch_ckpt()
            self.facts.update()
        logger.info("Stopped after batch %d of epoch %d; a checkpoint is saved.", self.step, self.epoch)
