"""CTC search beside its peers: SpeechBrain, pyctcdecode with kenlm, and torchaudio's (flashlight's) decoder.

Beam searches prune differently, so the answers count as equal when ours have no more word errors than the peer's, or,
where there are no words, when the exact CTC log-probability of all our texts together (torch's CTC loss) is no less
than that of the peer's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from unittest import mock

import torch
from ctc_searches import (
    BackOffLoop,
    Decode,
    NumpyBackOffLoop,
    character_lm,
    flashlight,
    fused,
    pyctcdecode,
    searched,
    speechbrain,
    with_word_ngram,
)
from ctc_speech import PEAKY, SOFT, TEXT, arpa, characters, errors, log_probability, noise, spoken, spoken_for
from side_by_side import Row, compare
from torch import Tensor

from toolkit.decoders import fusion
from toolkit.decoders.ctc import ALL
from toolkit.decoders.ctc_native import CompiledSearch
from toolkit.decoders.ctc_tables import Pruning

CHARACTER_WEIGHT = 0.8
Same = Callable[[list[str], list[str]], bool]


def rows(quick: bool) -> Iterator[Row]:
    """The rows of CTC search; ``quick`` leaves those out whose peers take minutes."""
    if not TEXT.exists():
        print(f"CTC is left out: {TEXT} is not here, of which its posteriors are made", file=sys.stderr)
        return
    if find_spec("flashlight") is None:
        raise SystemExit("a peer of the CTC rows is missing: pip install flashlight-text")
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    for name, frames in {"peaky": spoken(PEAKY, 8, 300)[0], "flat": noise(8, 300, 2.0)}.items():
        yield from without_lm(name, frames, quick)
    count = 8 if quick else 20
    for name, clarity, goal in (("peaky", PEAKY, 6.0), ("soft", SOFT, 15.0)):
        yield from with_words(name, clarity, goal, count)
    yield from with_characters(count)
    if not quick:
        yield unknown_words(60)
        yield from near_uniform()
        yield from characters_in_tensors(20)
        yield from growth(8)


def without_lm(name: str, frames: list[Tensor], quick: bool) -> Iterator[Row]:
    """CTC alone, beam 100."""
    ours, same = searched(frames, preset="pyctcdecode"), no_less_likely(frames)
    title = f"CTC 8 x 300 x 32, beam 100, no LM, {name}"
    yield compare(title, ours, flashlight(frames, None), peer_name="flashlight", goal=3, same=same)
    if not (quick and name == "flat"):  # which takes SpeechBrain a minute
        yield compare(title, ours, speechbrain(frames), peer_name="SpeechBrain", goal=20, same=same)


def with_words(name: str, clarity: float, goal: float, count: int) -> Iterator[Row]:
    """A word 4-gram, beam 100."""
    frames, texts = spoken(clarity, count, 500)
    ours = with_word_ngram(frames)
    title = f"CTC + word 4-gram, beam 100, {name}, {count} utterances"
    peers = {"pyctcdecode": (pyctcdecode(frames), goal), "flashlight, lexicon": (flashlight(frames, arpa()), 5.0)}
    for peer_name, (peer, wanted) in peers.items():
        note, same = word_error_note(texts, ours, peer), no_more_errors(texts)
        yield compare(title, ours, peer, peer_name=peer_name, goal=wanted, same=same, note=note)


def with_characters(count: int) -> Iterator[Row]:
    """A character 6-gram at beam 16, against the peers with their word 4-gram: fewer errors, not only as few."""
    frames, texts = spoken(SOFT, count, 500)
    fusion = fused(token_ngram=characters(), token_weight=CHARACTER_WEIGHT)
    ours = searched(frames, fusion=fusion, preset="pyctcdecode", beam_size=16)
    title = f"CTC + character 6-gram, beam 16, soft, {count} utterances"
    for name, peer in {"pyctcdecode": pyctcdecode(frames), "flashlight, lexicon": flashlight(frames, arpa())}.items():
        note, same = word_error_note(texts, ours, peer), no_more_errors(texts, fewer_by=1)
        yield compare(title, ours, peer, peer_name=name, goal=20, same=same, note=note)


def unknown_words(count: int) -> Row:
    """Unknown words at a price at which pyctcdecode glues words together, which leaves words out."""
    frames, texts = spoken(SOFT, count, 500)
    fusion = fused(word_ngram=arpa(), unk_score_offset=-3.0)
    ours, peer = searched(frames, fusion=fusion, preset="pyctcdecode"), pyctcdecode(frames, unk_score_offset=-3.0)
    deletions = [errors(texts, search()).deletions for search in (ours, peer)]
    note = f"{word_error_note(texts, ours, peer)}; {deletions[0]} words missing, theirs {deletions[1]}"
    title = f"CTC + word 4-gram, unk_score_offset -3, soft, {count} utterances"
    return compare(title, ours, peer, peer_name="pyctcdecode", goal=15, same=no_more_errors(texts), note=note)


def near_uniform() -> Iterator[Row]:
    """What a model says before it is trained, 500 frames, beam 100."""
    frames = noise(1, 500, 0.05)
    title = "CTC, near-uniform, 500 frames, beam 100"
    yield compare(
        f"{title} + word 4-gram",
        with_word_ngram(frames),
        pyctcdecode(frames),
        peer_name="pyctcdecode",
        goal=50,
        same=lambda mine, other: bool(mine and other),
        note="noise: there is no right answer",
    )
    ours, peer = searched(frames, preset="pyctcdecode"), speechbrain(frames)
    likely = [log_probability(search(), frames) for search in (ours, peer)]
    note, same = "log-probability {:.1f}, theirs {:.1f}".format(*likely), no_less_likely(frames, but_for=0.01)
    yield compare(title, ours, peer, peer_name="SpeechBrain", goal=50, same=same, note=note)


def characters_in_tensors(count: int) -> Iterator[Row]:
    """A character 6-gram as a table on the device, and in compiled code, against looking tokens up by backing off.

    In tensors as on a GPU, where nothing waits to know which prefixes gained a token: all are looked up. The loop in
    numpy, for which a GPU would have to wait, looks up no others, and neither does the table beside it.
    """
    frames, _ = spoken(SOFT, count, 500)
    options = {"lm_weight": CHARACTER_WEIGHT, "beam_size": 16, "backend": "tensor"}
    table = searched(frames, lm=character_lm(), **options)
    loop, numpy_loop = (searched(frames, lm=lm, **options) for lm in (BackOffLoop(), NumpyBackOffLoop()))
    compiled = searched(frames, fusion=fused(token_ngram=characters(), token_weight=CHARACTER_WEIGHT))
    title, same = f"CTC + character 6-gram, batch {count}, beam 16", list.__eq__
    most = 0.01 * count  # seconds, 10 ms an utterance
    with mock.patch.object(fusion, "waiting_costs", return_value=True):
        peer = "tensors with a back-off loop"
        yield compare(f"{title}, tensors", table, loop, peer_name=peer, same=same, goal=5, most=most)
    peer = "tensors with a back-off loop in numpy"
    yield compare(f"{title}, tensors", table, numpy_loop, peer_name=peer, same=same, goal=None, most=most)
    yield compare(f"{title}, compiled", compiled, numpy_loop, peer_name=peer, same=same, goal=5, most=most)


def growth(count: int) -> Iterator[Row]:
    """The cost of a wider beam and of longer audio: ours over the rows; the memory of ours in the notes."""
    frames, texts = spoken(SOFT, count, 500)
    for beam in (10, 20, 40, 80):
        ours, peer = with_word_ngram(frames, beam_width=beam), pyctcdecode(frames, beam_width=beam)
        title = f"CTC + word 4-gram, soft, {count} utterances, beam {beam}"
        yield grown(title, ours, peer, texts=texts, note=memory_note(frames[0], beam))
    for seconds in (5, 15, 30, 60):
        frames, texts = spoken_for(seconds)
        title = f"CTC + word 4-gram, soft, beam 100, {seconds} s of audio"
        yield grown(title, with_word_ngram(frames), pyctcdecode(frames), texts=texts, note=memory_note(frames[0], 100))


def grown(title: str, ours: Decode, peer: Decode, *, texts: Sequence[str], note: str) -> Row:
    """A row of `growth`."""
    return compare(title, ours, peer, peer_name="pyctcdecode", goal=15, same=no_more_errors(texts), note=note)


def memory_note(frames: Tensor, beam: int) -> str:
    """What the search of an utterance (T, V) holds at its end: prefixes, as many as its text is long, and the beam."""
    search = CompiledSearch(Pruning(beam, ALL, -5.0, -10.0, 0.0, 0.0), fused(word_ngram=arpa()).tables)
    search.read(frames.double().numpy())
    return f"{sum(part.nbytes for part in search.search) / 1024:.0f} kB an utterance"


def no_less_likely(frames: list[Tensor], *, but_for: float = 1e-6) -> Same:
    """Whether the log-probability of our texts together is no less than the peer's, but for so much a frame."""
    slack = but_for * sum(map(len, frames))  # of noise, all searches see but a small part of the paths of their texts
    return lambda mine, other: log_probability(mine, frames) >= log_probability(other, frames) - slack


def no_more_errors(texts: Sequence[str], fewer_by: int = 0) -> Same:
    """Whether our texts have no more errors than the peer's, or fewer by that many."""
    return lambda mine, other: errors(texts, mine).errors + fewer_by <= errors(texts, other).errors


def word_error_note(texts: Sequence[str], ours: Decode, peer: Decode) -> str:
    """Both word error rates, and how many texts are the same."""
    mine, other = ours(), peer()
    alike = sum(one == two for one, two in zip(mine, other, strict=True))
    rates = f"WER {errors(texts, mine).rate:.1f} %, theirs {errors(texts, other).rate:.1f} %"
    return f"{rates}; {alike} of {len(texts)} texts the same"
