"""LibriSpeech and its miniature as distributed: where the parts are fetched, and their utterances.

The parts are read by ``lhotse.recipes.librispeech``, a line of the transcripts at a time, so that a file that is
missing or damaged costs its utterance and is counted::

    train-clean-5/1088/134315/1088-134315.trans.txt     1088-134315-0000 AS YOU KNOW AND AS I HAVE ...
    train-clean-5/1088/134315/1088-134315-0000.flac
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lhotse import Recording
from lhotse.audio import AudioLoadingError
from lhotse.recipes.librispeech import MINI_LIBRISPEECH, parse_utterance
from lhotse.supervision import SupervisionSegment

from toolkit.dataio.corpora import utterances_of
from toolkit.dataio.download import Archive
from toolkit.dataio.prepare import Dropped, Utterance, describe_splits, read_text_lines, require_files, write_splits
from toolkit.errors import DataError
from toolkit.files import require_writable

logger = logging.getLogger(__name__)

URL = "https://www.openslr.org/resources/{number}/{part}.tar.gz"

# As torchaudio.datasets.librispeech has them; of the miniature's parts, openslr.org/31, nobody publishes any.
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


def prepare_parts(
    data_folder: Path, manifests: Path, splits: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Utterance]]:
    """The utterances of each split, after their manifests were written and a summary printed.

    Parameters
    ----------
    data_folder
        The folder that holds the parts.
    manifests
        Where to write.
    splits
        The parts of each split.

    Raises
    ------
    DataError
        A part is missing, or has no utterance that can be used.
    """
    require_files(data_folder, [part for parts in splits.values() for part in parts], "LibriSpeech")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    utterances = {
        split: {name: one for part in parts for name, one in read_part(data_folder, part, dropped).items()}
        for split, parts in splits.items()
    }
    write_splits(manifests, utterances, data_root=data_folder)
    print(f"{describe_splits(utterances)}\n{dropped.summary()}")
    return utterances


def read_part(data_folder: Path, part: str, dropped: Dropped) -> dict[str, Utterance]:
    """The utterances of one part by name, which begins with the speaker's and the chapter's."""
    logger.info("reading %s", data_folder / part)
    named, recordings, supervisions = set(), [], []
    for line in _transcripts(data_folder / part):
        named.add(line.split()[0])
        parsed = _parse(data_folder / part, line, dropped)
        if parsed is not None:
            recordings.append(parsed[0])
            supervisions.append(parsed[1])
    for path in sorted((data_folder / part).rglob("*.flac")):
        if path.stem not in named:
            dropped.add("without a transcript", str(path))
    return utterances_of(recordings, supervisions, data_folder, dropped)


def _transcripts(folder: Path) -> Iterator[str]:
    """The lines of all chapters' transcripts."""
    for path in sorted(folder.rglob("*.trans.txt")):
        for number, line in read_text_lines(path):
            if len(line.split(maxsplit=1)) < 2:
                raise DataError(f"{path}: line {number} is not 'UTTERANCE WORDS': {line!r}")
            yield line


def _parse(folder: Path, line: str, dropped: Dropped) -> tuple[Recording, SupervisionSegment] | None:
    try:
        parsed = parse_utterance(folder, line, {})
    except (AudioLoadingError, OSError, RuntimeError) as error:
        dropped.add("with unreadable audio", f"{line.split()[0]}: {str(error).splitlines()[0]}")
        return None
    if parsed is None:
        dropped.add("without audio", line.split()[0])
    return parsed
