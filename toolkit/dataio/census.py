"""What a normaliser did to the characters of a corpus, counted."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

# Rows of each part of a report, and how much of a text is shown around the character that it is an example of.
ROWS = 40
CONTEXT = 16

DIGITS = "0-9"


class Census:
    """Characters that were changed, and those that cost texts, with the first text of each.

    Attributes
    ----------
    texts, left_out : int
        How many texts there were, and how many of them were left out.
    changed : Counter of (str, str)
        How often a character became another, or nothing.
    foreign : Counter of str
        In how many texts that were left out it was.
    """

    def __init__(self) -> None:
        self.texts = self.left_out = 0
        self.changed: Counter[tuple[str, str]] = Counter()
        self.foreign: Counter[str] = Counter()
        self._examples: dict[object, str] = {}

    def keep(self, text: str, changes: Iterable[tuple[str, str]]) -> None:
        """Count a text and what was changed in it."""
        self.texts += 1
        for old, new in changes:
            change = (DIGITS, "words") if old.isdecimal() else (old, new)
            self.changed[change] += 1
            if change not in self._examples:
                self._examples[change] = _around(old, text)

    def leave_out(self, text: str, foreign: Iterable[str]) -> None:
        """Count a text that is left out because of characters in it."""
        self.texts += 1
        self.left_out += 1
        for sign in {DIGITS if sign.isnumeric() else sign: sign for sign in foreign}.items():
            self.foreign[sign[0]] += 1
            self._examples.setdefault(sign[0], _around(sign[1], text))

    def report(self) -> str:
        """How many texts were left out and because of which characters, and which were replaced and removed."""
        replaced = {change: count for change, count in self.changed.items() if change[1]}
        removed = {change: count for change, count in self.changed.items() if not change[1]}
        lines = [f"{self.texts:,} texts, {self.left_out:,} of them left out"]
        lines += self._part("left out for", self.foreign)
        lines += self._part("replaced", replaced)
        lines += self._part("removed", removed)
        return "\n".join(lines)

    def _part(self, title: str, counts: Mapping[object, int]) -> list[str]:
        if not counts:
            return []
        rows = sorted(counts.items(), key=lambda item: -item[1])
        lines = [f"  {count:>9,}  {_named(what)}: {self._examples[what]}" for what, count in rows[:ROWS]]
        return [f"{title}:", *lines, *([f"  ... and {len(rows) - ROWS} more"] if len(rows) > ROWS else [])]


def _named(what: str | tuple[str, str]) -> str:
    """``α (U+03B1 GREEK SMALL LETTER ALPHA)``, with ``-> a`` where it was replaced."""
    old, new = (what, "") if isinstance(what, str) else what
    names = ", ".join(f"U+{ord(one):04X} {unicodedata.name(one, 'without a name')}" for one in old)
    shown = old if old.isprintable() and not unicodedata.combining(old[0]) else "\N{DOTTED CIRCLE}" * old.isprintable()
    return (old if old == DIGITS else f"{shown} ({names})".strip()) + (f" -> {new}" if new else "")


def _around(sign: str, text: str) -> str:
    """The part of a text where a character stands, on one line."""
    place = max(text.find(sign), 0)
    part = text[max(place - CONTEXT, 0) : place + CONTEXT]
    return " ".join(part.split())
