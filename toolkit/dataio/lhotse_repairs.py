"""What of Lhotse 1.33 does not run with torch and torchaudio 2.11, made to run, under the same names.

All other samplers and transforms of Lhotse are declared in YAML as they are.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lhotse.dataset
import numpy as np
import torch
from lhotse import CutSet
from lhotse.augmentation import Tempo
from lhotse.cut import Cut, MixedCut
from lhotse.dataset import DynamicBucketingSampler
from lhotse.dataset.dataloading import get_rank
from lhotse.dataset.sampling.base import CutSampler, SamplingDiagnostics
from lhotse.utils import fastcopy, perturb_num_samples

from toolkit.dataio.bins import duration_bins
from toolkit.dataio.capped_constraints import CappedTimeConstraint
from toolkit.dataio.effects import play
from toolkit.dataio.lhotse_adapters import read_cuts
from toolkit.errors import ConfigError

# Cuts that wait in the buckets of StatelessSampler. They are drawn at random already: Lhotse's 20,000 take 20 s.
_BUFFER = 2000


def sampler_of(sampler: Callable[..., CutSampler], *cuts: CutSet) -> CutSampler:
    """The sampler of one set of cuts or several, for YAML, where a call has named arguments or others, not both.

    ::

    sampler: !apply:toolkit.dataio.lhotse_repairs.sampler_of
      - !name:lhotse.dataset.DynamicBucketingSampler
        max_duration: 200.0
      - !ref <cuts>
    """
    return sampler(*cuts)


class StatelessSampler(lhotse.dataset.StatelessSampler):
    """Batches of random cuts without end, other ones for each worker and rank.

    Lhotse's asks torch's Sampler for an argument that it no longer takes, reads lines with letters outside ASCII wrong,
    and trusts whatever file has the name of its index. Here the cuts are those of :func:`read_cuts`, and the budget is
    a cap.

    Parameters
    ----------
    cuts_paths
        A file of cuts, several, or pairs of such a file and a scale: how much more often its cuts are drawn.
    index_path
        Not needed; Lhotse's argument.
    base_seed
        Change it when training goes on, for instance with the number of steps, not to see the same batches again.
    num_buckets, duration_bins
        Groups of similar duration that batches are drawn from, or where they end (seconds); one group by default.
    caps
        ``max_duration``, ``max_cuts`` and ``quadratic_duration`` of :class:`CappedTimeConstraint`.
    """

    # Of the place where it is iterated, in the eyes of IterableDatasetWrapper, which warns of others.
    rank, world_size = 0, 1

    def __init__(
        self,
        cuts_paths: str | Path | Sequence[str | Path] | Sequence[tuple[str | Path, float]],
        index_path: str | Path | None = None,  # noqa: ARG002
        base_seed: int = 0,
        *,
        num_buckets: int | None = None,
        duration_bins: Sequence[float] | None = None,
        **caps: float | None,
    ) -> None:
        paths = [cuts_paths] if isinstance(cuts_paths, (str, Path)) else cuts_paths
        pairs = [(one, 1.0) if isinstance(one, (str, Path)) else one for one in paths]
        self.base_seed, self.constraint = base_seed, CappedTimeConstraint(**caps)
        self.diagnostics = SamplingDiagnostics()
        self._rank = get_rank()
        self._transforms: list[Callable[[CutSet], CutSet]] = []
        self._sources, self._scales = [read_cuts(path) for path, _ in pairs], [scale for _, scale in pairs]
        if not any(map(len, self._sources)):
            raise ConfigError(f"cuts_paths: {', '.join(str(path) for path, _ in pairs)}: no cuts to draw")
        self.duration_bins = self._bins(num_buckets or 1) if duration_bins is None else list(duration_bins)

    def __iter__(self) -> Iterator[CutSet]:
        worker = torch.utils.data.get_worker_info()
        # The rank is known here when make_worker_init_fn told it to the worker, else where the sampler was made.
        place = (0 if worker is None else worker.id) + 1000 * (get_rank() or self._rank)
        sampler = DynamicBucketingSampler(
            self._draw(random.Random(self.base_seed + place)),
            constraint=copy.deepcopy(self.constraint),
            duration_bins=self.duration_bins,
            buffer_size=_BUFFER,
            rank=0,
            world_size=1,
        )
        for transform in self._transforms:
            sampler.map(transform)
        self.diagnostics = sampler.diagnostics
        yield from sampler

    def _bins(self, count: int) -> list[float]:
        """Ends of bins that minimise padding."""
        scales = [np.full(len(source), scale) for source, scale in zip(self._sources, self._scales, strict=True)]
        seconds = np.concatenate([source.lengths for source in self._sources])
        return duration_bins(seconds, count, np.concatenate(scales)).tolist()

    def _draw(self, rng: random.Random) -> Iterator[Cut]:
        """Random cuts; one that is drawn again has another id."""
        weights = [len(source) * scale for source, scale in zip(self._sources, self._scales, strict=True)]
        for number in itertools.count():
            source = rng.choices(self._sources, weights)[0]
            cut = source[rng.randrange(len(source))]
            yield fastcopy(cut, id=f"{cut.id}_it{number}")


class PerturbTempo(lhotse.dataset.PerturbTempo):
    """Some cuts of a batch faster or slower, at their pitch.

    Lhotse's plays them with SoX through torchaudio, which no longer has it.
    """

    def __call__(self, cuts: CutSet) -> CutSet:
        """The batch with some cuts changed."""
        return CutSet.from_cuts(map(_played_by_ffmpeg, super().__call__(cuts)))


@dataclass
class FFmpegTempo(Tempo):
    """Audio ``factor`` times as fast at its pitch, by overlapping its waveform where it is most alike (WSOLA)."""

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """Samples (C, S) -> (C, S / factor)."""
        wanted = perturb_num_samples(samples.shape[1], self.factor)
        played = play(samples, sampling_rate, [("atempo", str(self.factor))])
        return np.pad(played, [(0, 0), (0, max(0, wanted - played.shape[1]))])[:, :wanted]


def _played_by_ffmpeg(cut: Cut) -> Cut:
    """The cut with each of Lhotse's changes of tempo as one that runs."""
    if isinstance(cut, MixedCut):
        return fastcopy(cut, tracks=[fastcopy(track, cut=_played_by_ffmpeg(track.cut)) for track in cut.tracks])
    recording = getattr(cut, "recording", None)  # padding has none
    if recording is None or not recording.transforms:
        return cut
    transforms = [FFmpegTempo(one.factor) if type(one) is Tempo else one for one in recording.transforms]
    return fastcopy(cut, recording=fastcopy(recording, transforms=transforms))
