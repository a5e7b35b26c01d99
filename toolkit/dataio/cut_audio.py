"""The waveforms of Lhotse cuts, with one clear error where there is none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse import AudioSource
from lhotse.audio.backend import (
    AudioBackend,
    get_current_audio_backend,
    get_default_audio_backend,
    set_current_audio_backend,
)
from lhotse.cut import Cut, MixedCut, MonoCut
from torch import Tensor
from torch.utils.data import get_worker_info

from toolkit.dataio.containers import LENGTH_TOLERANCE_S, AudioInfo, decode_audio, decode_into
from toolkit.dataio.tar_members import TarMember
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


def load_cuts(cuts: Sequence[Cut]) -> tuple[Tensor, Tensor]:
    """Waveforms (B, S) float32 of cuts, padded with zeros, and (B,) int64 samples of each.

    Raises
    ------
    AudioError
        Names the utterance, the file and the reason.
    """
    changed = {row: load_cut(cut).numpy() for row, cut in enumerate(cuts) if _plain_file(cut) is None}
    counts = [len(changed[row]) if row in changed else cut.num_samples for row, cut in enumerate(cuts)]

    def fill(row: int, samples: np.ndarray) -> None:
        if row in changed:
            samples[:] = changed[row]
        elif not _read_plain(cuts[row], samples):
            samples[:] = load_cut(cuts[row]).numpy()

    return _padded(counts, fill), torch.tensor(counts)


def _padded(counts: Sequence[int], fill: Callable[[int, np.ndarray], None]) -> Tensor:
    """(B, S) float32 of rows that ``fill`` fills; in a worker process, in the shared memory that it is sent by."""
    shape = len(counts), max(counts)
    if get_worker_info() is None or not hasattr(os, "memfd_create"):
        wavs = torch.zeros(shape)
        rows = wavs.numpy()
        for row, count in enumerate(counts):
            fill(row, rows[row, :count])
        return wavs
    scratch = np.empty(shape[1], np.float32)
    # Written like a file; to fill it in place takes half as long again, as the system has to step in at every page.
    with open(os.memfd_create("wavs"), "wb") as file:  # noqa: PTH123 (has no path)
        for row, count in enumerate(counts):
            fill(row, scratch[:count])
            file.seek(row * scratch.nbytes)
            file.write(scratch[:count])
        size = file.truncate(len(counts) * scratch.nbytes)
        storage = torch.UntypedStorage._new_shared_fd_cpu(file.fileno(), size)
    return torch.empty(0).set_(storage, 0, shape)


def _plain_file(cut: Cut) -> str | None:
    """The file of a cut that is a piece of one file of one channel and nothing more."""
    if not isinstance(cut, MonoCut) or not cut.has_recording or cut.recording.transforms:
        return None
    sources = cut.recording.sources
    single = len(sources) == 1 and sources[0].type == "file" and len(sources[0].channels) == 1
    return sources[0].source if single else None


def _read_plain(cut: MonoCut, samples: np.ndarray) -> bool:
    """Fill (S,) float32; False when the file is not exactly what the cut says, which Lhotse judges."""
    recording = cut.recording
    promised = AudioInfo(recording.sampling_rate, recording.num_samples)
    try:
        return decode_into(_plain_file(cut), promised, round(cut.start * cut.sampling_rate), samples)
    except AudioError as error:
        raise AudioError(f"utterance {cut.id!r}: {error}") from error


def load_cut(cut: Cut) -> Tensor:
    """Waveform (S,) float32 of a cut with all its transforms; channels are averaged.

    Raises
    ------
    AudioError
        Names the utterance, the file and the reason.
    """
    audio = torch.from_numpy(load_channels(cut))
    return audio[0] if len(audio) == 1 else audio.mean(dim=0)


def load_channels(cut: Cut) -> np.ndarray:
    """Samples (C, S) float32 of a cut with all its transforms; errors as of :func:`load_cut`."""
    try:
        with our_reading():
            return cut.load_audio()
    except Exception as error:  # Lhotse raises whatever its readers and transforms raise
        raise _explain(cut, error) from error


def _explain(cut: Cut, error: Exception) -> AudioError:
    """The first file of the cut that cannot be read, else what Lhotse said of it."""
    sources = list(_sources(cut))
    for source in sources:
        try:
            if isinstance(source, TarMember):
                source.check()
            elif source.type == "file":
                decode_audio(source.source)
        except AudioError as reason:
            return AudioError(f"utterance {cut.id!r}: {reason}")
    places = ", ".join(map(where, sources))
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return AudioError(f"utterance {cut.id!r}: {places}: not what the manifest says: {reason}")


def bytes_in_memory(example: Any) -> int:
    """Bytes of audio that an example carries with it: a cut, or a conversation with audio turns."""
    cuts = [example] if isinstance(example, Cut) else example.list_cuts() if hasattr(example, "list_cuts") else []
    sources = (source for cut in cuts for source in _sources(cut) if source.type == "memory")
    return sum(len(source.source) for source in sources if isinstance(source.source, bytes))


def audio_paths(cut: Cut) -> Iterator[Path]:
    """The files that the audio of a cut is of, or in."""
    return (Path(source.source) for source in _sources(cut) if isinstance(source.source, (str, Path)))


def where(source: AudioSource) -> str:
    """The file, or the member of a tar, for messages."""
    if isinstance(source, TarMember):
        return source.where
    return source.source if isinstance(source.source, str) else "audio in memory"


def _sources(cut: Cut) -> Iterator[AudioSource]:
    for part in [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]:
        if isinstance(part, MixedCut):
            yield from _sources(part)
        elif getattr(part, "recording", None) is not None:  # padding says that it has one
            yield from part.recording.sources
