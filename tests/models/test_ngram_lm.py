"""n-gram models as modules: the tables against walks in the automaton, the step protocol, saving and loading."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import ctc_loss

from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.errors import ConfigError, ModelError
from toolkit.models.kneser_ney import train_ngram
from toolkit.models.ngram import EOS
from toolkit.models.ngram_lm import NgramLM, WordNgram
from toolkit.models.ngram_tables import CompactTable, DenseTable
from toolkit.models.state import select

CPU = torch.device("cpu")


def texts(number=60, seed=0):
    rng = random.Random(seed)
    return ["".join(rng.choice("AABCC ") for _ in range(rng.randint(1, 12))).strip() or "A" for _ in range(number)]


def language_model(tokenizer, order, **options):
    lm, pieces = NgramLM(tokenizer, order, **options), tokenizer.pieces()
    lm.ngram = train_ngram(([pieces[t] for t in tokenizer.encode(text)] for text in texts()), order)
    return lm


@pytest.fixture(params=[(1, 512), (3, 512), (5, 512), (1, 0), (3, 0), (5, 0)], ids=str)
def lm(request, tokenizer):
    order, megabytes = request.param
    lm = language_model(tokenizer, order, table_megabytes=megabytes)
    assert isinstance(lm.table, DenseTable if megabytes else CompactTable)
    return lm


def test_tables_answer_as_the_automaton_does(lm):
    words = np.array([EOS, *map(lm.ngram.word_id, lm.vocabulary)])
    states, tokens = np.indices((lm.ngram.states, lm.vocab_size))
    logps, following = lm.ngram.score_many(states.ravel(), words[tokens.ravel()])
    rows = lm.table.log_probs(torch.arange(lm.ngram.states))
    torch.testing.assert_close(rows, torch.from_numpy(logps).float().view_as(rows), atol=1e-5, rtol=1e-5)
    found = lm.table.advance(torch.from_numpy(states.ravel()), torch.from_numpy(tokens.ravel()))
    assert found.tolist() == following.tolist()
    looked_up, found = lm.table.look_up(torch.from_numpy(states), torch.from_numpy(tokens))
    torch.testing.assert_close(looked_up, rows)
    assert found.ravel().tolist() == following.tolist()
    assert lm.table.log_probs(torch.zeros(0, dtype=torch.int64)).shape == (0, lm.vocab_size)
    assert all(buffer.is_meta for buffer in lm.to("meta").buffers())  # goes to the device of the search


def test_a_sentence_step_by_step_costs_what_the_model_says(lm, tokenizer):
    pieces = tokenizer.pieces()
    for text in texts(8, seed=1):
        tokens = tokenizer.encode(text)
        state, total = lm.start(1, CPU), 0.0
        for last, following in zip([0, *tokens], [*tokens, 0], strict=True):
            log_probs, state = lm.step(torch.tensor([last]), state)
            total += float(log_probs[0, following])
        assert total == pytest.approx(lm.ngram.sentence_log_prob([pieces[token] for token in tokens]), abs=1e-4)


def test_batches_steps_and_reordered_hypotheses_agree(lm):
    tokens = torch.tensor([[0, 3, 1, 2, 1], [0, 2, 2, 3, 1], [0, 1, 1, 1, 3]])
    expected, state, order = lm(tokens), lm.start(3, CPU), torch.arange(3)
    assert expected.shape == (3, 5, lm.vocab_size)
    for position in range(5):
        log_probs, state = lm.step(tokens[order, position], state)
        assert torch.equal(log_probs, expected[order, position])
        if position == 2:
            order = torch.tensor([2, 0, 1])
            state = select(state, order)


def test_a_search_adds_it_to_the_paths(lm):
    """log p_ctc by torch's loss, log p_lm by the automaton."""
    log_probs = (2 * torch.randn(1, 6, lm.vocab_size, generator=torch.Generator().manual_seed(3))).log_softmax(-1)
    search = CTCPrefixSearcher(beam_size=300, lm=lm, lm_weight=0.7, topk=5, beam_prune_logp=-math.inf)
    model = SimpleNamespace(ctc_log_probs=lambda encoded: encoded)
    for hypothesis in search(model, log_probs, torch.tensor([6]))[0]:
        target = torch.tensor(hypothesis.tokens).long()
        ctc = -ctc_loss(log_probs[0], target, torch.tensor(6), torch.tensor(len(target)), reduction="sum")
        words = [lm.vocabulary[token - 1] for token in hypothesis.tokens]
        assert hypothesis.score == pytest.approx(float(ctc) + 0.7 * lm.ngram.sentence_log_prob(words), abs=1e-3)


def test_a_state_dict_of_tensors_brings_the_model_back(tokenizer, tmp_path):
    lm, again = language_model(tokenizer, 4), NgramLM(tokenizer, 4)
    torch.save(lm.state_dict(), tmp_path / "model.ckpt")
    weights = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    again.load_state_dict(weights)
    tokens = torch.tensor([[0, 1, 2, 3, 1, 1, 2]])
    assert torch.equal(again(tokens), lm(tokens))
    assert again.ngram.words == lm.ngram.words


def test_a_word_model_brings_its_words():
    lm, again = WordNgram(2, prune=[0, 1]), WordNgram(2)
    lm.ngram = train_ngram([["ÉTÉ", "B"], ["B", "B"]], 2)
    again.load_state_dict(lm.state_dict())
    assert again.ngram.words[3:] == ["ÉTÉ", "B"]
    assert again.ngram.sentence_log_prob(["B"]) == lm.ngram.sentence_log_prob(["B"])


def test_a_model_of_other_tokens_is_refused(tokenizer):
    lm = NgramLM(tokenizer, 2)
    with pytest.raises(ModelError, match=r"does not know 2 of 4 tokens of the tokenizer \('B', 'C'\)"):
        lm.ngram = train_ngram([["A", "▁", "X"]], 2)


def test_the_order_of_a_models_words_does_not_matter(tokenizer):
    """As in an ARPA file that another tool made of the same pieces."""
    ours, theirs = NgramLM(tokenizer, 3), NgramLM(tokenizer, 3)
    pieces = tokenizer.pieces()
    sentences = [[pieces[token] for token in tokenizer.encode(text)] for text in texts()]
    ours.ngram = train_ngram(sentences, 3, vocabulary=pieces[1:])
    theirs.ngram = train_ngram(sentences, 3, vocabulary=pieces[:0:-1])
    tokens = torch.tensor([[0, 1, 2, 3, 1, 1, 2]])
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_what_is_not_trained_says_so(tokenizer):
    lm = NgramLM(tokenizer, 2)
    with pytest.raises(ModelError, match="NgramLM: not trained yet"):
        lm.step(torch.tensor([0]), lm.start(1, CPU))
    with pytest.raises(ModelError, match="not an n-gram model, or damaged"):
        lm.load_state_dict(lm.state_dict())
    with pytest.raises(ConfigError, match="table_megabytes must be at least 0"):
        NgramLM(tokenizer, 2, table_megabytes=-1)
    with pytest.raises(ConfigError, match="order must be a whole number of at least 1, got 0"):
        WordNgram(0)
