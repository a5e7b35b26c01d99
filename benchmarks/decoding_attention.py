"""Label-synchronous search beside SpeechBrain's searchers: the same modules, weights and options on both sides.

Weights are random, so the number of steps is set: eos is forbidden before it (min_decode_ratio) and certain after.
Both search in the same encoder output; no encoder is computed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import speechbrain.decoders as peers
import torch
from side_by_side import Row, compare, cpu_seconds
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

from toolkit.decoders import s2s
from toolkit.decoders.ctc_prefix import CTCScorer
from toolkit.decoders.language_scorers import RNNLMScorer, TransformerLMScorer
from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.models.key_values import TokenTree
from toolkit.models.state import Shared, State

BATCH, FRAMES, BEAM = 4, 150, 10
OURS = {"ctc": CTCScorer, "rnnlm": RNNLMScorer, "transformerlm": TransformerLMScorer, "builder": ScorerBuilder}
PEERS = {
    "ctc": PeerCTCScorer,
    "rnnlm": PeerRNNLMScorer,
    "transformerlm": PeerTransformerLMScorer,
    "builder": PeerScorerBuilder,
}
Weights = Mapping[str, float]
NONE: Weights = {}


def rows(quick: bool) -> Iterator[Row]:
    """The Transformer's rows, the GRU's, and how our cost grows."""
    yield from transformer_rows(quick)
    yield from gru_rows(quick)
    if not quick:
        yield from growth_rows()


def transformer_rows(quick: bool) -> Iterator[Row]:
    """With 30, 60 and 120 steps, and with scorers."""
    bench, name = transformer(), f"Transformer 12+6 layers, d 256, beam {BEAM}, batch {BATCH} x {FRAMES} frames"
    yield bench.row(f"{name}, 30 steps", steps=30, goal=15)
    if quick:
        return
    yield bench.row(f"{name}, 60 steps", steps=60, goal=20)
    yield bench.row(f"{name}, 120 steps", steps=120, goal=30)
    ctc, lm = {"ctc": 0.4}, {"transformerlm": 0.3}
    yield bench.row(f"{name}, 60 steps + partial CTC", steps=60, goal=12, partial=ctc)
    yield bench.row(f"{name}, 60 steps + full CTC", steps=60, goal=12, full=ctc)
    yield bench.row(f"{name}, 60 steps + TransformerLM", steps=60, goal=12, full=lm)
    yield bench.row(f"{name}, 60 steps + CTC + TransformerLM", steps=60, goal=12, full=lm, partial=ctc)


def gru_rows(quick: bool) -> Iterator[Row]:
    """With 60 steps, and with scorers."""
    bench, name = gru(), f"GRU 512, location-aware, beam {BEAM}, batch {BATCH} x {FRAMES} frames, 60 steps"
    yield bench.row(name, steps=60, goal=3)
    if quick:
        return
    yield bench.row(f"{name} + partial CTC", steps=60, goal=3, partial={"ctc": 0.4})
    yield bench.row(f"{name} + full CTC", steps=60, goal=10, full={"ctc": 0.4})
    yield bench.row(f"{name} + RNNLM", steps=60, goal=2, full={"rnnlm": 0.3})


def growth_rows() -> Iterator[Row]:
    """Our Transformer beside itself: at a ratio of 1, the cost is in proportion to the beam or to the audio."""
    bench = transformer()
    small = bench.seconds(5)
    sizes = [(5, beam, beam // BEAM) for beam in (20, 40, 80)] + [(audio, BEAM, audio // 5) for audio in (10, 20, 60)]
    for audio, beam, times in sizes:
        large = bench.seconds(audio, beam)
        peer = f"{times} times ours with 5 s, beam {BEAM}"
        yield Row(f"Transformer, {audio} s, beam {beam}", peer, large, times * small, 1, None, bench.state)


def transformer() -> Bench:
    """6 decoder layers, d 256, 5000 tokens, and a language model of 6 layers."""
    bench, V, size = Bench("S2STransformerBeamSearcher", size=256), 5000, 256
    model = TransformerASR(V, 80, size, 4, 12, 6, 2048, causal=False, normalize_before=True, activation=nn.GELU).eval()
    bench.parts = {"modules": [model, output(size, V)]}
    lm = TransformerLM(V, size, 4, 6, 0, 1024)
    bench.models = {"ctc": ctc_output(size, V), "transformerlm": lm.eval()}
    return bench


def gru() -> Bench:
    """512 cells, location-aware attention, 1000 tokens, and a language model of 2 x 2048 cells, as published."""
    bench, V, size = Bench("S2SRNNBeamSearcher", size=512), 1000, 512
    sizes = {"hidden_size": size, "attn_dim": size, "num_layers": 1, "enc_dim": size, "input_size": 128}
    decoder = AttentionalRNNDecoder("gru", "location", **sizes, channels=10, kernel_size=100).eval()
    bench.parts = {"embedding": nn.Embedding(V, 128), "decoder": decoder, "linear": output(size, V)}
    lm = RNNLM(V, embedding_dim=128, rnn_layers=2, rnn_neurons=2048, dnn_neurons=512, return_hidden=True)
    bench.models = {"ctc": ctc_output(size, V), "rnnlm": lm.eval()}
    return bench


class Bench:
    """One model and its searchers, ours and the peer's, which have the same name."""

    def __init__(self, searcher: str, *, size: int) -> None:
        torch.manual_seed(0)
        self.searcher = searcher
        self.encoded = torch.randn(BATCH, FRAMES, size)
        self.parts: dict[str, Any] = {}
        self.models: dict[str, nn.Module] = {}
        self.state = ""  # how much memory our last search took

    def row(self, name: str, *, steps: int, goal: float, full: Weights = NONE, partial: Weights = NONE) -> Row:
        """Both searches compared, then timed."""
        ours, peer = (self.search(library, steps, full=full, partial=partial) for library in (s2s, peers))
        lengths = torch.ones(BATCH)
        both = (lambda: ours(self.encoded, lengths)), (lambda: peer(self.encoded, lengths))
        return compare(name, *both, peer_name=f"SpeechBrain {self.searcher}", goal=goal, same=same)

    def seconds(self, audio: int, beam: int = BEAM) -> float:
        """CPU time of 30 steps in that many seconds of audio, at 40 ms a frame."""
        encoded = torch.randn(BATCH, 25 * audio, self.encoded.shape[2])
        searcher = self.search(s2s, 30, beam_size=beam, frames=encoded.shape[1])
        largest = 0

        def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
            nonlocal largest
            log_probs, state = original(tokens, state)
            largest = max(largest, size_of(state))
            return log_probs, state

        original, searcher.decoder.step = searcher.decoder.step, step
        searcher(encoded, torch.ones(BATCH))
        searcher.decoder.step = original
        self.state = f"{largest / BATCH / 1e6:.1f} MB of state an utterance"
        return statistics.median(cpu_seconds(lambda: searcher(encoded, torch.ones(BATCH))) for _ in range(5))

    def search(
        self, library: Any, steps: int, *, full: Weights = NONE, partial: Weights = NONE, **options: Any
    ) -> nn.Module:
        """The searcher of one library, for that many steps in ``frames`` frames."""
        kinds = OURS if library is s2s else PEERS
        scorers = ([self.scorer(kinds, name) for name in names] for names in (full, partial))
        frames = options.pop("frames", FRAMES)
        limits = {"min_decode_ratio": (steps + 0.5) / frames, "max_decode_ratio": (steps + 2.5) / frames}
        common = {"bos_index": 1, "eos_index": 2, "using_eos_threshold": False, "topk": 3, "return_topk": True}
        options = {"beam_size": BEAM, **limits, **common} | options
        return getattr(library, self.searcher)(
            **self.parts, scorer=kinds["builder"](full | partial, *scorers), **options
        )

    def scorer(self, kinds: dict[str, Any], name: str) -> Any:
        """A scorer of one library."""
        return kinds[name](self.models[name], 0, 2) if name == "ctc" else kinds[name](self.models[name])


