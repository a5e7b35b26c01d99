"""Manifests of corpora of OpenSLR in which volunteers read sentences, 48 kHz: SLR71 to 75, Spanish, and others.

    python openslr_prepare.py /data/openslr manifests                            # the Spanish ones of the Americas
    python openslr_prepare.py /data/openslr manifests --corpora 71 --download    # fetched into /data/openslr first
    python openslr_prepare.py /data/openslr manifests --corpora 69 76 77         # Catalan, Basque, Galician

Reads each corpus as distributed, whose archives were unpacked to folders of their names::

    SLR71/es_cl_female/line_index.tsv       clf_09334_01278378087<TAB>Quiero una pizza
    SLR71/es_cl_female/clf_09334_01278378087.wav
    SLR71/es_cl_male/...

and writes a folder for each, SLR71 and so on, with train.json, valid.json, test.json and their words as lm_*.txt. The
lists may also have the names line_index_female.tsv and line_index_male.tsv, and lie anywhere in a corpus' folder.

There are no official splits: a tenth of a corpus' hours each are test and valid, of whole speakers (clf_09334) that
`toolkit.dataio.splits` picks.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
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
    spell,
    write_splits,
)
from toolkit.dataio.script import add_spelling, corpus_parser, run, spelling_of
from toolkit.dataio.spelling import Spelling
from toolkit.dataio.splits import split_by
from toolkit.errors import DataError
from toolkit.files import require_writable

URL = "https://www.openslr.org/resources"

# Number of a corpus: its language and its archives, {URL}/71/es_cl_female.zip and so on.
CORPORA = {
    61: ("es", ("es_ar_female", "es_ar_male")),  # Argentina
    63: ("ml", ("ml_in_female", "ml_in_male")),
    64: ("mr", ("mr_in_female",)),
    65: ("ta", ("ta_in_female", "ta_in_male")),
    66: ("te", ("te_in_female", "te_in_male")),
    69: ("ca", ("ca_es_female", "ca_es_male")),
    70: ("en", ("en_ng_female", "en_ng_male")),  # Nigeria
    71: ("es", ("es_cl_female", "es_cl_male")),  # Chile
    72: ("es", ("es_co_female", "es_co_male")),  # Colombia
    73: ("es", ("es_pe_female", "es_pe_male")),  # Peru
    74: ("es", ("es_pr_female",)),  # Puerto Rico
    75: ("es", ("es_ve_female", "es_ve_male")),  # Venezuela
    76: ("eu", ("eu_es_female", "eu_es_male")),
    77: ("gl", ("gl_es_female", "gl_es_male")),
    78: ("gu", ("gu_in_female", "gu_in_male")),
    79: ("kn", ("kn_in_female", "kn_in_male")),
    80: ("my", ("my_mm_female",)),
    86: ("yo", ("yo_ng_female", "yo_ng_male")),
}
SPANISH = (71, 72, 73, 74, 75)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare corpora as the command line says."""
    args = parse(arguments)
    spellings = {number: spelling_of(CORPORA[number][0], args) for number in args.corpora}
    if args.download:
        fetch([archive for number in args.corpora for archive in archives(number)], args.data_folder)
    require_files(args.data_folder, [f"SLR{number}" for number in args.corpora], "OpenSLR's corpora")
    for number, spelling in spellings.items():
        name = f"SLR{number}"
        print(name)
        prepare_openslr(args.data_folder / name, args.manifests / name, spelling)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="SLR71/ and others", download=URL)
    numbers = {"nargs": "+", "type": int, "choices": CORPORA, "default": SPANISH, "metavar": "NUMBER"}
    parser.add_argument("--corpora", **numbers, help=f"of {', '.join(map(str, CORPORA))}; by default the Spanish ones")
    add_spelling(parser)
    return parser.parse_args(arguments)


def archives(number: int) -> list[Archive]:
    """The archives of a corpus, each unpacked to a folder of its name."""
    return [Archive(f"{URL}/{number}/{name}.zip", f"SLR{number}/{name}", ".") for name in CORPORA[number][1]]


def prepare_openslr(corpus: Path, manifests: Path, spelling: Spelling) -> Dropped:
    """Write the manifests of a corpus and print what they hold; returns what was left out."""
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    pairs = match_transcripts(read_lists(corpus), find_audio(corpus, dropped), dropped)

    def make_utterance(words: str, path: Path) -> Utterance:
        told = {"words": words, "speaker": path.stem.rpartition("_")[0], "language": spelling.language}
        return {**describe_audio(path, corpus), **told}

    splits = split_by("speaker", collect(spell(pairs, spelling, dropped), make_utterance, dropped))
    write_splits(manifests, splits, data_root=corpus, dropped=dropped)
    print(f"{describe_splits(splits)}\n{describe_overlap(splits)}\n{spelling.report()}\n{dropped.summary()}")
    return dropped


def describe_overlap(splits: Mapping[str, Mapping[str, Utterance]]) -> str:
    """How many utterances of test, and of valid, say what one of train says, too."""
    said = {split: [one["words"] for one in utterances.values()] for split, utterances in splits.items()}
    known = set(said["train"])
    counts = [f"{sum(words in known for words in said[one])} of {len(said[one])} of {one}" for one in ("test", "valid")]
    return f"with a sentence of train: {', '.join(counts)}"


def read_lists(corpus: Path) -> dict[str, str]:
    """What is read in each recording, of all lists of a corpus."""
    lists = sorted(corpus.rglob("line_index*.tsv"))
    if not lists:
        require_files(corpus, ["line_index.tsv, or one for each archive"], "a corpus of OpenSLR")
    transcripts = {}
    for path in lists:
        for number, line in read_text_lines(path):
            name, *columns = map(str.strip, line.split("\t"))
            if " " in name or "_" not in name:
                raise DataError(f"{path}: line {number} is not 'SPEAKER_NUMBER<TAB>sentence': {line!r}")
            transcripts[name] = columns[-1] if columns else ""
    return transcripts


if __name__ == "__main__":
    run(main)
