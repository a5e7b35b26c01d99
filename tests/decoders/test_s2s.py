"""Our searchers against SpeechBrain's, with the same modules, weights, options and scorers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import speechbrain.decoders as peers
import speechbrain.decoders.scorer as peer_scorers
import torch
from speechbrain.lobes.models.RNNLM import RNNLM
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.RNN import GRU, LSTM, AttentionalRNNDecoder
from torch import nn

from toolkit.decoders import language_scorers, s2s, scorers
from toolkit.decoders.ctc_prefix import CTCScorer
from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.errors import ConfigError, ModelError
from toolkit.models.speechbrain_decoders import as_step_module

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask and attn_mask")

V, SIZE, T = 20, 16, 30
OURS = SimpleNamespace(
    CTCScorer=CTCScorer,
    RNNLMScorer=language_scorers.RNNLMScorer,
    TransformerLMScorer=language_scorers.TransformerLMScorer,
    CoverageScorer=scorers.CoverageScorer,
    LengthScorer=scorers.LengthScorer,
    ScorerBuilder=ScorerBuilder,
)
OPTIONS = {
    "bos_index": 1,
    "eos_index": 2,
    "min_decode_ratio": 0.2,
    "max_decode_ratio": 1.0,
    "beam_size": 4,
    "topk": 2,
    "return_topk": True,
    "temperature": 1.25,
}


def sharpened(module, factor):
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter *= factor
    return module.eval()


def output(size, *, eos):
    """An output layer that likes to end, and never gives token 0: SpeechBrain's TransformerLM takes that as padding."""
    layer = sharpened(Linear(input_size=size, n_neurons=V), 4)
    with torch.no_grad():
        layer.w.bias[0], layer.w.bias[2] = -30.0, eos
    return layer


def transformer(**options):
    options = {"normalize_before": True, "activation": nn.GELU, "causal": False} | options
    return {"modules": [sharpened(TransformerASR(V, 8, SIZE, 2, 1, 2, 32, **options), 2), output(SIZE, eos=8.0)]}


def rnn(cell="gru", attention="location", layers=1):
    sizes = {"hidden_size": 10, "attn_dim": 12, "num_layers": layers, "enc_dim": SIZE, "input_size": 6}
    decoder = AttentionalRNNDecoder(cell, attention, **sizes, scaling=2.0, channels=4, kernel_size=5)
    return {"embedding": nn.Embedding(V, 6), "decoder": sharpened(decoder, 3), "linear": output(10, eos=10.0)}


def scorer_of(library, name):
    """A scorer with the same weights in both libraries."""
    torch.manual_seed(sum(map(ord, name)))
    if name == "ctc":
        return library.CTCScorer(sharpened(Linear(input_size=SIZE, n_neurons=V), 3), 0, 2)
    if name == "rnnlm":
        lm = RNNLM(V, 8, rnn_layers=2, rnn_neurons=12, dnn_neurons=10, return_hidden=True)
        return library.RNNLMScorer(sharpened(lm, 3), 1.1)
    if name == "transformerlm":
        return library.TransformerLMScorer(sharpened(TransformerLM(V, SIZE, 2, 2, 0, 32), 3), 1.1)
    return {"coverage": library.CoverageScorer, "length": library.LengthScorer}[name](V)


def searcher_of(library, parts, full=(), partial=(), **options):
    weights = {"ctc": 0.4, "rnnlm": 0.3, "transformerlm": 0.3, "coverage": 0.5, "length": 0.5}
    names = [*full, *partial]
    builder = (OURS if library is s2s else peer_scorers).ScorerBuilder(
        {name: weights[name] for name in names},
        *([scorer_of(OURS if library is s2s else peer_scorers, name) for name in some] for some in (full, partial)),
    )
    name = "S2STransformerBeamSearcher" if "modules" in parts else "S2SRNNBeamSearcher"
    return getattr(library, name)(**parts, scorer=builder if names else None, **OPTIONS | options).eval()


def read(result):
    """[(tokens, score, log-probabilities), ...] of each utterance."""
    hyps, lengths, scores, log_probs = result
    counts = (lengths * hyps.shape[-1]).round().long().tolist()
    utterances = zip(hyps.tolist(), counts, scores.tolist(), log_probs.tolist(), strict=True)
    return [
        [(row[:count], score, probs[: count + 1]) for row, count, score, probs in zip(*utterance, strict=True)]
        for utterance in utterances
    ]


CASES = [
    (transformer, (), (), {}),
    (transformer, (), (), {"using_eos_threshold": False, "length_normalization": False, "beam_size": 1, "topk": 1}),
    (lambda: transformer(normalize_before=False, activation=nn.ReLU), ("coverage",), (), {}),
    (lambda: transformer(attention_type="RelPosMHAXL"), ("ctc",), (), {}),
    (transformer, ("transformerlm",), ("ctc",), {}),
    (rnn, (), (), {}),
    (rnn, ("ctc",), (), {}),
    (rnn, ("rnnlm",), ("ctc",), {}),
    (rnn, ("coverage", "transformerlm"), (), {}),
    (rnn, ("length",), (), {"length_normalization": False}),
    (transformer, (), (), {"length_normalization": False}),
    (transformer, (), (), {"eos_threshold": 1.1}),
    (rnn, (), (), {"using_max_attn_shift": True, "max_attn_shift": 15}),
    (lambda: rnn("lstm", "content", 2), (), (), {}),
    (lambda: rnn("gru", "keyvalue"), (), (), {}),
]


