"""LibriSpeech and its miniature as distributed: where the parts are fetched, and their utterances.

The parts are read by ``lhotse.recipes.librispeech``, a line of the transcripts at a time, so that a file that is
missing or damaged costs its utterance and is counted, and no part is ever all in memory::

    train-clean-5/1088/134315/1088-134315.trans.txt     1088-134315-0000 AS YOU KNOW AND AS I HAVE ...
    train-clean-5/1088/134315/1088-134315-0000.flac
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lhotse.audio import AudioLoadingError
from lhotse.recipes.librispeech import MINI_LIBRISPEECH, parse_utterance

from toolkit.dataio.download import Archive, download, fetch
from toolkit.dataio.lm_text import LM_TEXT_URL, require_text, write_lm_text
from toolkit.dataio.openrir import OPENRIR, require_openrir, write_noise_lists
from toolkit.dataio.prepare import Dropped, in_threads, read_text_lines, require_files
from toolkit.dataio.segments import Segment, write_segments
from toolkit.errors import DataError
from toolkit.files import require_writable

URL = "https://www.openslr.org/resources/{number}/{part}.tar.gz"

# As torchaudio.datasets.librispeech has them; of the miniature's parts, openslr.org/31, none are known here.
CHECKSUMS = {
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is optional: ``--lm-text`` and ``--openrir``."""
    parser.add_argument(
        "--lm-text",
        type=Path,
        metavar="FILE",
        help="text for language models, a sentence a line (.txt, .gz); --download makes it LibriSpeech's own (1.5 GB)",
    )
    parser.add_argument(
        "--openrir", type=Path, metavar="FOLDER", help="OpenRIR's RIRS_NOISES; --download fetches it, too (1.3 GB)"
    )


def archives_of(parts: Iterable[str]) -> list[Archive]:
    """The archive of each part, which holds it in ``LibriSpeech/``."""
    archives = []
    for part in parts:
        url = URL.format(number=31 if part in MINI_LIBRISPEECH else 12, part=part)
        checksum = f"sha256:{CHECKSUMS[part]}" if part in CHECKSUMS else None
        archives.append(Archive(url, target=part, member=f"LibriSpeech/{part}", checksum=checksum))
    return archives


def prepare_librispeech(
    args: argparse.Namespace, splits: Mapping[str, Sequence[str]], *, most_sentences: int | None = None
) -> None:
    """Write and print all that a command line asks for; nothing of it is written while some is missing.

    Parameters
    ----------
    args
        Of `toolkit.dataio.script.corpus_parser` and `add_options`.
    splits
        The parts of each split.
    most_sentences
        Of the text for language models; None: all.

    Raises
    ------
    DataError
        A part, the text or OpenRIR is missing, or holds nothing that can be used.
    """
    parts = [part for names in splits.values() for part in names]
    require_writable(args.manifests, "MANIFESTS")
    if args.download:
        fetch(archives_of(parts), args.data_folder)
        if args.lm_text:
            download(LM_TEXT_URL, args.lm_text)
        if args.openrir:
            fetch([OPENRIR], args.openrir)
    require_files(args.data_folder, parts, "LibriSpeech")
    if args.lm_text:
        require_text(args.lm_text)
    if args.openrir:
        require_openrir(args.openrir)

    write_parts(args.data_folder, args.manifests, splits)
    if args.lm_text:
        tested = [part for split, names in splits.items() if split != "train" for part in names]
        known = dict(line.split(maxsplit=1) for part in tested for line in _transcripts(args.data_folder / part))
        print(write_lm_text(args.lm_text, args.manifests, known, most=most_sentences))
    if args.openrir:
        print(write_noise_lists(args.openrir, args.manifests))


def write_parts(data_folder: Path, manifests: Path, splits: Mapping[str, Sequence[str]]) -> Dropped:
    """Write the manifests of each split, of some parts, and print what they hold; returns what was left out."""
    dropped = Dropped()
    segments = {
        split: (one for part in parts for one in read_part(data_folder / part, dropped))
        for split, parts in splits.items()
    }
    print(f"{write_segments(manifests, segments, data_folder, dropped=dropped)}\n{dropped.summary()}")
    return dropped


def read_part(folder: Path, dropped: Dropped) -> Iterator[Segment]:
    """The utterances of one part, whose names begin with the speaker's and the chapter's."""
    named = set()
    for line, parsed in in_threads(functools.partial(parse_utterance, folder, alignments={}), _transcripts(folder)):
        name = line.split()[0]
        named.add(name)
        try:
            found = parsed.result()
        except (AudioLoadingError, OSError, RuntimeError) as error:
            dropped.add("with unreadable audio", f"{name}: {str(error).splitlines()[0]}")
            continue
        if found is None:
            dropped.add("without audio", name)
            continue
        recording, spoken = found
        audio = Path(recording.sources[0].source)
        yield Segment(name, audio, 0.0, None, spoken.text, spoken.speaker, spoken.language)
    for path in sorted(path for path in folder.rglob("*.flac") if path.stem not in named):
        dropped.add("without a transcript", str(path))


def _transcripts(folder: Path) -> Iterator[str]:
    """The lines of all chapters' transcripts."""
    for path in sorted(folder.rglob("*.trans.txt")):
        for number, line in read_text_lines(path):
            if len(line.split(maxsplit=1)) < 2:
                raise DataError(f"{path}: line {number} is not 'UTTERANCE WORDS': {line!r}")
            yield line
