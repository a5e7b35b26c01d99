"""Transducer search beside SpeechBrain's, on a model that answers as a trained one: blanks, and now and then a token.

Nothing is trained: every token has a random code. Frames in which a token is spoken carry its code, the output layer
recognises codes, and a prefix is projected to minus the code of its last token, so that nothing is said twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from side_by_side import Row, compare
from torch import Tensor, nn
from torchaudio.functional import rnnt_loss

from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.transducer import TransducerBeamSearcher
from toolkit.decoders.transducer_greedy import TransducerGreedySearcher
from toolkit.models.transducer import RNNPredictor, TransducerModel

B, T, V, SIZE, JOINT = 4, 150, 1000, 512, 640
LOUD, BLANK = 28.0, 16.0  # logits, of a token three quarters of this and of the blank
FAINT, NOISE = 0.15, 0.3  # in a frame that speaks, the share of a rival token; in all frames
GAIN = 3.0  # of the prediction network's input: its state then holds mostly the last token

Answers = list[list[Hypothesis]]


class Frames(nn.Module):
    """In the place of an encoder: the benchmark begins with encoded frames."""

    def __init__(self) -> None:
        super().__init__()
        self.output_size = JOINT


def rows(quick: bool) -> Iterator[Row]:
    """Greedy and beam search with few tokens; beam search with many."""
    for tokens in (10,) if quick else (10, 36):
        model, encoded = speaking_model(tokens)
        if tokens == 10:
            yield _row("greedy, 10 tokens", model, encoded, 1, goal=1.0)
        yield _row(f"beam 4, {tokens} tokens", model, encoded, 4, goal=10.0, peer_repeats=1 if quick else None)


def _row(
    name: str, model: TransducerModel, encoded: Tensor, beam_size: int, *, goal: float, peer_repeats: int | None = None
) -> Row:
    frames, heard = torch.full((B,), T), model.joint.frames(encoded)
    greedy = beam_size == 1  # in the place of 5 symbols a frame, SpeechBrain allows 6
    ours = TransducerGreedySearcher(max_symbols=6) if greedy else TransducerBeamSearcher(beam_size=beam_size)
    peer = speechbrain_searcher(model, beam_size)
    return compare(
        f"transducer {name}, {B} x {T} frames x {V} tokens",
        lambda: ours(model, encoded, frames),
        lambda: peer(heard),
        peer_name="SpeechBrain TransducerBeamSearcher",
        goal=goal,
        same=same_tokens if greedy else partial(at_least_as_probable, model, encoded),
        peer_repeats=peer_repeats,
        note="" if greedy else "ours at least as probable",
    )


def same_tokens(ours: Answers, peer: tuple) -> bool:
    """Whether the best transcripts are the same."""
    return [best.tokens for best, *_ in ours] == peer[0]


def at_least_as_probable(model: TransducerModel, encoded: Tensor, ours: Answers, peer: tuple) -> bool:
    """Whether each of our transcripts is as probable as the peer's, which ranks by log-probability per token."""
    pairs = zip(encoded, ours, peer[0], strict=True)
    return all(
        log_prob(model, frames, best.tokens) >= log_prob(model, frames, theirs) - 1e-3
        for frames, (best, *_), theirs in pairs
    )


def log_prob(model: TransducerModel, encoded: Tensor, tokens: list[int]) -> float:
    """The log-probability of a transcript of (T, JOINT) frames, summed over its alignments."""
    text = torch.tensor([tokens], dtype=torch.int32)
    frames, prefixes = model.project(encoded[None], text.long())
    logits = model.joint(frames[:, :, None], prefixes[:, None])
    return -float(rnnt_loss(logits, text, torch.tensor([len(encoded)]).int(), torch.tensor([len(tokens)]).int(), 0))


def speechbrain_searcher(model: TransducerModel, beam_size: int, **options: float) -> nn.Module:
    """SpeechBrain's searcher around the very modules of the model; it takes ``model.joint.frames(encoded)``."""
    from speechbrain.decoders.transducer import TransducerBeamSearcher as Peer
    from speechbrain.nnet.transducer.transducer_joint import Transducer_joint

    predictor = [model.predictor.embedding, model.predictor.rnn, model.joint.prefixes]
    joint = Transducer_joint(joint="sum", nonlinearity=nn.Tanh)
    return Peer(predictor, joint, [model.joint.output], 0, beam_size=beam_size, nbest=1, **options)


def speaking_model(tokens: int) -> tuple[TransducerModel, Tensor]:
    """A model, and encoded frames (B, T, JOINT), in each of which it finds this many tokens."""
    torch.manual_seed(0)
    predictor = RNNPredictor(V, embedding_size=SIZE, neurons=SIZE)
    model = TransducerModel(nn.Identity(), Frames(), V, predictor=predictor, joint_size=JOINT).eval()
    model.requires_grad_(False)
    codes = torch.randint(0, 2, (V, JOINT)) * 2.0 - 1.0
    codes[0] = 0.0  # of the blank, which is what remains where nothing is heard
    model.joint.frames.weight.copy_(torch.eye(JOINT))
    model.joint.output.weight.copy_(codes * (LOUD / JOINT))
    model.joint.output.bias[0] = BLANK
    forget_what_was_said(model, codes)
    return model, spoken(codes, torch.randint(1, V, (2, B, tokens)))


def spoken(codes: Tensor, tokens: Tensor) -> Tensor:
    """Noisy frames (B, T, JOINT) of tokens, and faintly their rivals (2, B, U), each in a frame of its own."""
    encoded = NOISE * torch.randn(B, T, JOINT)
    for row in range(B):
        moments = torch.randperm(T)[: tokens.shape[2]]
        encoded[row, moments] += codes[tokens[0, row]] + FAINT * codes[tokens[1, row]]
    return encoded


def forget_what_was_said(model: TransducerModel, codes: Tensor) -> None:
    """Let a prefix be projected to minus the code of its last token: said once, it is no longer in the frame."""
    model.predictor.rnn.weight_ih_l0.mul_(GAIN)
    texts = torch.randint(1, V, (1000, 8))
    states = model.predictor(nn.functional.pad(texts, (1, 0)))[:, 1:].flatten(0, 1)
    gram = states.T @ states + torch.eye(SIZE)
    model.joint.prefixes.weight.copy_(-torch.linalg.solve(gram, states.T @ codes[texts.flatten()]).T)
    model.joint.prefixes.bias.zero_()