@pytest.mark.parametrize(("model", "full", "partial", "options"), CASES)
@torch.no_grad()
def test_same_hypotheses_and_scores(model, full, partial, options):
    compared, changed = 0, False
    for seed in range(3):
        torch.manual_seed(seed)
        parts, encoded, frames = model(), torch.randn(3, T, SIZE), torch.tensor([T, 20, 25])
        found = read(searcher_of(s2s, parts, full, partial, **options)(encoded, frames / T))
        changed |= found != read(searcher_of(s2s, parts)(encoded, frames / T))
        for row, count in enumerate(frames.tolist()):  # one by one: SpeechBrain's limits are those of the longest
            peer = searcher_of(peers, parts, full, partial, **options)
            expected = read(peer(encoded[row : row + 1, :count], torch.ones(1)))[0]
            if any(len(tokens) >= count - 1 for tokens, _, _ in expected):
                continue  # at the limit, SpeechBrain's are not hypotheses that ended: see below
            compared += 1
            assert [tokens for tokens, _, _ in found[row]] == [tokens for tokens, _, _ in expected]
            for ours, theirs in zip(found[row], expected, strict=True):
                assert ours[1] == pytest.approx(theirs[1], abs=1e-4)
                assert ours[2] == pytest.approx(theirs[2], abs=1e-3)
    assert compared >= 6
    assert changed == bool(full or partial or options)  # an option that changes nothing would not be tested


@torch.no_grad()
def test_the_best_hypothesis_is_a_list_of_tokens():
    torch.manual_seed(0)
    parts, encoded = rnn(), torch.randn(2, T, SIZE)
    ours, peer = (searcher_of(library, parts, return_topk=False)(encoded, torch.ones(2)) for library in (s2s, peers))
    assert ours[0] == peer[0]
    for mine, theirs in zip(ours[1:], peer[1:], strict=True):
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("name", "model"), [("S2SRNN", rnn), ("S2STransformer", transformer)])
def test_greedy_search_finds_the_same(name, model):
    torch.manual_seed(3)
    parts, encoded, lengths = model(), torch.randn(3, T, SIZE), torch.ones(3)
    if name == "S2STransformer":
        parts["modules"][1].w.bias[2] = 1.0  # else it ends at once
    limits = {"bos_index": 1, "eos_index": 2, "min_decode_ratio": 0.0, "max_decode_ratio": 0.5}
    searchers = [getattr(library, f"{name}GreedySearcher") for library in (s2s, peers)]
    ours, theirs = (searcher(**parts, **limits)(encoded, lengths) for searcher in searchers)
    assert ours[0] == [list(tokens) for tokens in theirs[0]]
    assert len({tuple(tokens) for tokens in ours[0] if tokens}) > 1
    for row, tokens in enumerate(ours[0]):  # theirs are a score for each token
        scores = theirs[2][row, 0, : len(tokens)]
        torch.testing.assert_close(ours[3][row, : len(tokens)], scores, atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="temperature must be 0 in a greedy search"):
        searchers[0](**parts, **limits, temperature=0.5)


def test_the_searchers_of_speechbrains_tutorial_keep_their_parameters():
    """Those of its notebook for SpeechBrain 0.5, but for a smaller beam."""
    torch.manual_seed(0)
    lm = RNNLM(V, 8, rnn_layers=2, rnn_neurons=12, dnn_neurons=10, return_hidden=True).eval()
    weights = {"coverage_penalty": 1.5, "lm_weight": 0.5, "ctc_weight": 0.0}
    temperatures = {"temperature": 1.25, "temperature_lm": 1.25}
    limits = {"min_decode_ratio": 0.0, "max_decode_ratio": 1.0, "using_max_attn_shift": True, "max_attn_shift": 240}
    indices = {"bos_index": 0, "eos_index": 0, "blank_index": 0}
    options = {"beam_size": 8, "eos_threshold": 1.5, **weights, **temperatures, **limits, **indices}
    parts, ctc, encoded = rnn(), Linear(input_size=SIZE, n_neurons=V), torch.randn(2, T, SIZE)
    with torch.no_grad():
        parts["linear"].w.bias[0] = 6.0
    search = s2s.S2SRNNBeamSearchLM(**parts, ctc_linear=ctc, language_model=lm, **options)
    hyps, _, scores, _ = search(encoded, torch.ones(2))
    options |= {"ctc_weight": 0.3}
    with_ctc = s2s.S2SRNNBeamSearchLM(**parts, ctc_linear=ctc, language_model=lm, **options)(encoded, torch.ones(2))
    assert all(0 not in tokens for tokens in hyps)
    assert torch.isfinite(scores).all()
    assert not torch.equal(scores, with_ctc[2])


