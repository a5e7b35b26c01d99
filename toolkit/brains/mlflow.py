"""Figures of every epoch for MLflow, which the extra [mlflow] installs."""

from __future__ import annotations

import atexit
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.brains.curves import Curves, settings
from toolkit.errors import ConfigError, MissingDependencyError
from toolkit.files import write_atomically

logger = logging.getLogger(__name__)

RUN_FILE = "mlflow_run.txt"
LONGEST = 500  # characters of a parameter that every store takes
MOST = 100  # parameters of a request
REFUSED = re.compile(r"[^\w./: -]")  # in the name of a metric


class MlflowLog(Curves):
    """Curves of a run in the experiment that ``mlflow`` names; a run that goes on goes on there.

    They are kept where the variable ``MLFLOW_TRACKING_URI`` says, or in ``mlflow.db`` where one trains.

    Raises
    ------
    MissingDependencyError
        When MLflow is not installed.
    ConfigError
        When its store refuses.
    """

    def __init__(self, folder: Path, hparams: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report its use to its makers
        try:
            import mlflow
        except ImportError:
            raise MissingDependencyError("mlflow needs the extra: pip install 'asr-recipes[mlflow]'") from None
        self.entities, known = mlflow.entities, folder / RUN_FILE
        try:
            self.client = mlflow.MlflowClient()
            self.run = known.read_text(encoding="utf-8") if known.is_file() else self._new_run(folder.name, hparams)
            self.client.update_run(self.run, status="RUNNING")
        except mlflow.MlflowException as error:
            raise ConfigError(f"mlflow: {error}; set MLFLOW_TRACKING_URI to a store of yours") from None
        write_atomically(known, self.run)
        self.status = "KILLED"
        atexit.register(self._end)

    def _new_run(self, name: str, hparams: Mapping[str, Any]) -> str:
        """The identity of a run in the experiment, with the numbers and texts of the YAML."""
        experiment = self.client.get_experiment_by_name(hparams["mlflow"])
        identity = experiment.experiment_id if experiment else self.client.create_experiment(hparams["mlflow"])
        run = self.client.create_run(identity, run_name=name).info.run_id
        texts = [self.entities.Param(key, str(value)[:LONGEST]) for key, value in settings(hparams).items()]
        for first in range(0, len(texts), MOST):
            self.client.log_batch(run, params=texts[first : first + MOST])
        return run

    def add(self, figures: Mapping[str, float], epoch: int) -> None:
        """Add a point to each of the curves by these names, in which what MLflow refuses is a dash."""
        now = round(1000 * time.time())
        points = [self.entities.Metric(REFUSED.sub("-", name), one, now, epoch) for name, one in figures.items()]
        self.client.log_batch(self.run, points)

    def finish(self) -> None:
        """Training came to its end: what stops before is KILLED, which one may continue."""
        self.status = "FINISHED"

    def _end(self) -> None:
        try:
            self.client.set_terminated(self.run, self.status)
        except Exception as error:  # of whatever a store that is gone raises
            logger.warning("mlflow: the run stays as RUNNING: %s", error)
