"""Manifests of GigaSpeech: up to 10,000 hours of English audiobooks, podcasts and YouTube, cut into utterances.

    python gigaspeech_prepare.py /data/GigaSpeech manifests --subset S

Reads the corpus as distributed (github.com/SpeechColab/GigaSpeech; it is free, but a form has to be filled in for its
password, so that there is no --download here)::

    GigaSpeech.json
        {"audios": [{"aid": "POD0000000004", "path": "audio/podcast/P0000/POD0000000004.opus", "subsets": ["{XL}"], ...
          "segments": [{"sid": "POD0000000004_S0000017", "begin_time": 68.67, "end_time": 72.28, "speaker": "N/A",
                        "text_tn": "DOUGLAS MCGRAY IS GOING TO BE OUR GUIDE <COMMA> ...", "subsets": ["{XL}", "{L}"]}...
    audio/podcast/P0000/POD0000000004.opus

and writes train.json (--subset), valid.json (DEV), test.json (TEST) and their words as lm_train.txt, lm_valid.txt,
lm_test.txt. The JSON, of many gigabytes, is read one recording at a time. XL holds L, which holds M, and so on down to
XS. The tags of punctuation are left out; utterances with one of <SIL>, <MUSIC>, <NOISE> and <OTHER>, where nobody or
somebody else speaks, are dropped and counted. Lhotse's preparation needs `speechcolab`, which reads the JSON whole.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.dataio.json_stream import read_items
from toolkit.dataio.prepare import Dropped, require_files, watched
from toolkit.dataio.script import corpus_parser, run
from toolkit.dataio.segments import Segment, describe_written, writing_segments
from toolkit.errors import DataError
from toolkit.files import require_writable

Entry = Mapping[str, Any]

SUBSETS = ("XS", "S", "M", "L", "XL")

PUNCTUATION = re.compile(r"<(?:COMMA|PERIOD|QUESTIONMARK|EXCLAMATIONPOINT)>")
TAG = re.compile(r"<[^>]*>")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare GigaSpeech as the command line says."""
    args = parse(arguments)
    prepare_gigaspeech(args.data_folder, args.manifests, args.subset)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="GigaSpeech.json and audio/")
    parser.add_argument(
        "--subset", choices=SUBSETS, default="XL", help="the training set: 10, 250, 1000, 2500 or 10,000 hours (XL)"
    )
    return parser.parse_args(arguments)


def prepare_gigaspeech(data_folder: Path, manifests: Path, subset: str = "XL") -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    require_files(data_folder, ["GigaSpeech.json", "audio"], "GigaSpeech")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    splits = {f"{{{subset}}}": "train", "{DEV}": "valid", "{TEST}": "test"}
    with writing_segments(manifests, splits.values(), data_folder, dropped=dropped) as writers:
        for split, segment in watched(read_segments(data_folder, splits, dropped)):
            writers[split].add(segment)
    print(f"{describe_written(writers)}\n{dropped.summary()}")
    return dropped


def read_segments(data_folder: Path, splits: Mapping[str, str], dropped: Dropped) -> Iterator[tuple[str, Segment]]:
    """The utterances of the subsets that are wanted, with their splits, in the order of the file."""
    path = data_folder / "GigaSpeech.json"
    for number, audio in enumerate(read_items(path, "audios"), start=1):
        try:
            for one in audio["segments"]:
                for subset in splits.keys() & one["subsets"]:
                    segment = make_segment(data_folder, audio, one, dropped)
                    if segment is not None:
                        yield splits[subset], segment
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: recording {number} is not as expected ({error!r}): {str(audio)[:80]}") from error


def make_segment(data_folder: Path, audio: Entry, one: Entry, dropped: Dropped) -> Segment | None:
    """An utterance; None, and counted, where its words are none."""
    words = PUNCTUATION.sub(" ", one["text_tn"])
    if tag := TAG.search(words):
        dropped.add(f"with {tag[0]}", one["sid"])
        return None
    start, end = float(one["begin_time"]), float(one["end_time"])
    # N/A: nobody knows whether the next utterance of the recording is of the same person.
    speaker = one["speaker"] if one.get("speaker") not in (None, "N/A") else None
    return Segment(one["sid"], data_folder / audio["path"], start, end - start, words, speaker)


if __name__ == "__main__":
    run(main)
