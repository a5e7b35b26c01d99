"""The file ``wer_<test>.txt``: totals, the worst utterances, the most frequent confusions, aligned utterances.

It begins like this (the figures are invented):

    %WER 5.04 [ 39 / 773, 3 ins, 9 del, 27 sub ]
    %SER 16.92 [ 22 / 130 ]
    %CER 2.11 [ 71 / 3372, 20 ins, 25 del, 26 sub ]
    Scored 130 utterances. 95 % confidence interval of the WER: 3.20 to 7.04 (bootstrap over utterances)
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import DataError
from toolkit.files import replacing
from toolkit.metrics.alignment import DELETION, HIT, INSERTION, SUBSTITUTION, Edit, align
from toolkit.metrics.error_rate import ErrorRate, ErrorRateTracker, ScoredUtterance

RULE = "=" * 80
NOTHING = "<eps>"
SEPARATOR = " ; "
LISTED = 20  # the worst utterances, and the confusions of each kind
EXAMPLE = [
    Edit(INSERTION, None, "and"),
    Edit(SUBSTITUTION, "reference", "hypothesis"),
    Edit(HIT, "on", "on"),
    Edit(HIT, "the", "the"),
    Edit(SUBSTITUTION, "first", "third"),
    Edit(DELETION, "line", None),
]


def write_report(tracker: ErrorRateTracker, file: str | Path) -> None:
    """Write the report of a test; the file is complete or absent.

    Raises
    ------
    DataError
        No utterance was scored: a WER of 0 would say something else.
    """
    file = Path(file)
    if not tracker.utterances:
        raise DataError(f"{file}: no utterance was scored, so there is no error rate to report; is the test set empty?")
    with replacing(file) as unfinished, unfinished.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in report_lines(tracker))


def report_lines(tracker: ErrorRateTracker) -> Iterator[str]:
    """The lines of the report."""
    yield from totals(tracker)
    yield from _worst_utterances(tracker)
    yield from _confusions(tracker)
    yield from (RULE, "ALIGNMENTS", "", "Format:", "<utterance-id>, WER DETAILS", *_columns(EXAMPLE))
    for utterance in tracker.utterances.values():
        yield from (RULE, f"{utterance.id}, {_counts('WER', utterance.words)}")
        yield from _columns(align(utterance.reference.split(), utterance.hypothesis.split()))


def _counts(name: str, rate: ErrorRate) -> str:
    """Counts as Kaldi prints them: ``%WER 5.04 [ 39 / 773, 3 ins, 9 del, 27 sub ]``."""
    return (
        f"%{name} {rate.rate:.2f} [ {rate.errors} / {rate.reference_length}, "
        f"{rate.insertions} ins, {rate.deletions} del, {rate.substitutions} sub ]"
    )


def totals(tracker: ErrorRateTracker) -> Iterator[str]:
    """The error rates of the whole test set."""
    interval = tracker.wer_interval()
    total = len(tracker.utterances)
    yield _counts("WER", tracker.words)
    yield f"%SER {tracker.ser:.2f} [ {tracker.wrong_sentences} / {total} ]"
    yield _counts("CER", tracker.characters)
    yield f"Scored {total} utterances. " + (
        f"95 % confidence interval of the WER: {interval[0]:.2f} to {interval[1]:.2f} (bootstrap over utterances)"
        if interval
        else "They are too few for a confidence interval."
    )


def _worst_utterances(tracker: ErrorRateTracker) -> Iterator[str]:
    """The utterances of the highest WER; of equal ones, those with more errors come first."""

    def badness(utterance: ScoredUtterance) -> tuple[float, int]:
        return utterance.words.rate, utterance.words.errors

    wrong = (utterance for utterance in tracker.utterances.values() if utterance.words.errors)
    yield from (RULE, "UTTERANCES WITH HIGHEST WER")
    for utterance in heapq.nlargest(LISTED, wrong, key=badness):
        note = "" if utterance.hypothesis.split() else "  (nothing recognised)"
        yield f"{utterance.id} {_counts('WER', utterance.words)}{note}"


def _confusions(tracker: ErrorRateTracker) -> Iterator[str]:
    """The most frequent substitutions, insertions and deletions; of equally frequent ones, in alphabetical order."""
    yield from (RULE, "MOST FREQUENT CONFUSIONS")
    for title, op in (("Substitutions", SUBSTITUTION), ("Insertions", INSERTION), ("Deletions", DELETION)):
        counted = [(-count, edit) for edit, count in tracker.confusions.items() if edit.op == op]
        yield f"{title}: {-sum(count for count, _ in counted)}, of {len(counted)} kinds"
        for count, edit in heapq.nsmallest(LISTED, counted, key=lambda pair: (pair[0], _words(pair[1]))):
            yield f"{-count:6d}  {' -> '.join(_words(edit))}"


def _words(edit: Edit) -> list[str]:
    """The words of an edit, reference first."""
    return [word for word in (edit.ref, edit.hyp) if word is not None]


def _columns(edits: list[Edit]) -> tuple[str, str, str]:
    """The reference, the operations and the hypothesis, each in columns of equal width."""
    columns = [(edit.ref or NOTHING, edit.op, edit.hyp or NOTHING) for edit in edits]
    widths = [max(map(len, column)) for column in columns]
    reference, operations, hypothesis = (
        SEPARATOR.join(column[row].center(width) for column, width in zip(columns, widths, strict=True))
        for row in range(3)
    )
    return reference, operations, hypothesis
