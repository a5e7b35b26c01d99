"""What every Brain of the collection does around its two methods: checkpoints, schedules, logs, resuming, testing."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.nnet.schedulers import update_learning_rate
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.train_logger import FileTrainLogger
from torch.utils.data import DataLoader

from toolkit.brains.checkpointer import WholeCheckpointer
from toolkit.brains.learning_curve import plot_learning_curve
from toolkit.checkpoints import RANK
from toolkit.errors import MissingDependencyError
from toolkit.pretrained import load_weights

logger = logging.getLogger(__name__)


class RecipeBrain(sb.Brain):
    """A Brain that is ready from its hyperparameters: one model, one optimizer, one output folder.

    A subclass says what a batch costs (``compute_forward``, ``compute_objectives``) and, in ``stage_figures``, what a
    stage showed; the first figure of validation ranks the checkpoints.

    Parameters
    ----------
    hparams : dict
        As `toolkit.experiment.load_experiment` builds it. Read here: ``model``, ``opt_class``, ``epoch_counter``,
        ``output_folder``, and optionally ``lr_annealing``, ``lr_schedule``, ``average_checkpoints``, ``tensorboard``.
    run_opts : dict
        Options of the run, such as ``device``.
    """

    def __init__(self, hparams: dict[str, Any], run_opts: dict[str, Any] | None = None) -> None:
        self.output_folder = Path(hparams["output_folder"])
        recoverables = {"model": hparams["model"], "counter": hparams["epoch_counter"]}
        if "lr_annealing" in hparams:
            recoverables["lr_annealing"] = hparams["lr_annealing"]
        super().__init__(
            modules={"model": hparams["model"]},
            opt_class=hparams["opt_class"],
            hparams=hparams,
            run_opts=run_opts,
            checkpointer=WholeCheckpointer(self.output_folder / "save", recoverables=recoverables),
        )
        self.epoch = 0
        self.average = getattr(self.hparams, "average_checkpoints", 1)
        self.train_loggers = [FileTrainLogger(save_file=str(self.output_folder / "train_log.txt"))]
        if getattr(self.hparams, "tensorboard", False):
            self.train_loggers.append(_tensorboard_logger(self.output_folder / "tensorboard"))

    def train_on(self, train: DataLoader, valid: DataLoader) -> None:
        """Train for the remaining epochs; Ctrl-C saves a checkpoint first."""
        self.train_loader = train
        try:
            self.fit(epoch_counter=self.hparams.epoch_counter, train_set=train, valid_set=valid)
        except KeyboardInterrupt:
            self._save_where_stopped()
            raise

    def test_on(self, test: DataLoader, name: str) -> None:
        """Evaluate the averaged best checkpoints on a test set."""
        self.test_name = name
        self.evaluate(test_set=test, progressbar=not self.noprogressbar)

    def stage_figures(self, stage: sb.Stage, stage_loss: float) -> dict[str, float]:
        """What a finished stage showed, the figure that ranks checkpoints first."""
        return {"loss": stage_loss}

    def fit_batch(self, batch: Any) -> torch.Tensor:
        """Train on one batch, wherever it was loaded."""
        return super().fit_batch(batch.to(self.device))

    def evaluate_batch(self, batch: Any, stage: sb.Stage) -> torch.Tensor:
        """Evaluate one batch, wherever it was loaded."""
        return super().evaluate_batch(batch.to(self.device), stage)

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Put the loader where training stands, also in the middle of an epoch; make dropout repeatable by epoch."""
        self.stage, self.stage_began = stage, time.perf_counter()
        if stage == sb.Stage.TRAIN:
            self.epoch = epoch
            torch.manual_seed(getattr(self.hparams, "seed", 0) + epoch)
            self.train_loader.seek(epoch, batches=self.step)

    def on_fit_batch_start(self, batch: Any, should_step: bool) -> None:
        """Set the learning rate of this step."""
        schedule = getattr(self.hparams, "lr_schedule", None)
        if schedule is not None and should_step:
            for group in self.optimizer.param_groups:
                group["lr"] = schedule(self.optimizer_step + 1, self.epoch)

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Log what the stage showed; after validation, anneal and save a checkpoint."""
        figures = self.stage_figures(stage, float(stage_loss))
        if stage == sb.Stage.TRAIN:
            self.train_figures = {**figures, "seconds": time.perf_counter() - self.stage_began}
            self.where_training_ended = self.step, self.avg_train_loss
        elif stage == sb.Stage.VALID:
            self._end_epoch(epoch, figures)
        else:
            self._log({"test": self.test_name}, test_stats=figures)

    def on_evaluate_start(self, max_key: str | None = None, min_key: str | None = None) -> None:
        """Load the mean of the best checkpoints."""
        load_weights(self.raw_modules["model"], self.output_folder, self.average)

    def _end_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        rank = next(iter(figures.values()))
        rate = self.optimizer.param_groups[0]["lr"]
        if hasattr(self.hparams, "lr_annealing"):
            _, new_rate = self.hparams.lr_annealing(rank)
            update_learning_rate(self.optimizer, new_rate)  # logs the change
        if hasattr(self.hparams.epoch_counter, "update_metric"):
            self.hparams.epoch_counter.update_metric(rank)
        self._log({"epoch": epoch, "lr": rate}, train_stats=self.train_figures, valid_stats=figures)
        self.checkpointer.save_and_keep_only(
            meta={RANK: rank, "epoch": epoch, **figures}, min_keys=[RANK], num_to_keep=self.average
        )
        if if_main_process():
            plot_learning_curve(self.output_folder / "train_log.txt", self.output_folder / "learning_curve.png")

    def _log(self, meta: dict[str, Any], **stats: dict[str, float]) -> None:
        if if_main_process():
            for train_logger in self.train_loggers:
                train_logger.log_stats(stats_meta=meta, **stats)

    def _save_where_stopped(self) -> None:
        """Save a checkpoint in mid-epoch; in validation, one that stands after the last training batch."""
        if self.optimizers_dict is None:
            return
        if self.stage == sb.Stage.VALID:
            self.step, self.avg_train_loss = self.where_training_ended
        self._save_intra_epoch_ckpt()
        logger.info("Stopped in epoch %d; a checkpoint is in %s.", self.epoch, self.output_folder / "save")


def _tensorboard_logger(folder: Path) -> Any:
    try:
        from speechbrain.utils.train_logger import TensorboardLogger

        return TensorboardLogger(save_dir=str(folder))
    except ImportError:
        raise MissingDependencyError(
            "tensorboard: True needs the extra: pip install 'asr-recipes[tensorboard]'"
        ) from None
