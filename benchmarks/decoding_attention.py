"""Label-synchronous search beside SpeechBrain's searchers: the same modules, weights and options on both sides.

Weights are random, so the number of steps is set: eos is forbidden before it (min_decode_ratio) and certain after.
The peer computes 12 encoder layers nowhere: both search in the same encoder output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import speechbrain.decoders as peers
import torch
from side_by_side import Row, compare
from speechbrain.decoders.scorer import CTCScorer as PeerCTCScorer
from speechbrain.decoders.scorer import RNNLMScorer as PeerRNNLMScorer
from speechbrain.decoders.scorer import ScorerBuilder as PeerScorerBuilder
from speechbrain.decoders.scorer import TransformerLMScorer as PeerTransformerLMScorer
from speechbrain.lobes.models.RNNLM import RNNLM
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.RNN import AttentionalRNNDecoder
from torch import Tensor, nn

from toolkit.decoders.ctc_prefix import CTCScorer
from toolkit.decoders.language_scorers import RNNLMScorer, TransformerLMScorer
from toolkit.decoders.s2s import S2SRNNBeamSearcher, S2STransformerBeamSearcher
from toolkit.decoders.scorer_builder import ScorerBuilder

BATCH, FRAMES, BEAM = 4, 150, 10
OURS = {"ctc": CTCScorer, "rnnlm": RNNLMScorer, "transformerlm": TransformerLMScorer, "builder": ScorerBuilder}
PEERS = {
    "ctc": PeerCTCScorer,
    "rnnlm": PeerRNNLMScorer,
    "transformerlm": PeerTransformerLMScorer,
    "builder": PeerScorerBuilder,
}


def rows(quick: bool) -> Iterator[Row]:
    """The Transformer's rows, then the GRU's."""
    yield from transformer_rows(quick)
    yield from gru_rows(quick)


def transformer_rows(quick: bool) -> Iterator[Row]:
    """6 decoder layers, d 256, 5000 tokens (SpeechBrain's LibriSpeech recipe but for d)."""
    bench = Bench("S2STransformerBeamSearcher", S2STransformerBeamSearcher, peers.S2STransformerBeamSearcher)
    V, size = 5000, 256
    model = TransformerASR(V, 80, size, 4, 12, 6, 2048, causal=False, normalize_before=True, activation=nn.GELU)
    bench.parts = {"modules": [model, bench.output(size, V)]}
    bench.models = {"ctc": Linear(input_size=size, n_neurons=V), "transformerlm": TransformerLM(V, size, 4, 6, 0, 1024)}
    bench.encoded = torch.randn(BATCH, FRAMES, size)
    name = f"Transformer 12+6 layers, d {size}, beam {BEAM}, batch {BATCH} x {FRAMES} frames"
    for steps, goal in ((30, 15), (60, 20), (120, 30)):
        if steps == 30 or not quick:
            yield bench.row(f"{name}, {steps} steps", steps=steps, goal=goal)
    if quick:
        return
    yield bench.row(f"{name}, 60 steps + partial CTC", steps=60, goal=12, partial={"ctc": 0.4})
    yield bench.row(f"{name}, 60 steps + full CTC", steps=60, goal=12, full={"ctc": 0.4})
    lm = {"transformerlm": 0.3}
    yield bench.row(f"{name}, 60 steps + TransformerLM", steps=60, goal=12, full=lm)
    yield bench.row(f"{name}, 60 steps + CTC + TransformerLM", steps=60, goal=12, full=lm, partial={"ctc": 0.4})


def gru_rows(quick: bool) -> Iterator[Row]:
    """GRU of 512 cells with location-aware attention, 1000 tokens; RNNLM of 2 x 2048 cells, as published."""
    bench = Bench("S2SRNNBeamSearcher", S2SRNNBeamSearcher, peers.S2SRNNBeamSearcher)
    V, size = 1000, 512
    decoder = AttentionalRNNDecoder(
        "gru", "location", size, size, 1, enc_dim=size, input_size=128, channels=10, kernel_size=100
    )
    bench.parts = {"embedding": nn.Embedding(V, 128), "decoder": decoder, "linear": bench.output(size, V)}
    lm = RNNLM(V, embedding_dim=128, rnn_layers=2, rnn_neurons=2048, dnn_neurons=512, return_hidden=True)
    bench.models = {"ctc": Linear(input_size=size, n_neurons=V), "rnnlm": lm}
    bench.encoded = torch.randn(BATCH, FRAMES, size)
    name = f"GRU {size}, location-aware, beam {BEAM}, batch {BATCH} x {FRAMES} frames, 60 steps"
    yield bench.row(name, steps=60, goal=3)
    if quick:
        return
    yield bench.row(f"{name} + partial CTC", steps=60, goal=3, partial={"ctc": 0.4})
    yield bench.row(f"{name} + full CTC", steps=60, goal=10, full={"ctc": 0.4})
    yield bench.row(f"{name} + RNNLM", steps=60, goal=2, full={"rnnlm": 0.3})


class Bench:
    """One model on both sides."""

    def __init__(self, peer_name: str, ours: Callable[..., nn.Module], peer: Callable[..., nn.Module]) -> None:
        torch.manual_seed(0)
        self.peer_name, self.ours, self.peer = peer_name, ours, peer
        self.parts: dict[str, Any] = {}
        self.models: dict[str, nn.Module] = {}
        self.encoded = torch.empty(0)

    @staticmethod
    def output(size: int, vocabulary: int) -> nn.Module:
        """An output layer that finds eos (token 2) certain, and token 0 impossible: SpeechBrain's LM masks it."""
        layer = Linear(input_size=size, n_neurons=vocabulary)
        layer.w.weight.data *= 4.0
        layer.w.bias.data[2], layer.w.bias.data[0] = 30.0, -30.0
        return layer

    def row(self, name: str, *, steps: int, goal: float, full: dict | None = None, partial: dict | None = None) -> Row:
        """Both searches compared, then timed."""
        both = [
            self.search(*side, steps, full or {}, partial or {}) for side in ((self.ours, OURS), (self.peer, PEERS))
        ]
        lengths = torch.ones(len(self.encoded))
        ours, peer = (lambda: both[0](self.encoded, lengths)), (lambda: both[1](self.encoded, lengths))
        return compare(name, ours, peer, peer_name=self.peer_name, goal=goal, same=same, repeats=5, peer_repeats=1)

    def search(self, searcher: Callable, library: dict, steps: int, full: dict, partial: dict) -> nn.Module:
        """A searcher of one side."""
        builder = library["builder"](
            weights=full | partial,
            full_scorers=[self.scorer(library, name) for name in full],
            partial_scorers=[self.scorer(library, name) for name in partial],
        )
        ratio = {"min_decode_ratio": (steps + 0.5) / FRAMES, "max_decode_ratio": (steps + 2.5) / FRAMES}
        indices = {"bos_index": 1, "eos_index": 2}
        options = {"beam_size": BEAM, "using_eos_threshold": False, "topk": 3, "return_topk": True}
        modules = nn.ModuleList(
            module for part in self.parts.values() for module in ([part] if isinstance(part, nn.Module) else part)
        )
        modules.eval()
        return searcher(**self.parts, scorer=builder, **ratio, **indices, **options).eval()

    def scorer(self, library: dict, name: str) -> Any:
        """A scorer of one side."""
        model = self.models[name].eval()
        return library[name](model, 0, 2) if name == "ctc" else library[name](model)


def same(ours: tuple[Tensor, ...], peer: tuple[Tensor, ...]) -> bool:
    """Whether the best hypotheses are the same, and all scores within 1e-4."""
    return torch.equal(ours[0][:, 0], peer[0][:, 0]) and torch.allclose(ours[2], peer[2], atol=1e-4, rtol=0)
