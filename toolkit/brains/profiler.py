"""Where the time of a few steps of training goes."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.profiler import ProfilerActivity, profile, schedule, supported_activities

from toolkit.files import write_atomically

logger = logging.getLogger(__name__)

ROWS = 15  # of the table


class StepProfiler:
    """Records some steps of training after the first ones, once; used as SpeechBrain uses torch's profiler.

    The log then has a table of the operations that took longest, and the run's folder a trace, ``profile.json.gz``,
    which https://ui.perfetto.dev or chrome://tracing shows. Training goes on. All steps are of one epoch, so that no
    validation is among them: of one that ends before, there are fewer.
    """

    step_num = 0  # of which SpeechBrain asks

    def __init__(self, folder: Path, *, after: int, steps: int) -> None:
        self.file, self.after, self.steps = folder / "profile.json.gz", after, steps
        self.waiting = after - 1  # the last of the first ones warms torch's profiler up
        self.recording: profile | None = None
        self.is_over = False

    def start(self) -> None:
        """Begin, or go on, with an epoch."""
        if not self.waiting and not self.is_over:
            self._begin()

    def step(self) -> None:
        """A step is over."""
        if self.recording:
            self.recording.step()
            if self.recording.step_num > self.steps:
                self._end()
        elif self.waiting:
            self.waiting -= 1
            self.start()

    def end_epoch(self) -> None:
        """Training pauses: what was recorded is written, and where nothing was, the next epoch may be."""
        if self.recording:
            self._end()

    def stop(self) -> None:
        """Training is over."""
        if not self.is_over:
            logger.warning(
                "nothing was profiled: no step came after the first %d of an epoch or of this training; "
                "give a lower --profile_warmup",
                self.after,
            )

    def _begin(self) -> None:
        activities = supported_activities() & {ProfilerActivity.CPU, ProfilerActivity.CUDA}
        plan = schedule(wait=0, warmup=1, active=self.steps, repeat=1)
        self.recording = profile(activities=activities, schedule=plan, on_trace_ready=self._write, acc_events=True)
        self.recording.start()

    def _end(self) -> None:
        self.recording.stop()
        self.recording = None

    def _write(self, recording: profile) -> None:
        if recording.step_num < 2:  # the epoch ended with the step that was to warm up
            return
        self.is_over = True
        with TemporaryDirectory() as folder:
            plain = Path(folder) / "trace.json"
            recording.export_chrome_trace(str(plain))
            write_atomically(self.file, gzip.compress(plain.read_bytes()))
        order = "self_cuda_time_total" if ProfilerActivity.CUDA in recording.activities else "self_cpu_time_total"
        table = recording.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=40)
        logger.info("where the time of %d steps went (%s):\n%s", recording.step_num - 1, self.file, table)
