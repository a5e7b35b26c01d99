"""Utterances cut down to a longest or filled up to a shortest duration."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from lhotse.cut import Cut

from toolkit.dataio.config import DataConfig


@dataclass(frozen=True)
class Reshape:
    """At most ``longest`` and at least ``shortest`` seconds; which part, and where silence is added, may be random.

    What is random is drawn from (seed, epoch, cut id) alone, so that every epoch hears another part.

    Attributes
    ----------
    part
        ``random``, ``start`` or ``end`` of what is too long.
    side
        ``right``, ``left``, ``both`` or ``random`` of what is too short.
    keep_excessive
        Whether a part keeps transcripts that reach beyond its ends.
    """

    seed: int | str = 0
    longest: float | None = None
    shortest: float | None = None
    part: str = "random"
    side: str = "right"
    keep_excessive: bool = True

    @classmethod
    def from_config(cls, config: DataConfig) -> Reshape:
        """What the configuration asks for."""
        return cls(
            config.seed,
            config.truncate_duration,
            config.pad_min_duration,
            part=config.truncate_offset_type,
            side=config.pad_direction,
            keep_excessive=config.keep_excessive_supervisions,
        )

    @property
    def changes_nothing(self) -> bool:
        """Whether no bound is set."""
        return self.longest is None and self.shortest is None

    def lengths(self, lengths: np.ndarray) -> np.ndarray:
        """(N,) seconds of utterances of so many (N,)."""
        return np.clip(lengths, self.shortest, self.longest) if not self.changes_nothing else lengths

    def __call__(self, cut: Cut, epoch: int = 0) -> Cut:
        """The utterance, with the same id."""
        rng = random.Random(f"{self.seed}/{epoch}/{cut.id}/shape")
        if self.longest is not None and cut.duration > self.longest:
            spare = cut.duration - self.longest
            offset = {"start": 0.0, "end": spare, "random": rng.uniform(0.0, spare)}[self.part]
            keep = self.keep_excessive
            cut = cut.truncate(offset=offset, duration=self.longest, keep_excessive_supervisions=keep, preserve_id=True)
        if self.shortest is not None and cut.duration < self.shortest:
            side = rng.choice(("left", "right", "both")) if self.side == "random" else self.side
            cut = cut.pad(duration=self.shortest, direction=side, preserve_id=True)
        return cut
