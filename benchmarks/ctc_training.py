"""Where the time of CTC training goes: data, features, encoder, loss, backward pass, optimizer, Brain.

    cd recipes/AN4
    python ../../benchmarks/ctc_training.py hparams/ctc.yaml --output_folder /tmp/profile --batches 60

Trains the YAML's model for that many batches and prints the share of each part in wall time. Data is what the loop
waits for, so reading ahead in a worker process (num_workers) hides most of it.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import speechbrain as sb
import torch

from toolkit.dataio.loaders import load_splits
from toolkit.experiment import load_experiment, run

WARM_UP = 5


class Clock:
    """Seconds by part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, part: str, function: Callable) -> Callable:
        """The function, its time added to a part."""

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - began

        return call


def main(arguments: list[str] | None = None) -> None:
    """Train, and print the shares."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    batches = 60
    if "--batches" in arguments:
        place = arguments.index("--batches")
        batches = int(arguments[place + 1])
        del arguments[place : place + 2]
    hparams, run_opts = load_experiment(arguments)
    train, _, _ = load_splits(hparams)
    brain = hparams["brain"](hparams, run_opts)
    brain.train_loader = train
    brain.on_fit_start()
    brain.on_stage_start(sb.Stage.TRAIN, 1)
    brain.modules.train()
    brain.nonfinite_count = 0  # what fit() counts from
    clock = attach(Clock(), brain)
    print_shares(clock.seconds, train_batches(brain, iter(train), clock, batches), batches)


def attach(clock: Clock, brain: sb.Brain) -> Clock:
    """Time the parts of a batch from now on."""
    model = brain.raw_modules["model"]
    model.features.forward = clock.timed("features", model.features.forward)
    model.encoder.forward = clock.timed("encoder", model.encoder.forward)
    if model.augment is not None:
        model.augment.forward = clock.timed("SpecAugment", model.augment.forward)
    brain.ctc_loss = clock.timed("loss", brain.ctc_loss)
    brain.optimizers_step = clock.timed("optimizer", brain.optimizers_step)
    torch.Tensor.backward = clock.timed("backward", torch.Tensor.backward)
    return clock


def train_batches(brain: sb.Brain, batches: Any, clock: Clock, count: int) -> float:
    """Train on that many batches after a few to warm up; the seconds they took."""
    fetch = clock.timed("data (waiting)", lambda: next(batches))
    for number in range(WARM_UP + count):
        if number == WARM_UP:
            clock.seconds.clear()
            began = time.perf_counter()
        brain.step += 1
        brain.fit_batch(fetch())
    return time.perf_counter() - began


def print_shares(seconds: dict[str, float], total: float, batches: int) -> None:
    """One line for each part, and one for what is left."""
    shares = {**dict(seconds), "Brain and the rest": total - sum(seconds.values())}
    print(f"{batches} batches in {total:.1f} s ({1000 * total / batches:.0f} ms each)")
    for part, spent in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"{part:<20}{100 * spent / total:6.1f} %")


if __name__ == "__main__":
    run(main)
