"""Fusion in tensors against compiled code, and against waiting for a GPU."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.decoders import ctc_fusion, ctc_fusion_tables, ctc_tensor, fusion
from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.decoders.ctc_frames import live_frames
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.errors import ModelError
from toolkit.models import ngram_tables
from toolkit.models.kneser_ney import train_ngram
from toolkit.models.ngram_lm import NgramLM

CHARACTERS = ["", "▁", *"abcdefg"]
PIECES = ["", "▁", "▁a", "b", "▁ba", "abc", "c", "▁de", "d", "e", "fgab", "▁g"]
SENTENCES = ["a bad cab", "bad dab ab a", "fgab de bee", "abc abc gab", "a bee fed dad", "de facade"]


def ngrams(pieces, *, lacks=()):
    """A word n-gram, and one over those of the pieces that stand in sentences, in the order of their letters."""
    words = train_ngram([sentence.split() for sentence in SENTENCES], 3)
    known = [piece for piece in pieces[1:] if piece not in lacks]
    spelled = [known[place:] + known[:place] for place in range(len(known))] + [known[::-1], known[::2]]
    return words, train_ngram(spelled, 4)


def options_of(name, pieces):
    words, tokens = ngrams(pieces, lacks=("d", "e"))
    return {
        "words": {"word_ngram": words},
        "unigrams": {"word_ngram": words, "unigrams": ["bad", "cab", "de"], "boundaries": False, "alpha": 1.1},
        "closed": {"word_ngram": words, "closed_vocabulary": True, "hotwords": ["gag"]},
        "tokens": {"token_ngram": tokens},
        "tokens and hotwords": {"token_ngram": tokens, "hotwords": ["bad cab", "a"], "boundaries": False},
        "all": {"word_ngram": words, "token_ngram": tokens, "hotwords": ["Bad Cab", "gag", "cab"], "beta": 0.3},
        "hotwords": {"hotwords": ["dab a", "dab", "ab"], "hotword_weight": 4.0},
    }[name]


NAMES = ("words", "unigrams", "closed", "tokens", "tokens and hotwords", "all", "hotwords")


class Recogniser(nn.Module):
    def ctc_log_probs(self, encoded):
        return encoded


def random_frames(*shape, seed, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).log_softmax(-1)


@pytest.mark.parametrize("pieces", [CHARACTERS, PIECES], ids=["characters", "pieces"])
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.5, 2.0, 4.0]),
    preset=st.sampled_from(["exact", "default", "pyctcdecode", "fast"]),
)
def test_both_back_ends_give_the_same_answer(pieces, name, seed, scale, preset):
    given_options = {"fusion": CTCFusion(tokenizer=pieces, **options_of(name, pieces)), "preset": preset}
    log_probs, frames = random_frames(4, 25, len(pieces), seed=seed, scale=scale), torch.tensor([25, 1, 0, 17])
    compiled, tensor = (
        CTCPrefixSearcher(backend=backend, topk=5, **given_options)(Recogniser(), log_probs, frames)
        for backend in ("compiled", "tensor")
    )
    for one, other in zip(compiled, tensor, strict=True):
        assert [best.score for best in one] == pytest.approx([best.score for best in other], abs=1e-4)
        for first, second in zip(one, other, strict=True):
            tied = sum(abs(best.score - first.score) < 1e-4 for best in one) > 1
            assert tied or first.tokens == second.tokens


def test_both_back_ends_give_the_same_answer_in_an_alphabet_of_more_than_64_letters():
    pieces = ["", "▁", *map(chr, range(0x4E00, 0x4E00 + 90))]
    draw = random.Random(0)
    sentences = [["".join(draw.choices(pieces[2:], k=2)) for _ in range(3)] for _ in range(400)]
    fusion = CTCFusion(tokenizer=pieces, word_ngram=train_ngram(sentences, 2))
    log_probs, frames = random_frames(3, 25, len(pieces), seed=4, scale=2.0), torch.tensor([25, 25, 25])
    compiled, tensor = (
        CTCPrefixSearcher(backend=backend, fusion=fusion)(Recogniser(), log_probs, frames)
        for backend in ("compiled", "tensor")
    )
    assert [best.tokens for (best,) in compiled] == [best.tokens for (best,) in tensor]
    assert all(len(best.tokens) > 5 for (best,) in compiled)


@pytest.mark.parametrize("backend", ["compiled", "tensor"])
@pytest.mark.parametrize("pieces", [CHARACTERS, PIECES], ids=["characters", "pieces"])
def test_an_n_gram_too_large_to_be_written_out_scores_the_same(pieces, backend, monkeypatch):
    log_probs, frames = random_frames(2, 20, len(pieces), seed=1), torch.tensor([20, 12])
    found = []
    for megabytes in (512, 0):
        for module in (ctc_fusion, ctc_fusion_tables):
            monkeypatch.setattr(module, "TABLE_MEGABYTES", megabytes)
        searcher = CTCPrefixSearcher(fusion=CTCFusion(tokenizer=pieces, **options_of("all", pieces)), backend=backend)
        found.append([best for (best,) in searcher(Recogniser(), log_probs, frames)])
    assert [best.tokens for best in found[0]] == [best.tokens for best in found[1]]
    assert [best.score for best in found[0]] == pytest.approx([best.score for best in found[1]], abs=1e-5)


@pytest.mark.parametrize("preset", ["default", "fast"])
@pytest.mark.parametrize("backend", ["compiled", "tensor"])
def test_chunks_give_the_answer_of_the_whole(backend, preset):
    log_probs = random_frames(30, len(CHARACTERS), seed=3)
    options = {"fusion": CTCFusion(tokenizer=CHARACTERS, **options_of("all", CHARACTERS)), "topk": 4}
    searcher = CTCPrefixSearcher(backend=backend, preset=preset, **options)
    stream = searcher.stream()
    for chunk in log_probs.split([7, 0, 11, 12]):
        stream.feed(chunk)
    whole = searcher(Recogniser(), log_probs[None], torch.tensor([30]))[0]
    assert [best.tokens for best in stream.finish()] == [best.tokens for best in whole]
    assert [best.score for best in stream.finish()] == pytest.approx([best.score for best in whole])


class NoWaiting(TorchDispatchMode):
    """Refuses what a GPU would have to be waited for: numbers that Python reads, and shapes that depend on values."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "repeat_interleave", "is_nonzero", "equal")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().removeprefix("aten::").split(".")[0].lstrip("_")
        assert not name.startswith(tuple(one.lstrip("_") for one in self.NAMES)), f"{name} waits"
        if name == "index":
            assert all(index is None or index.dtype != torch.bool for index in args[1]), "a mask waits"
        return function(*args, **(kwargs or {}))


