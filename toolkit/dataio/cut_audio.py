"""The waveform of a Lhotse cut, with one clear error where there is none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse.audio.backend import (
    AudioBackend,
    get_current_audio_backend,
    get_default_audio_backend,
    set_current_audio_backend,
)
from lhotse.cut import Cut, MixedCut
from torch import Tensor

from toolkit.dataio.containers import LENGTH_TOLERANCE_S, decode_audio
from toolkit.errors import AudioError


class ContainerBackend(AudioBackend):
    """Lhotse reads files as :mod:`toolkit.dataio.containers` does.

    Lhotse's own choice needs the program sph2pipe for .sph files, which libsndfile reads, and tries libraries that
    torchaudio 2.11 no longer has.
    """

    def read_audio(
        self,
        path_or_fd: Any,
        offset: float = 0.0,
        duration: float | None = None,
        force_opus_sampling_rate: int | None = None,
    ) -> tuple[np.ndarray, int]:
        """Samples (C, S) and their rate."""
        if isinstance(path_or_fd, (str, Path)):
            return decode_audio(path_or_fd, offset, duration)
        return get_default_audio_backend().read_audio(path_or_fd, offset, duration, force_opus_sampling_rate)


@contextlib.contextmanager
def our_reading() -> Iterator[None]:
    """Lhotse reads by :class:`ContainerBackend`, and to the manifest's length, inside; as before outside.

    By default Lhotse fills up to half a second of missing audio with the end of the speech played backwards.
    """
    backend, tolerance = get_current_audio_backend(), os.environ.get(_TOLERANCE)
    set_current_audio_backend(ContainerBackend())
    os.environ.setdefault(_TOLERANCE, str(LENGTH_TOLERANCE_S))
    try:
        yield
    finally:
        set_current_audio_backend(backend)
        if tolerance is None:
            del os.environ[_TOLERANCE]


# Lhotse's other way to set it warns, and writes to the log at every call.
_TOLERANCE = "LHOTSE_AUDIO_DURATION_MISMATCH_TOLERANCE"


def load_cut(cut: Cut) -> Tensor:
    """Waveform (S,) float32 of a cut with all its transforms; channels are averaged.

    Raises
    ------
    AudioError
        Names the utterance, the file and the reason.
    """
    try:
        with our_reading():
            audio = torch.from_numpy(cut.load_audio())
            return audio[0] if len(audio) == 1 else audio.mean(dim=0)
    except Exception as error:  # Lhotse raises whatever its readers and transforms raise
        raise _explain(cut, error) from error


def _explain(cut: Cut, error: Exception) -> AudioError:
    """The first file of the cut that cannot be read, else what Lhotse said of it."""
    paths = list(_paths(cut))
    for path in paths:
        try:
            decode_audio(path)
        except AudioError as reason:
            return AudioError(f"utterance {cut.id!r}: {reason}")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return AudioError(f"utterance {cut.id!r}: {', '.join(map(str, paths))}: not what the manifest says: {reason}")


def _paths(cut: Cut) -> Iterator[Path]:
    for part in [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]:
        if isinstance(part, MixedCut):
            yield from _paths(part)
        elif part.has_recording:
            yield from (Path(source.source) for source in part.recording.sources if source.type == "file")
