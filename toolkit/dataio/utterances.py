"""One utterance of any manifest, as a Lhotse cut."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import AudioSource, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.cut import Cut

from toolkit.dataio.containers import LENGTH_TOLERANCE_S, AudioInfo
from toolkit.errors import ManifestError


class UnknownRate(int):
    """A sampling rate (Hz) in the place of one that is not known."""


# Of cuts whose audio nobody will open, and whose manifest does not tell.
NOMINAL_RATE = UnknownRate(16000)


@dataclass(frozen=True)
class Utterance:
    """A stretch of audio and what is said in it.

    Attributes
    ----------
    name
        Its id.
    source, info
        The audio that it is a stretch of, and what is known of that.
    start, length
        Seconds; by default all.
    text, speaker, language
        Of its supervision.
    custom
        All other fields.
    """

    name: str
    source: AudioSource
    info: AudioInfo
    start: float = 0.0
    length: float | None = None
    text: str | None = None
    speaker: str | None = None
    language: str | None = None
    custom: Mapping[str, Any] | None = None

    def cut(self) -> MonoCut | MultiCut:
        """The utterance as a cut, a MultiCut where its audio has several channels.

        Raises
        ------
        ManifestError
            The audio ends before the utterance does, or that lasts no time.
        """
        name, info, length = self.name, self.info, self._length()
        channels = list(range(info.channels))
        source = self.source
        source.channels = channels
        recording = Recording(name, [source], info.sample_rate, info.num_samples, info.length)
        fields = {"text": self.text, "speaker": self.speaker, "language": self.language}
        channel = channels if info.channels > 1 else 0
        supervision = SupervisionSegment(name, name, 0.0, length, channel, **fields)
        kind = MultiCut if info.channels > 1 else MonoCut
        custom = dict(self.custom) if self.custom else None
        return kind(name, self.start, length, channel, [supervision], recording=recording, custom=custom)

    def _length(self) -> float:
        available = self.info.length - self.start
        if self.length is not None and not self.length > 0:
            raise ManifestError(f"utterance {self.name!r}: has {self.length} s; expected seconds above 0")
        if available <= 0:
            reached = f"begins at {self.start} s, but its audio has {self.info.length:.3f} s"
            raise ManifestError(f"utterance {self.name!r}: {reached}")
        if self.length is None or available == self.length:
            return available
        if self.length > available + LENGTH_TOLERANCE_S:
            wanted = f"{self.length} s from {self.start} s on" if self.start else f"{self.length} s"
            raise ManifestError(f"utterance {self.name!r}: has {wanted}, but its audio has {self.info.length:.3f} s")
        return min(self.length, available)


def transcript(cut: Cut) -> str:
    """What is said in a cut: the texts of its supervisions, which Lhotse keeps in any order, as they begin."""
    return " ".join(one.text for one in sorted(cut.supervisions, key=lambda one: one.start) if one.text)


def file_source(path: str | Path) -> AudioSource:
    """The audio of a file, as Lhotse reads it."""
    return AudioSource("file", [0], str(path))


def locate(path: str, folder: str | Path) -> str:
    """A file of the working folder under that path, else, where there is one, of ``folder``."""
    # Once for each example: pathlib would take as long as all the rest of building a cut.
    if os.path.isabs(path) or os.path.exists(path):  # noqa: PTH110, PTH117
        return path
    beside = os.path.join(folder, path)  # noqa: PTH118
    return beside if os.path.exists(beside) else path  # noqa: PTH110
