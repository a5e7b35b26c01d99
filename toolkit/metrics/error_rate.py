"""Word, character and sentence error rates as counts that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from toolkit.metrics.alignment import DELETION, HIT, INSERTION, SUBSTITUTION, Edit, align, edit_ops
from toolkit.metrics.bootstrap import RESAMPLES, Interval, interval


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """The counts of an alignment, or of many: ``sum(rates, ErrorRate())`` is the corpus'."""

    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    reference_length: int = 0
    hits: int = 0

    def __add__(self, other: ErrorRate) -> ErrorRate:
        return ErrorRate(
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.reference_length + other.reference_length,
            self.hits + other.hits,
        )

    @property
    def errors(self) -> int:
        """Substitutions, insertions and deletions."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Errors per reference token, in percent; can exceed 100.

        An empty reference counts as if it held one token, as in jiwer: 0 for an empty hypothesis, 100 for each token
        inserted otherwise. Only the rate pretends so; in a sum the insertions are shared by the whole corpus.
        """
        return 100.0 * self.errors / max(self.reference_length, 1)


def word_errors(reference: str, hypothesis: str) -> ErrorRate:
    """The errors of a text in words; white space separates words and is never an error itself."""
    return count_errors(edit_ops(reference.split(), hypothesis.split()))


def character_errors(reference: str, hypothesis: str) -> ErrorRate:
    """The errors of a text in characters; each space between two words is a character, runs of them are one."""
    return count_errors(edit_ops(" ".join(reference.split()), " ".join(hypothesis.split())))


def count_errors(ops: str) -> ErrorRate:
    """The counts of an alignment's operations."""
    return ErrorRate(
        substitutions=ops.count(SUBSTITUTION),
        insertions=ops.count(INSERTION),
        deletions=ops.count(DELETION),
        reference_length=len(ops) - ops.count(INSERTION),
        hits=ops.count(HIT),
    )


@dataclass(frozen=True, slots=True)
class ScoredUtterance:
    """One utterance with its errors in words."""

    id: str
    reference: str
    hypothesis: str
    words: ErrorRate


class ErrorRateTracker:
    """What recognising a test set gave: word, character and sentence errors, and which words were confused.

    Attributes
    ----------
    utterances : dict of str to ScoredUtterance
        By id, in the order in which they were added.
    words, characters : ErrorRate
        The totals.
    wrong_sentences : int
        Utterances with at least one word error.
    confusions : Counter of Edit
        How often each word was taken for another, inserted or deleted.
    """

    def __init__(self):
        self.utterances: dict[str, ScoredUtterance] = {}
        self.words = ErrorRate()
        self.characters = ErrorRate()
        self.wrong_sentences = 0
        self.confusions: Counter[Edit] = Counter()

    def add(self, utterance_id: str, reference: str, hypothesis: str) -> None:
        """Score one utterance.

        Raises
        ------
        ValueError
            The utterance was scored before: it would count twice.
        """
        if utterance_id in self.utterances:
            raise ValueError(f"utterance {utterance_id!r} is scored a second time")
        edits = align(reference.split(), hypothesis.split())
        words = count_errors("".join(edit.op for edit in edits))
        self.utterances[utterance_id] = ScoredUtterance(utterance_id, reference, hypothesis, words)
        self.words += words
        self.characters += character_errors(reference, hypothesis)
        self.wrong_sentences += words.errors > 0
        self.confusions.update(edit for edit in edits if edit.op != HIT)

    @property
    def wer(self) -> float:
        """Word error rate in percent."""
        return self.words.rate

    @property
    def cer(self) -> float:
        """Character error rate in percent."""
        return self.characters.rate

    @property
    def ser(self) -> float:
        """Sentence error rate: utterances with at least one word error, in percent; 0 when there is none."""
        return 100.0 * self.wrong_sentences / max(len(self.utterances), 1)

    def wer_interval(self, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
        """The 95 % confidence interval of the WER in percent, from resampling utterances; None for fewer than ten."""
        counts = [utterance.words for utterance in self.utterances.values()]
        return interval(counts, resamples=resamples, seed=seed)
