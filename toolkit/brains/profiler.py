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
    which https://ui.perfetto.dev or chrome://tracing shows. Training goes on.
    """

    step_num = 0  # of which SpeechBrain asks

    def __init__(self, folder: Path, *, after: int, steps: int) -> None:
        self.file, self.first, self.end = folder / "profile.json.gz", after, after + steps
        plan = schedule(wait=after - 1, warmup=1, active=steps, repeat=1)
        activities = supported_activities() & {ProfilerActivity.CPU, ProfilerActivity.CUDA}
        self.recording: profile | None = profile(
            activities=activities, schedule=plan, on_trace_ready=self._write, acc_events=True
        )

    def start(self) -> None:
        """Begin, or go on, with an epoch."""
        if self.recording and self.recording.step_num == 0:
            self.recording.start()

    def step(self) -> None:
        """A step is over."""
        if self.recording:
            self.recording.step()
            if self.recording.step_num == self.end:
                self.stop()

    def stop(self) -> None:
        """Record no more; what was recorded of a run that ended early is written."""
        if self.recording:
            self.recording.stop()
            self.recording = None

    def _write(self, recording: profile) -> None:
        with TemporaryDirectory() as folder:
            plain = Path(folder) / "trace.json"
            recording.export_chrome_trace(str(plain))
            write_atomically(self.file, gzip.compress(plain.read_bytes()))
        order = "self_cuda_time_total" if ProfilerActivity.CUDA in recording.activities else "self_cpu_time_total"
        table = recording.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=40)
        logger.info("where the time of %d steps went (%s):\n%s", recording.step_num - self.first, self.file, table)