class Tokenizer:
    def __init__(self, pieces):
        self.all = pieces

    def pieces(self):
        return self.all


@pytest.mark.parametrize("preset", ["exact", "default", "fast"])  # fast: of the tokens, only some are candidates
@pytest.mark.parametrize("length_bonus", [0.0, 0.4])
def test_an_n_gram_is_the_same_language_model_with_and_without_its_table(preset, length_bonus):
    log_probs, frames = random_frames(4, 25, len(PIECES), seed=7), torch.tensor([25, 1, 0, 17])
    found = []
    for megabytes in (512, 0):
        lm = NgramLM(Tokenizer(PIECES), 4, table_megabytes=megabytes)
        lm.ngram = ngrams(PIECES)[1]
        searcher = CTCPrefixSearcher(lm=lm, lm_weight=0.8, length_bonus=length_bonus, preset=preset, topk=6)
        found.append([best for utterance in searcher(Recogniser(), log_probs, frames) for best in utterance])
    assert [best.tokens for best in found[0]] == [best.tokens for best in found[1]]
    assert [best.score for best in found[0]] == pytest.approx([best.score for best in found[1]], abs=1e-4)
    assert len(found[0][0].tokens) > 5


def test_an_n_gram_of_another_vocabulary_is_refused():
    lm = NgramLM(Tokenizer(PIECES), 4)
    lm.ngram = ngrams(PIECES)[1]
    with pytest.raises(ModelError, match=f"NgramLM predicts {len(PIECES)} tokens, but the recogniser has 5"):
        CTCPrefixSearcher(lm=lm, lm_weight=0.5)(Recogniser(), random_frames(1, 3, 5, seed=0), torch.tensor([3]))


@pytest.mark.parametrize("name", [*NAMES, "nothing", "lm", "lm without table"])
def test_the_loop_over_frames_never_waits(name, monkeypatch):
    monkeypatch.setattr(ctc_fusion_tables, "TABLE_MEGABYTES", 0 if name == "all" else 512)
    options = {}
    if name.startswith("lm"):
        lm = NgramLM(Tokenizer(CHARACTERS), 3, table_megabytes=0 if name == "lm without table" else 512)
        lm.ngram = ngrams(CHARACTERS)[1]
        options = {"lm": lm, "lm_weight": 0.5}
    elif name != "nothing":
        options = {"fusion": CTCFusion(tokenizer=CHARACTERS, **options_of(name, CHARACTERS))}
    log_probs, frames = random_frames(3, 12, len(CHARACTERS), seed=2), torch.tensor([12, 5, 0])
    search = CTCPrefixSearcher(backend="tensor", **options)._tensor_search(log_probs)
    expected = CTCPrefixSearcher(**options)(Recogniser(), log_probs, frames)
    for module in (fusion, ngram_tables):  # as on a GPU
        monkeypatch.setattr(module, "waiting_costs", lambda _: True)
    live = live_frames(log_probs, frames, search.pruning)
    search._begin(live)
    monkeypatch.setattr(ctc_tensor, "live_frames", lambda *_: live)
    with torch.no_grad(), NoWaiting():
        search.feed(log_probs, frames)
    for (best,), (wanted,), count in zip(search.finish(1), expected, frames, strict=True):
        if count:
            assert best[0] == wanted.tokens
            assert best[1] == pytest.approx(wanted.score, abs=1e-4)
    assert math.isfinite(best[1])


def test_the_guard_against_waiting_works():
    for waits in (lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool(x[0] > 1), lambda x: x.nonzero()):
        with NoWaiting(), pytest.raises(AssertionError, match="waits"):
            waits(torch.ones(3))
