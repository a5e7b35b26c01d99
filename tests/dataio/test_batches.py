"""A batch has SpeechBrain's fields, as SpeechBrain's own PaddedBatch has them, and comes back from one."""

from __future__ import annotations

import pytest
import torch
from speechbrain.dataio.batch import PaddedBatch

from toolkit.dataio.batches import Batch, PaddedData, TextBatch, pad_tokens, pad_wavs
from toolkit.errors import DataError

TOKENS = [[3, 1, 4], [1], [5, 9]]
SIZES = (70, 100, 35)


def padded_batch(**others: object) -> PaddedBatch:
    """As a recipe of SpeechBrain makes it, but for what is said otherwise; without what is None."""
    examples = []
    for number, (tokens, size) in enumerate(zip(TOKENS, SIZES, strict=True)):
        example = {
            "id": f"u{number}",
            "sig": torch.arange(1.0, size + 1) / size,
            "words": f"WORDS {number}",
            "tokens_bos": torch.tensor([0, *tokens]),
            "tokens_eos": torch.tensor([*tokens, 0]),
            "tokens": torch.tensor(tokens),
        }
        example |= {name: make(number) if callable(make) else make for name, make in others.items()}
        examples.append({name: value for name, value in example.items() if value is not None})
    return PaddedBatch(examples)


def our_batch() -> Batch:
    wavs, samples = pad_wavs([torch.arange(1.0, size + 1) / size for size in SIZES])
    names = [f"u{number}" for number in range(3)]
    return Batch([f"WORDS {number}" for number in range(3)], *pad_tokens(TOKENS), names, wavs, samples)


@pytest.mark.parametrize("name", ["sig", "tokens", "tokens_bos", "tokens_eos"])
def test_fields_are_those_of_speechbrain(name: str):
    data, lengths = getattr(our_batch(), name)
    expected = getattr(padded_batch(), name)
    torch.testing.assert_close(data, expected.data, rtol=0, atol=0)
    torch.testing.assert_close(lengths, expected.lengths, rtol=0, atol=0)


def test_sentences_have_them_too():
    batch = TextBatch(["A", "B", "C"], *pad_tokens(TOKENS))
    for name in ("tokens", "tokens_bos", "tokens_eos"):
        torch.testing.assert_close(getattr(batch, name).data, getattr(padded_batch(), name).data, rtol=0, atol=0)
    assert TextBatch([""], *pad_tokens([[]])).tokens.lengths.tolist() == [0.0]


def test_a_padded_batch_becomes_ours():
    ours, theirs = our_batch(), Batch.of(padded_batch())
    assert (ours.id, ours.words, len(theirs)) == (theirs.id, theirs.words, 3)
    for name in ("wavs", "samples", "token_ids", "token_counts"):
        torch.testing.assert_close(getattr(theirs, name), getattr(ours, name), rtol=0, atol=0)
    text = TextBatch.of(padded_batch(sig=None, id=None))
    assert (text.words, text.token_ids.tolist()) == (ours.words, ours.token_ids.tolist())


def test_padding_of_another_value_becomes_zeros():
    batch = padded_batch()
    batch.tokens.data[1, 1:] = -100
    batch.sig.data[2, 35:] = torch.nan
    batch = Batch.of(batch)
    assert batch.token_ids[1].tolist() == [1, 0, 0]
    assert not batch.wavs[2, 35:].any()


@pytest.mark.parametrize(("longest", "rows"), [(1, 2), (7, 8), (159_999, 50), (8_000_000, 2)])
def test_whole_number_lengths_are_exact(longest: int, rows: int):
    counts = torch.linspace(longest / rows, longest, rows).round().long().tolist()
    batch = padded_batch()
    batch.sig = PaddedData(torch.zeros(rows, longest), torch.tensor([count / longest for count in counts]))
    assert Batch.of(batch).samples.tolist() == counts


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"tokens": None}, "a PaddedBatch without tokens: .* output_keys"),
        ({"sig": None, "words": None}, "without sig and words: the Brain needs id, sig, words, tokens"),
        ({"tokens": lambda number: TOKENS[number]}, "tokens of a PaddedBatch: expected a tensor .* not list"),
        ({"sig": torch.zeros(7, 2)}, r"sig of a PaddedBatch: expected .* not shape \(3, 7, 2\)"),
    ],
)
def test_a_batch_that_cannot_be_trained_on_is_refused(others: dict[str, object], message: str):
    with pytest.raises(DataError, match=message):
        Batch.of(padded_batch(**others))
