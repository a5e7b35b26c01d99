"""Kaldi's data folders, as cuts.

::

    wav.scp     rec-1 audio/rec-1.flac              # or, without segments, utt-1 audio/utt-1.flac
                rec-2 sph2pipe -f wav rec-2.sph |   # not run: the file is read; see toolkit.dataio.kaldi_commands
    segments    utt-1 rec-1 0.50 2.75               # optional; seconds; an end of -1 is the end of the recording
    text        utt-1 HELLO WORLD
    utt2spk     utt-1 speaker-1                     # optional, as are utt2lang and reco2dur
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from pathlib import Path

import numpy as np
from lhotse.cut import Cut

from toolkit.dataio.containers import AudioInfo, read_header
from toolkit.dataio.indexed import Lines
from toolkit.dataio.kaldi_commands import decoded_file
from toolkit.dataio.line_index import LineIndex
from toolkit.dataio.utterances import NOMINAL_RATE, Utterance, file_source, locate
from toolkit.errors import ManifestError

# Utterances of one recording often follow each other.
_header = functools.lru_cache(maxsize=1024)(read_header)


class Table:
    """A file of lines ``key value``, of which any can be looked up."""

    def __init__(self, path: Path) -> None:
        self.lines = LineIndex.of(path, _digest, name="kaldi keys")
        self.order = np.argsort(self.lines.lengths, kind="stable")
        self.digests = self.lines.lengths[self.order]

    @classmethod
    def optional(cls, path: Path) -> Table | None:
        """The table, if there is such a file."""
        return cls(path) if path.is_file() else None

    def get(self, key: str) -> str | None:
        """The value of a key; None where it has none."""
        first, last = np.searchsorted(self.digests, _digest(key.encode()), "left"), len(self.order)
        for place in range(first, last):
            found, _, value = self.lines.read(self.order[place]).decode().strip().partition(" ")
            if found == key:
                return value.strip()
            if self.digests[place] != self.digests[first]:
                break
        return None

    def require(self, key: str) -> str:
        """The value of a key that has to have one.

        Raises
        ------
        ManifestError
            It has none.
        """
        value = self.get(key)
        if value is None:
            raise ManifestError(f"{self.lines.path}: has no line for {key!r}")
        return value


def _digest(line: bytes) -> float | None:
    """A number for the key of a line, which float64 holds exactly; the same in every process."""
    key = line.split(maxsplit=1)[:1]
    if not key:
        return None
    return float(int.from_bytes(hashlib.blake2b(key[0], digest_size=6).digest(), "big"))


class KaldiFolder(Lines):
    """The utterances of a folder: of ``segments``, or without that of ``wav.scp``.

    Raises
    ------
    ManifestError
        A line is damaged, or names what other files do not know; or audio comes from an archive, or from a command that
        does more than decode a file. None is ever run.
    """

    def __init__(self, folder: str | Path, *, metadata_only: bool = False) -> None:
        self.folder, self.metadata_only = Path(folder), metadata_only
        self.segmented = (self.folder / "segments").is_file()
        self.wavs = Table(self.folder / "wav.scp")
        self.texts, self.speakers, self.languages, self.seconds = (
            Table.optional(self.folder / name) for name in ("text", "utt2spk", "utt2lang", "reco2dur")
        )
        driving = self.folder / ("segments" if self.segmented else "wav.scp")
        super().__init__(LineIndex.of(driving, self._measure, name="kaldi seconds"), self._build)

    def _measure(self, line: bytes) -> float | None:
        if not line.strip():
            return None
        name, recording, start, end = self._parse(line)
        self._find(recording)
        if self.texts is not None:
            self.texts.require(name)
        length = (self._recorded(recording) if end is None else end) - start
        if not (start >= 0 and 0 < length < math.inf):
            raise ValueError(f"from {start} s on it has {length} s; expected seconds above 0")
        return length

    def _parse(self, line: bytes) -> tuple[str, str, float, float | None]:
        """Utterance, recording, start and end."""
        words = line.decode().split()
        if not self.segmented:
            return words[0], words[0], 0.0, None
        if len(words) != 4:
            raise ValueError(f"{len(words)} fields; expected utterance, recording, start and end")
        end = float(words[3])
        return words[0], words[1], float(words[2]), None if end == -1 else end

    def _find(self, recording: str) -> str:
        """The audio file of a recording."""
        said = self.wavs.require(recording)
        where = f"{self.wavs.lines.path}: the audio of {recording!r}"
        if re.search(r"\.ark:\d+$", said):
            raise ManifestError(f"{where} is in an archive of Kaldi's ({said}); write files, and name those")
        if not said.startswith("|") and not said.endswith("|"):
            return locate(said, self.folder)
        decoded = decoded_file(said)
        if decoded is None:
            raise ManifestError(
                f"{where} comes from a command ({said}) that does more than decode a file, and commands in data are "
                "not run; run them once, and name the files they write"
            )
        path = locate(decoded.path, self.folder)
        if decoded.chooses_channel and not self.metadata_only and _header(path).channels > 1:
            raise ManifestError(f"{where} is one of several channels ({said}); write it to a file, and name that")
        return path

    def _recorded(self, recording: str) -> float:
        said = self.seconds.get(recording) if self.seconds is not None else None
        return _header(self._find(recording)).length if said is None else float(said)

    def _build(self, line: bytes) -> Cut:
        name, recording, start, end = self._parse(line)
        path = self._find(recording)
        if self.metadata_only:
            seconds = self._recorded(recording) if end is None else end
            info = AudioInfo(NOMINAL_RATE, round(seconds * NOMINAL_RATE))
        else:
            info = _header(path)
        length = None if end is None else end - start
        text, speaker, language = (
            None if table is None else table.get(name) for table in (self.texts, self.speakers, self.languages)
        )
        return Utterance(name, file_source(path), info, start, length, text, speaker, language).cut()