def output(size: int, vocabulary: int) -> nn.Module:
    """An output layer that finds eos (token 2) certain, and token 0 impossible: SpeechBrain's LM masks it."""
    layer = Linear(input_size=size, n_neurons=vocabulary).eval()
    layer.w.weight.data *= 4.0
    layer.w.bias.data[2], layer.w.bias.data[0] = 30.0, -30.0
    return layer


def ctc_output(size: int, vocabulary: int) -> nn.Module:
    """A CTC output of mostly blanks (token 0), in which a transcript may be long over."""
    layer = Linear(input_size=size, n_neurons=vocabulary).eval()
    layer.w.bias.data[0] = 12.0
    return layer


def size_of(state: State) -> int:
    """Bytes of a decoder's state."""
    parts = [value.buffers if isinstance(value, TokenTree) else value for value in state.values()]
    tensors = [tensor for part in parts for tensor in (part.tensors if isinstance(part, Shared) else [part])]
    return sum(tensor.nbytes for tensor in tensors)


@torch.no_grad()
def same(ours: tuple[Tensor, ...], peer: tuple[Tensor, ...]) -> bool:
    """Whether the best hypotheses are the same, and all scores within 1e-4."""
    return torch.equal(ours[0][:, 0], peer[0][:, 0]) and torch.allclose(ours[2], peer[2], atol=1e-4, rtol=0)
