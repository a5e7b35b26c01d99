"""Manifests of AISHELL-1: 178 hours of read Mandarin by 400 speakers, 16 kHz; words are written without spaces.

    python aishell_prepare.py data/aishell manifests --download   # fetched into data/aishell first
    python aishell_prepare.py /data/aishell manifests             # a copy of the corpus

Reads the corpus as distributed (openslr.org/33), once the archives of its speakers are unpacked::

    data_aishell/transcript/aishell_transcript_v0.8.txt    BAC009S0002W0122 而 对 楼市 成交 抑制 作用 最 大 的 限 购
    data_aishell/wav/train/S0002/BAC009S0002W0122.wav
    data_aishell/wav/S0002.tar.gz                           holds train/S0002/, which --download unpacks

and writes train.json, valid.json (dev), test.json and their words as lm_train.txt, lm_valid.txt, lm_test.txt. The
spaces of the transcripts, which part words as somebody thought right, are left out; fullwidth letters are ordinary
capital ones, as in Lhotse's preparation, which is not used here: it ends at the first recording that cannot be read.
"""

from __future__ import annotations

import argparse
import functools
import tarfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from toolkit.dataio.download import Archive, fetch
from toolkit.dataio.prepare import (
    Dropped,
    Utterance,
    collect,
    describe_audio,
    describe_splits,
    find_audio,
    match_transcripts,
    read_text_lines,
    require_files,
    write_splits,
)
from toolkit.dataio.script import corpus_parser, run
from toolkit.dataio.unpack import extract
from toolkit.errors import DataError
from toolkit.files import require_writable

ARCHIVES = [Archive("https://www.openslr.org/resources/33/data_aishell.tgz", "data_aishell", "data_aishell")]

TRANSCRIPT = "data_aishell/transcript/aishell_transcript_v0.8.txt"
SPLITS = {"train": "train", "valid": "dev", "test": "test"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare AISHELL-1 as the command line says."""
    args = parse(arguments)
    if args.download:
        fetch(ARCHIVES, args.data_folder)
        unpack_speakers(args.data_folder / "data_aishell/wav")
    prepare_aishell(args.data_folder, args.manifests)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    return corpus_parser(__doc__, holds="data_aishell/", download="openslr.org/33 (15 GB)").parse_args(arguments)


def unpack_speakers(wavs: Path) -> None:
    """Each ``S0002.tar.gz`` as the folder ``train/S0002`` that it holds; those that are there are kept."""
    for archive in sorted(wavs.glob("*.tar.gz")):
        speaker = archive.name.removesuffix(".tar.gz")
        if any((wavs / part / speaker).is_dir() for part in SPLITS.values()):
            continue
        with tarfile.open(archive) as opened:
            folders = {Path(entry.name).parent for entry in opened if entry.isfile()}
        for folder in folders:
            extract(archive, wavs / folder, folder.as_posix())


def prepare_aishell(data_folder: Path, manifests: Path) -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    wavs = data_folder / "data_aishell/wav"
    require_files(data_folder, [TRANSCRIPT, "data_aishell/wav"], "AISHELL-1")
    packed = next(wavs.glob("*.tar.gz"), None)
    if packed and not (wavs / "train").is_dir():
        raise DataError(f"{packed}: the speakers' archives are not unpacked; --download does that, too")
    require_files(wavs, SPLITS.values(), "AISHELL-1's data_aishell/wav")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    audio = {name: path for part in SPLITS.values() for name, path in find_audio(wavs / part, dropped).items()}
    pairs = match_transcripts(read_transcripts(data_folder / TRANSCRIPT), audio, dropped)
    utterances = collect(pairs, functools.partial(make_utterance, data_folder), dropped)
    splits = {
        split: {name: one for name, one in utterances.items() if audio[name].is_relative_to(wavs / part)}
        for split, part in SPLITS.items()
    }
    write_splits(manifests, splits, data_root=data_folder, dropped=dropped)
    print(f"{describe_splits(splits)}\n{dropped.summary()}")
    return dropped


def read_transcripts(path: Path) -> dict[str, str]:
    """What is said by utterance, without spaces."""
    transcripts = {}
    for number, line in read_text_lines(path):
        name, *words = line.split()
        if not words:
            raise DataError(f"{path}: line {number} is not 'utterance WORDS': {line!r}")
        transcripts[name] = unicodedata.normalize("NFKC", "".join(words)).upper()
    return transcripts


def make_utterance(data_folder: Path, words: str, path: Path) -> Utterance:
    """The manifest's entry of one utterance; its speaker is the name of its folder."""
    return {**describe_audio(path, data_folder), "words": words, "speaker": path.parent.name}


if __name__ == "__main__":
    run(main)