@torch.no_grad()
def test_at_the_limit_a_hypothesis_ends_and_pays_for_it():
    """SpeechBrain scores it without eos, as the mean of all its tokens, and then takes the last one for eos."""
    torch.manual_seed(0)
    parts, encoded = rnn(), torch.randn(1, T, SIZE)
    parts["linear"].w.bias.data[2] = -5.0
    limited = {"min_decode_ratio": 0.0, "max_decode_ratio": 0.2, "topk": 1}
    tokens, score, log_probs = read(searcher_of(peers, parts, **limited)(encoded, torch.ones(1)))[0][0]
    assert len(tokens) == 5  # of six steps, none of which was eos
    assert score == pytest.approx(sum(log_probs) / 6, abs=1e-5)
    ours, our_score, our_log_probs = read(searcher_of(s2s, parts, **limited)(encoded, torch.ones(1)))[0][0]
    assert ours[:5] == tokens
    assert len(ours) == 6
    assert our_score == pytest.approx(sum(our_log_probs) / 7, abs=1e-5)


@torch.no_grad()
def test_the_limits_are_those_of_the_utterance():
    """SpeechBrain takes them from the padded length: the same audio beside a longer one must have more tokens."""
    torch.manual_seed(0)
    parts, encoded, lengths = rnn(), torch.randn(2, T, SIZE), torch.tensor([1.0, 1 / 3])
    parts["linear"].w.bias.data[2] = 20.0
    for library, as_alone in ((peers, False), (s2s, True)):
        searcher = searcher_of(library, parts, using_eos_threshold=False)
        together, alone = searcher(encoded, lengths), searcher(encoded[1:, : T // 3], torch.ones(1))
        assert (len(read(together)[1][0][0]) == len(read(alone)[0][0][0])) == as_alone


@torch.no_grad()
def test_half_precision_finds_the_same():
    torch.manual_seed(0)
    parts, encoded = transformer(), torch.randn(2, T, SIZE)
    exact = searcher_of(s2s, parts)(encoded, torch.ones(2))
    for module in parts["modules"]:
        module.bfloat16()
    half = searcher_of(s2s, parts)(encoded.bfloat16(), torch.ones(2))
    assert half[2].dtype == torch.float32
    torch.testing.assert_close(half[2], exact[2], atol=0.1, rtol=0)


@pytest.mark.parametrize("cell", [GRU, LSTM])
@torch.no_grad()
def test_recurrent_language_models_of_speechbrain_step_by_step(cell):
    torch.manual_seed(0)
    lm = sharpened(RNNLM(V, 8, rnn_class=cell, rnn_layers=2, rnn_neurons=12, return_hidden=True), 2)
    tokens = torch.tensor([[1, 5, 7, 3], [1, 9, 9, 2]])
    module = as_step_module(lm)
    state = module.start(2, torch.device("cpu"))
    for position, expected in enumerate(lm(tokens)[0].log_softmax(-1).unbind(dim=1)):
        log_probs, state = module.step(tokens[:, position], state)
        torch.testing.assert_close(log_probs, expected, atol=1e-5, rtol=1e-5)


def test_what_has_another_vocabulary_is_refused_at_once():
    lm = RNNLM(V + 1, 8, rnn_neurons=12, dnn_neurons=10, return_hidden=True)
    for parts in (rnn(), rnn(attention="keyvalue"), transformer()):
        searcher = s2s.S2SRNNBeamSearchLM if "embedding" in parts else s2s.S2STransformerBeamSearcher
        with pytest.raises(ModelError, match="SpeechBrainRNNLM predicts 21 tokens, but the recogniser has 20"):
            searcher(**parts, bos_index=1, eos_index=2, language_model=lm, lm_weight=0.5)
        with pytest.raises(ModelError, match="the decoder predicts 20 tokens, but CTC 19"):
            searcher(**parts, ctc_linear=Linear(input_size=SIZE, n_neurons=V - 1), ctc_weight=0.3)
        searcher(**parts, language_model=lm)  # without a weight


def test_a_searcher_leaves_modules_and_random_numbers_as_they_were():
    parts = transformer()
    for module in parts["modules"]:
        module.train()
    before = torch.get_rng_state()
    assert s2s.S2STransformerBeamSearcher(**parts).decoder.model.decoder.training
    assert torch.equal(torch.get_rng_state(), before)


def test_models_that_cannot_be_stepped_are_refused():
    with pytest.raises(ModelError, match="TransformerLM of encoder layers"):
        as_step_module(TransformerLM(V, SIZE, 2, 1, 1, 32))
    with pytest.raises(ModelError, match="has no decoder layers"):
        s2s.S2STransformerBeamSearcher([TransformerASR(V, 8, SIZE, 2, 1, 0, 32, causal=False), nn.Identity()])
