"""Training, validation and test sets of corpora that come without: each has speakers, or sources, of its own."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping

from toolkit.dataio.prepare import Utterance
from toolkit.errors import DataError

# Of the seconds of a corpus; the rest is train.
SHARES = {"test": 0.1, "valid": 0.1}


def split_by(
    field: str, utterances: Mapping[str, Utterance], shares: Mapping[str, float] = SHARES
) -> dict[str, dict[str, Utterance]]:
    """``train`` and a split for each of ``shares``: no two have an utterance with the same ``field`` (``speaker``).

    Speakers are taken in the order of their names' SHA-256, which is nobody's choice and the same everywhere: into the
    first split until it has its share of the seconds, then into the next. No split is left without.

    Raises
    ------
    DataError
        There are fewer speakers than splits.
    """
    groups: dict[str, dict[str, Utterance]] = defaultdict(dict)
    for name, utterance in utterances.items():
        groups[utterance[field]][name] = utterance
    if len(groups) <= len(shares):
        named = f"{len(groups)} {field}s ({', '.join(sorted(groups)) or 'none'})"
        raise DataError(f"train, {', '.join(shares)} cannot be made of {named}: each needs a {field} of its own")
    waiting = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).digest(), reverse=True)
    total = _seconds(utterances)
    splits: dict[str, dict[str, Utterance]] = {"train": {}}
    for empty, (split, share) in zip(range(len(shares), 0, -1), shares.items(), strict=True):
        splits[split] = {}
        while len(waiting) > empty and _seconds(splits[split]) < share * total:
            splits[split] |= groups[waiting.pop()]
    for group in reversed(waiting):
        splits["train"] |= groups[group]
    return splits


def _seconds(utterances: Mapping[str, Utterance]) -> float:
    return sum(one["length"] for one in utterances.values())
