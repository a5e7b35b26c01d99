"""Manifests of TED-LIUM release 3: 452 hours of English talks, 16 kHz; utterances are parts of them.

    python tedlium_prepare.py data/TEDLIUM_release-3 manifests --download   # fetched there first
    python tedlium_prepare.py /data/TEDLIUM_release-3 manifests             # a copy of the corpus

Reads the corpus as distributed (openslr.org/51), the splits that all releases share (`legacy`)::

    legacy/dev/sph/AlGore_2009.sph
    legacy/dev/stm/AlGore_2009.stm
        AlGore_2009 1 AlGore_2009 17.82 28.81 <o,f0,male> last year i showed these two slides so that it 's {NOISE} ...
        AlGore_2009 1 inter_segment_gap 28.81 29.46 <o,,unknown> ignore_time_segment_in_scoring
    data/sph, data/stm                          the training set, where there is no legacy/train

and writes train.json, valid.json (dev), test.json and their words as lm_train.txt, lm_valid.txt, lm_test.txt. Words are
as in Kaldi's preparation: without the marks of noise and of pronunciations, and endings joined (it 's: it's). Where the
corpus has <unk>, a word is heard that nobody wrote down: such utterances of the training set are dropped, unless
--keep-unknown; in dev and test they lose the mark, as in Kaldi. Not through lhotse.recipes, which keeps all in memory.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.dataio.download import Archive, fetch
from toolkit.dataio.prepare import Dropped, read_text_lines, require_files
from toolkit.dataio.script import corpus_parser, run
from toolkit.dataio.segments import Segment, write_segments
from toolkit.errors import DataError
from toolkit.files import require_writable

# The checksum is torchaudio's. What legacy/train has is data/, too, where links are not unpacked.
URL = "https://www.openslr.org/resources/51/TEDLIUM_release-3.tgz"
CHECKSUM = "sha256:ad1e454d14d1ad550bc2564c462d87c7a7ec83d4dc2b9210f22ab4973b9eccdb"
ARCHIVES = [Archive(URL, part, f"TEDLIUM_release-3/{part}", CHECKSUM) for part in ("legacy/dev", "legacy/test", "data")]

SPLITS = {"train": ("legacy/train", "data"), "valid": ("legacy/dev",), "test": ("legacy/test",)}

NOT_SCORED = "ignore_time_segment_in_scoring"
UNKNOWN = re.compile(r"<unk>\S*")
# {NOISE}, [NOISE], <sil>, and (2): the second pronunciation of the word before it
MARK = re.compile(r"\{[^}]*\}|\[[^\]]*\]|<(?!unk>)[^>]*>|\(\d+\)")
# it 's, they 'd 've; and ' 60s
ENDING, DANGLING = re.compile(r"(?<=[\w>]) '(?=\w)"), re.compile(r"(?<!\S)' (?=\w)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare TED-LIUM as the command line says."""
    args = parse(arguments)
    if args.download:
        fetch(ARCHIVES, args.data_folder)
    prepare_tedlium(args.data_folder, args.manifests, keep_unknown=args.keep_unknown)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="legacy/ and data/", download="openslr.org/51 (54 GB)")
    parser.add_argument("--keep-unknown", action="store_true", help="train with utterances that have <unk>")
    return parser.parse_args(arguments)


def prepare_tedlium(data_folder: Path, manifests: Path, *, keep_unknown: bool = False) -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    require_files(data_folder, ["legacy/dev/stm", "legacy/test/stm"], "TED-LIUM release 3")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    splits = {}
    for split, places in SPLITS.items():
        folder = next((data_folder / one for one in places if any((data_folder / one / "stm").glob("*.stm"))), None)
        if folder is None:
            raise DataError(f"{data_folder}: there are no .stm files in {' or '.join(f'{one}/stm' for one in places)}")
        stms = sorted((folder / "stm").glob("*.stm"))
        if split == "train":
            stms = list(not_held_out(stms, data_folder, dropped))
        splits[split] = read_talks(stms, dropped, drop_unknown=split == "train" and not keep_unknown)
    print(f"{write_segments(manifests, splits, data_folder, dropped=dropped)}\n{dropped.summary()}")
    return dropped


def not_held_out(stms: Sequence[Path], data_folder: Path, dropped: Dropped) -> Iterator[Path]:
    """Talks of the training set that are neither in dev nor in test."""
    held_out = {
        stm.name for split in ("valid", "test") for one in SPLITS[split] for stm in data_folder.glob(f"{one}/stm/*.stm")
    }
    for stm in stms:
        if stm.name in held_out:
            dropped.add("talks of the training set that dev or test has", str(stm))
        else:
            yield stm


def read_talks(stms: Sequence[Path], dropped: Dropped, *, drop_unknown: bool) -> Iterator[Segment]:
    """The utterances of talks."""
    for stm in stms:
        for segment in read_talk(stm, stm.parents[1] / "sph" / f"{stm.stem}.sph"):
            if drop_unknown and UNKNOWN.search(segment.words):
                dropped.add("of the training set with <unk>", segment.name)
            else:
                yield replace(segment, words=UNKNOWN.sub(" ", segment.words))


def read_talk(stm: Path, audio: Path) -> Iterator[Segment]:
    """The utterances of a talk, named as in Kaldi: talk, start and end in hundredths of a second."""
    for number, line in read_text_lines(stm):
        if line.startswith(";;"):
            continue
        fields = line.split(maxsplit=6)
        try:
            talk, speaker, start, end = fields[0], fields[2], float(fields[3]), float(fields[4])
        except (IndexError, ValueError):
            raise DataError(f"{stm}: line {number} is not 'TALK 1 SPEAKER START END <LABEL> WORDS': {line!r}") from None
        words = fields[6] if len(fields) > 6 else ""
        if words.strip() != NOT_SCORED:
            name = f"{talk}-{round(start * 100):07d}-{round(end * 100):07d}"
            yield Segment(name, audio, start, end - start, normalise(words), speaker)


def normalise(words: str) -> str:
    """The words without marks, and with their endings."""
    plain = " ".join(MARK.sub(" ", words).split())
    return DANGLING.sub("'", ENDING.sub("'", plain))


if __name__ == "__main__":
    run(main)
