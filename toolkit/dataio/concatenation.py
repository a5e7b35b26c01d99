"""Short utterances of a batch joined to long ones, so that less of it is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut, MixedCut, PaddingCut
from lhotse.dataset.cut_transforms import CutConcatenate
from lhotse.utils import fastcopy

from toolkit.dataio.buckets import ROUNDING, Caps
from toolkit.dataio.config import DataConfig
from toolkit.dataio.effects import InPlace


@dataclass(frozen=True)
class Concatenation:
    """Joins the utterances of a batch, with ``gap`` seconds of silence between them.

    None becomes longer than the longest of the batch times ``factor``; where that would be more than ``caps`` allow
    (none is given: it never is), than the longest of the batch. The id of a joined utterance is ``a+b``, and with
    ``merge`` it has one transcript.
    """

    gap: float = 0.1
    factor: float = 1.0
    merge: bool = True
    caps: Caps | None = None

    @classmethod
    def from_config(cls, config: DataConfig) -> Concatenation | None:
        """What the configuration asks for, if anything."""
        if not config.concatenate_samples:
            return None
        factor, merge = config.concatenate_duration_factor, config.concatenate_merge_supervisions
        if config.use_multimodal_sampling:  # a cap on tokens is no bound of seconds
            return cls(config.concatenate_gap_seconds, min(factor, 1.0), merge)
        caps = None if config.batch_duration is None else Caps(config.batch_duration, None, config.quadratic_duration)
        return cls(config.concatenate_gap_seconds, factor, merge, caps)

    def __call__(self, cuts: Sequence[Cut]) -> list[Cut]:
        """The utterances, joined where they fit; from the longest to the shortest."""
        joined = self._joined(cuts, self.factor)
        if self._is_too_large(joined):
            joined = self._joined(cuts, min(self.factor, 1.0))
        ids = {id(cut) for cut in cuts}
        return [cut if id(cut) in ids else self._named(cut) for cut in joined]

    def _is_too_large(self, joined: Sequence[Cut]) -> bool:
        if self.caps is None:
            return False
        longest = float(self.caps.effective(np.array(max(cut.duration for cut in joined))))
        return len(joined) * longest > self.caps.duration + ROUNDING

    def _joined(self, cuts: Sequence[Cut], factor: float) -> list[Cut]:
        return list(CutConcatenate(self.gap, factor)(CutSet.from_cuts(cuts)))

    def _named(self, cut: MixedCut) -> MixedCut:
        """Lhotse gives a joined cut a random id."""
        names = [supervision.id for supervision in cut.supervisions]
        named = cut.with_id("+".join(names))
        return named.merge_supervisions() if self.merge else named


@dataclass
class RmsLevel(InPlace):
    """Audio at a root mean square of ``target`` dB; silence stays."""

    target: float

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:  # noqa: ARG002 (Lhotse's)
        """The same samples, louder or softer."""
        power = np.mean(np.square(samples, dtype=np.float64))
        return samples if power == 0 else (samples * (10 ** (self.target / 20) / np.sqrt(power))).astype(samples.dtype)


def at_level(cut: Cut, target: float) -> Cut:
    """The cut with its audio at ``target`` dB; each track of several."""
    if isinstance(cut, PaddingCut):
        return cut
    if isinstance(cut, MixedCut):
        return fastcopy(cut, tracks=[fastcopy(track, cut=at_level(track.cut, target)) for track in cut.tracks])
    transforms = [*(cut.recording.transforms or []), RmsLevel(target)]
    return fastcopy(cut, recording=fastcopy(cut.recording, transforms=transforms))
