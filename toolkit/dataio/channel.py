"""Which utterances come through which channel: effects and codecs at a probability."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lhotse.augmentation import AudioTransform
from lhotse.cut import Cut, MixedCut, PaddingCut
from lhotse.utils import fastcopy

from toolkit.dataio.effects import EFFECTS, Coded, Played

MOST_EFFECTS = 2  # at once: with more, hardly anything is left of some utterances


@dataclass(frozen=True)
class Channel:
    """One or two effects, then a codec, of some utterances; drawn from (seed, epoch, cut id) alone.

    Attributes
    ----------
    effects, effect_prob
        Of `toolkit.dataio.effects.EFFECTS`, and the share of the utterances that are changed.
    codecs, codec_prob
        Of `toolkit.dataio.effects.CODECS`, and the share of the utterances that are sent.
    """

    seed: int = 0
    effects: tuple[str, ...] = ()
    effect_prob: float = 0.0
    codecs: tuple[str, ...] = ()
    codec_prob: float = 0.0

    def __call__(self, cut: Cut, epoch: int) -> Cut:
        """The utterance as this epoch hears it, of the same id and length."""
        for transform in self._drawn(cut, random.Random(f"{self.seed}/{epoch}/{cut.id}/channel")):
            cut = _through(cut, transform)
        return cut

    def _drawn(self, cut: Cut, rng: random.Random) -> list[AudioTransform]:
        drawn: list[AudioTransform] = []
        if self.effects and rng.random() < self.effect_prob:
            chosen = rng.sample(self.effects, rng.randint(1, min(MOST_EFFECTS, len(self.effects))))
            drawn.append(Played([one for name in chosen for one in EFFECTS[name](cut.sampling_rate, rng)]))
        if self.codecs and rng.random() < self.codec_prob:
            drawn.append(Coded(rng.choice(self.codecs), rng.random()))
        return drawn


def _through(cut: Cut, transform: AudioTransform) -> Cut:
    """The cut with what is heard in it changed; of several tracks, their sum."""
    if isinstance(cut, PaddingCut):
        return cut
    if isinstance(cut, MixedCut):
        return fastcopy(cut, transforms=[*(cut.transforms or []), transform])
    return fastcopy(cut, recording=fastcopy(cut.recording, transforms=[*(cut.recording.transforms or []), transform]))
