"""One file, and many of unlike length: SpeechBrain's interfaces and ours on the same folder.

The encoder is the same code on both sides, and greedy search costs nothing, so that EncoderASR can be no faster; CTC's
beam searches are in the table of decoding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from inference_corpus import write_files, write_model
from side_by_side import Row, compare, cpu_seconds
from speechbrain.inference.ASR import EncoderASR as PeerEncoderASR
from speechbrain.inference.ASR import EncoderDecoderASR as PeerEncoderDecoderASR

from toolkit.inference.interfaces import EncoderASR, EncoderDecoderASR

MANY = 64
LENGTHS = (2.0, 15.0)  # seconds
INTERFACES = {
    "EncoderDecoderASR": (EncoderDecoderASR, PeerEncoderDecoderASR),
    "EncoderASR": (EncoderASR, PeerEncoderASR),
}


def rows(quick: bool) -> Iterator[Row]:
    """A file of 10 s, and 64 of 2 to 15 s, with each interface."""
    with tempfile.TemporaryDirectory() as name:
        folder, repeats = Path(name), {"repeats": 2 if quick else 5}
        one = write_files(folder / "one", [10.0])
        lengths = np.random.default_rng(0).uniform(*LENGTHS, size=4 if quick else MANY).round(1).tolist()
        many = write_files(folder / "many", lengths)
        attention = write_model(folder / "attention", "attention")
        yield row("EncoderDecoderASR", "Conformer 12 x 256, CTC/attention, beam 10", attention, one, goal=3, **repeats)
        yield row("EncoderDecoderASR", "Conformer 12 x 256, CTC/attention, beam 10", attention, many, goal=8, **repeats)
        ctc = write_model(folder / "ctc", "ctc")
        yield row("EncoderASR", "Conformer 12 x 256, CTC, greedy", ctc, one, goal=None, **repeats)
        yield row("EncoderASR", "Conformer 12 x 256, CTC, greedy", ctc, many, goal=None, **repeats)


def row(interface: str, model: str, folder: Path, paths: list[str], *, goal: float | None, repeats: int) -> Row:
    """Files transcribed by both, one after the other where the interface of SpeechBrain takes one."""
    of_ours, of_peer = INTERFACES[interface]
    ours = of_ours.from_hparams(folder, device="cpu")
    peer = of_peer.from_hparams(str(folder), savedir=str(folder / "fetched"))
    what = "1 file of 10 s" if len(paths) == 1 else f"{len(paths)} files of 2-15 s"
    both = Both(ours, peer, paths)
    if len(paths) > 1:
        return both.timed_once(f"{what}, {model}", f"SpeechBrain {interface}", goal)
    names = {"peer_name": f"SpeechBrain {interface}", "goal": goal}
    return compare(f"{what}, {model}", both.ours, both.peer, same=same, repeats=repeats, **names)


class Both:
    """The same files transcribed by both sides."""

    def __init__(self, ours: Any, peer: Any, paths: list[str]) -> None:
        self.transcribers, self.paths = (ours, peer), paths
        self.answers: dict[str, list[str]] = {}

    def ours(self) -> list[str]:
        """All files in one call."""
        self.answers["ours"] = [transcript.text for transcript in self.transcribers[0].transcribe_files(self.paths)]
        return self.answers["ours"]

    def peer(self) -> list[str]:
        """One file after the other, as its interface takes them."""
        self.answers["peer"] = [self.transcribers[1].transcribe_file(path) for path in self.paths]
        return self.answers["peer"]

    def timed_once(self, name: str, peer_name: str, goal: float | None) -> Row:
        """The row of many files, which take the peer minutes: heard by each side once, after the first of them."""
        first = Both(*self.transcribers, self.paths[:1])
        if not same(first.ours(), first.peer()):
            raise ValueError(f"{name}: the first file is heard differently; nothing was timed")
        seconds = cpu_seconds(self.ours), cpu_seconds(self.peer)
        if not same(self.answers["ours"], self.answers["peer"]):
            raise ValueError(f"{name}: ours and {peer_name} answer differently")
        return Row(name, peer_name, *seconds, goal, True, "each timed once")


def same(ours: list[str], peer: list[str]) -> bool:
    """Whether the words are the same."""
    return [text.split() for text in ours] == [text.split() for text in peer]
