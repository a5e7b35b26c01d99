"""Long files: CPU time and peak memory, in a process of their own, beside SpeechBrain's and beside shorter ones.

SpeechBrain's interfaces encode a file as a whole: memory and time of attention grow with the square of its length, so
that they are asked for no more than two minutes, and with a beam for half of one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from footprint import Footprint, footprint
from inference_corpus import write_files, write_model
from side_by_side import Row

MOST_MEGABYTES = 1500
MINUTES = {"quick": [1, 4], "ctc": [2, 10, 60], "attention": [0.5, 10, 60]}
INTERFACES = {"ctc": "EncoderASR", "attention": "EncoderDecoderASR"}
NAMES = {"ctc": "Conformer 12 x 256, CTC, greedy", "attention": "Conformer 12 x 256, CTC/attention, beam 10"}


def rows(quick: bool) -> Iterator[Row]:
    """The shortest beside the peer, ten minutes and sixty beside ourselves."""
    with tempfile.TemporaryDirectory() as name:
        for kind in ["ctc"] if quick else ["ctc", "attention"]:
            folder = write_model(Path(name) / kind, kind)
            yield from rows_of(kind, folder, MINUTES["quick" if quick else kind])


def rows_of(kind: str, folder: Path, minutes: list[float]) -> Iterator[Row]:
    """Time and memory of the shortest with both, and of each with ours and with what the one before promises."""
    paths = [write_files(folder / str(length), [60.0 * length])[0] for length in minutes]
    before = footprint(ours, kind, str(folder), paths[0])
    peer = footprint(theirs, kind, str(folder), paths[0])
    name = f"1 file of {minutes[0]} min, {NAMES[kind]}"
    yield from pair(name, f"SpeechBrain {INTERFACES[kind]}", before, peer)
    for length, shorter, path in zip(minutes[1:], minutes, paths[1:], strict=False):
        times = length / shorter
        found = footprint(ours, kind, str(folder), path)
        promised = Footprint(before.seconds * times, before.megabytes, None)
        yield from pair(
            f"1 file of {length} min, {NAMES[kind]}", f"ours, {shorter} min; time x {times:g}", found, promised
        )
        before = found


def pair(name: str, peer_name: str, found: Footprint, peer: Footprint) -> Iterator[Row]:
    """The rows of time and of memory."""
    goal = 1 if peer_name.startswith("ours") else None  # linear
    yield Row(f"{name}: time", peer_name, found.seconds, peer.seconds, goal, None, "model loaded in that time")
    memory = {"goal": None, "answers_equal": None, "unit": "MB", "most": MOST_MEGABYTES}
    yield Row(f"{name}: peak memory", peer_name, found.megabytes, peer.megabytes, note="with the model", **memory)


def ours(kind: str, folder: str, path: str) -> int:
    """Characters of our transcript."""
    import torch

    from toolkit.inference import interfaces

    torch.set_num_threads(1)
    transcriber = getattr(interfaces, INTERFACES[kind]).from_hparams(folder, device="cpu")
    return len(transcriber.transcribe_file(path))


def theirs(kind: str, folder: str, path: str) -> int:
    """Characters of SpeechBrain's."""
    import torch
    from speechbrain.inference import ASR as peers  # noqa: N811

    torch.set_num_threads(1)
    transcriber = getattr(peers, INTERFACES[kind]).from_hparams(folder, savedir=f"{folder}/fetched")
    with torch.no_grad():
        return len(transcriber.transcribe_file(path))
