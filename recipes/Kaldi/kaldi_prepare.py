"""Manifests of any corpus that was prepared for Kaldi: a folder for each of training, validation and testing.

    python kaldi_prepare.py data manifests                                             # data/train, data/dev, data/test
    python kaldi_prepare.py data manifests --train train_si284 --valid test_dev93 --test test_eval92 test_eval93

Reads Kaldi's data folders (kaldi-asr.org/doc/data_prep.html)::

    wav.scp     rec-1 audio/rec-1.flac                       # paths of the working folder, else of the data folder
                rec-2 sph2pipe -f wav -p audio/rec-2.sph |   # not run: rec-2.sph itself is read
    text        utt-1 HELLO WORLD
    segments    utt-1 rec-1 0.50 2.75                        # optional: without it, recordings are utterances
    utt2spk     utt-1 speaker-1                              # optional, as are utt2lang and reco2dur

and writes train.json, valid.json, test.json (of several, test_FOLDER.json) and their words as lm_*.txt. No command of a
wav.scp is ever run. Those that only decode a file (cat, flac, sph2pipe, sox and ffmpeg without effects) are understood,
and the file is read; what any other would make is not known, and its utterances are dropped and counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from toolkit.dataio.kaldi import KaldiFolder
from toolkit.dataio.line_index import damage_kept
from toolkit.dataio.prepare import Dropped, require_files
from toolkit.dataio.script import corpus_parser, run
from toolkit.dataio.segments import Segment, write_segments
from toolkit.dataio.utterances import transcript
from toolkit.errors import DataError
from toolkit.files import require_writable


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare Kaldi's folders as the command line says."""
    args = parse(arguments)
    tests = {"test" if len(args.test) == 1 else f"test_{Path(name).name}": name for name in args.test}
    if len(tests) < len(args.test):
        raise DataError(f"--test: two folders have one name: {' '.join(args.test)}")
    prepare_kaldi(args.data_folder, args.manifests, {"train": args.train, "valid": args.valid, **tests})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="a folder for each split")
    parser.add_argument("--train", default="train", metavar="FOLDER", help="the training set (train)")
    parser.add_argument("--valid", default="dev", metavar="FOLDER", help="what ranks checkpoints (dev)")
    parser.add_argument("--test", default=["test"], nargs="+", metavar="FOLDER", help="one test set or several (test)")
    return parser.parse_args(arguments)


def prepare_kaldi(data_folder: Path, manifests: Path, folders: Mapping[str, str]) -> Dropped:
    """Write the manifest of each split's folder and print what they hold; returns what was left out."""
    require_files(data_folder, folders.values(), "a folder of Kaldi's data folders")
    for name in folders.values():
        require_files(data_folder / name, ["wav.scp", "text"], "a data folder of Kaldi's")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    splits = {split: read_folder(data_folder / name, dropped) for split, name in folders.items()}
    print(f"{write_segments(manifests, splits, data_folder.resolve(), dropped=dropped)}\n{dropped.summary()}")
    return dropped


def read_folder(folder: Path, dropped: Dropped) -> Iterator[Segment]:
    """The utterances of a folder; lines that are damaged, or whose audio is not to be had, are counted."""
    with damage_kept():
        utterances = KaldiFolder(folder)
    for number in range(len(utterances)):
        try:
            cut = utterances[number]
        except DataError as error:
            dropped.add("that cannot be read", str(error))
            continue
        said, audio = cut.supervisions[0], Path(cut.recording.sources[0].source).resolve()
        yield Segment(cut.id, audio, cut.start, cut.duration, transcript(cut), said.speaker, said.language)


if __name__ == "__main__":
    run(main)
