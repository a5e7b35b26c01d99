"""Manifests of mini-LibriSpeech: five hours of read books, and LibriSpeech's test sets, 16 kHz.

    python mini_librispeech_prepare.py /data/LibriSpeech manifests
"""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.dataio.download import fetch
from toolkit.dataio.librispeech import archives_of, prepare_parts
from toolkit.dataio.lm_text import write_lm_text
from toolkit.dataio.script import corpus_parser, run

SPLITS = {
    "train": ["train-clean-5"],
    "valid": ["dev-clean-2"],
    "test_clean": ["test-clean"],
    "test_other": ["test-other"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the corpus as the command line says."""
    parser = corpus_parser(__doc__, holds="train-clean-5/ and dev-clean-2/", download="openslr.org/31 and /12 (1.2 GB)")
    parser.add_argument("--lm-text")
    args = parser.parse_args(arguments)
    if args.download:
        fetch(archives_of(part for parts in SPLITS.values() for part in parts), args.data_folder)
    splits = prepare_parts(args.data_folder, args.manifests, SPLITS)
    if args.lm_text is not None:
        spoken = {name: one["words"] for split in splits if split != "train" for name, one in splits[split].items()}
        print(write_lm_text(args.lm_text, args.manifests, spoken=spoken))


if __name__ == "__main__":
    run(main)
