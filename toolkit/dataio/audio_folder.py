"""A folder of audio files and their transcripts, as cuts.

``a/b.flac`` is the utterance ``a/b``. Its words are in ``a/b.txt``, or as LibriSpeech has them in a ``*.trans.txt`` of
lines ``b HELLO WORLD`` beside it; it has none where there is neither.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lhotse.cut import Cut

from toolkit.dataio.containers import AUDIO_SUFFIXES, read_header
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.utterances import Utterance, file_source
from toolkit.errors import ConfigError, DataError, ManifestError


class AudioFolder(Indexed[Cut]):
    """The utterances below a folder, sorted by name.

    The header of each file is read at once, its transcript when it is asked for.

    Raises
    ------
    ConfigError
        There is no such folder.
    DataError
        It holds no audio.
    AudioError
        A file is not audio.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ConfigError(f"{folder}: no such folder")
        self.paths = sorted(path for path in self.folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        if not self.paths:
            raise DataError(f"{folder}: holds no audio file ({', '.join(AUDIO_SUFFIXES)})")
        self.headers = [read_header(path) for path in self.paths]
        self.lengths = np.array([header.length for header in self.headers])
        self.transcripts = {
            (listed.parent, line.split(maxsplit=1)[0]): line.partition(" ")[2].strip()
            for listed in self.folder.rglob("*.trans.txt")
            for line in _text(listed).splitlines()
            if line.strip()
        }

    def __getitem__(self, number: int) -> Cut:
        path = self.paths[number]
        name = path.relative_to(self.folder).with_suffix("").as_posix()
        beside = path.with_suffix(".txt")
        text = self.transcripts.get((path.parent, path.stem))
        if text is None and beside.is_file():
            text = " ".join(_text(beside).split())
        return Utterance(name, file_source(path), self.headers[number], text=text).cut()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
