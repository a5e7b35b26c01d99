"""Scorers and their weights, as a YAML names them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from toolkit.decoders.options import check_range
from toolkit.decoders.scorers import Scorer
from toolkit.errors import ConfigError, did_you_mean


class ScorerBuilder:
    """Scorers that a search adds up, each with its weight; options and meaning as SpeechBrain's.

    Parameters
    ----------
    weights
        By name: ``{transformerlm: 0.6, ctc: 0.4}``. The weight of ``ctc`` is taken from the decoder, which has the
        rest; the others are added. A weight of 0 switches a scorer off.
    full_scorers
        Scorers asked about every token.
    partial_scorers
        Scorers asked only about the best tokens of each hypothesis, by decoder and full scorers: no other token can
        follow. For the CTC prefix score that is a choice of meaning, hardly of speed.
    scorer_beam_scale
        How many these are: beam_size * scorer_beam_scale, eos among them.

    Raises
    ------
    ConfigError
        When scorers and weights do not belong together.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        full_scorers: Sequence[Scorer] = (),
        partial_scorers: Sequence[Scorer] = (),
        *,
        scorer_beam_scale: float = 2,
    ) -> None:
        self.weights = dict(weights or {})
        self.full_scorers, self.partial_scorers = list(full_scorers), list(partial_scorers)
        self.scorer_beam_scale = scorer_beam_scale
        check_range("scorer_beam_scale", scorer_beam_scale, 0.0)
        names = [_name(scorer) for scorer in self]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two scorers are called {name!r}: a weight must mean one of them")
            if name not in self.weights:
                raise ConfigError(f"the scorer {name!r} has no weight: weights names {sorted(self.weights)}")
        for name, weight in self.weights.items():
            if name not in names:
                hint = did_you_mean(name, names)
                raise ConfigError(f"weights names the scorer {name!r}, which is not given{hint}; given: {names}")
            check_range(f"the weight of {name}", weight, 0.0, 1.0 if name == "ctc" else math.inf)

    def __iter__(self) -> Iterator[Scorer]:
        return iter(self.full_scorers + self.partial_scorers)

    def weight(self, name: str) -> float:
        """The weight of a scorer, 0 where there is none."""
        return self.weights.get(name, 0.0)

    def candidates(self, beam_size: int) -> int | None:
        """How many tokens the partial scorers look at; None: there are none, or they look at all."""
        if not any(self.weights[scorer.name] for scorer in self.partial_scorers):
            return None
        return max(1, int(min(beam_size * self.scorer_beam_scale, 1e9)))

    def most(self) -> float:
        """The highest score that all of them together can give a token."""
        return sum(self.weights[scorer.name] * scorer.most for scorer in self)


def _name(scorer: Scorer) -> str:
    """What a scorer is called; an error when it is none."""
    if not all(hasattr(scorer, method) for method in ("name", "start", "score", "end", "advance")):
        raise ConfigError(f"{scorer!r} is no scorer: it takes the methods of toolkit.decoders.scorers.Scorer")
    return scorer.name
