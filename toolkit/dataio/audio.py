"""Audio of any kind as the waveforms that models expect: one channel, one sample rate, block by block or whole."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import soxr
import torch
from torch import Tensor

from toolkit.dataio.containers import decode_blocks
from toolkit.errors import AudioError

logger = logging.getLogger(__name__)

# A file by its path, what is in one, or samples (S,) or (C, S), as numbers in [-1, 1] or of 8, 16 or 32 bits.
Audio: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | np.ndarray | Tensor"

RATES = range(1000, 768001)  # Hz; telephones have 8000, studios 96000
MANY_CHANNELS = 64  # of an array that has fewer samples: it is (S, C)
FULL_SCALE = 1 - 2**-14  # the two largest values of 16 bits
CLIPPED_SHARE = 0.001  # of the samples at full scale: single peaks are fewer, a voice that was too loud has more
CANCELLED_SHARE = 0.001  # of the power of channels left in their mean, or less: one is the other, inverted
LOUDEST = 100.0  # beyond are whole numbers that were not scaled


def load_audio(
    audio: Audio, sample_rate: int = 16000, *, given_rate: int | None = None, channel: int | None = None
) -> Tensor:
    """Waveform (S,) float32 of any audio: the blocks of `read_audio`, whose options and errors it has, joined."""
    return torch.cat(list(read_audio(audio, sample_rate, given_rate=given_rate, channel=channel)))


def read_audio(
    audio: Audio, sample_rate: int = 16000, *, given_rate: int | None = None, channel: int | None = None
) -> Iterator[Tensor]:
    """Blocks (S,) float32 of audio, each of some seconds; of a file only one is in memory.

    Parameters
    ----------
    audio
        A file of any container, rate and channel count: its path, what is in it, or the file opened for reading bytes;
        or samples (S,) or (C, S).
    sample_rate
        Of the blocks, in Hz.
    given_rate
        Of ``audio`` where that is samples; by default the same.
    channel
        Which one to take, from 0 on; by default their mean, which keeps the level of a voice that is on all of them.

    Raises
    ------
    AudioError
        Names the file and why: missing, empty, not audio, zero samples, cut off, not numbers, or without that channel.
    """
    with _as_source(audio) as (source, name):
        if isinstance(source, Path):
            decoded = decode_blocks(source)
        else:
            decoded = iter([(_as_channels(source, name), sample_rate if given_rate is None else given_rate)])
        try:
            yield from _resampled(_watched(_mixed(decoded, channel, name), name), sample_rate, name)
        except AudioError as error:
            raise type(error)(str(error).replace(f"{source}:", f"{name}:", 1)) from error


def name_of(audio: Audio) -> str:
    """The path of audio that has one; else nothing."""
    return os.fspath(audio) if isinstance(audio, (str, os.PathLike)) else ""


@contextlib.contextmanager
def _as_source(audio: Audio) -> Iterator[tuple[Path | np.ndarray, str]]:
    """Audio as a path or an array, and what to call it in messages; bytes are put into a file."""
    if isinstance(audio, (str, os.PathLike)):
        yield Path(audio), os.fspath(audio)
    elif isinstance(audio, Tensor):
        yield audio.detach().cpu().numpy(), "waveform"
    elif isinstance(audio, np.ndarray):
        yield audio, "waveform"
    else:
        # both decoders, and the checks of what is cut off, go to and fro in a file
        with tempfile.NamedTemporaryFile(prefix="audio-") as file:
            _copy(audio, file)
            file.flush()
            yield Path(file.name), str(getattr(audio, "name", "")) or f"{type(audio).__name__} of audio"


def _copy(audio: bytes | BinaryIO, file: BinaryIO) -> None:
    if isinstance(audio, (bytes, bytearray, memoryview)):
        file.write(audio)
    elif isinstance(audio, io.TextIOBase):
        raise AudioError(f"{getattr(audio, 'name', 'a file')}: is opened for text; open it with mode 'rb'")
    elif hasattr(audio, "read"):
        shutil.copyfileobj(audio, file)
        if not file.tell() and audio.seekable() and audio.tell():
            raise AudioError(f"{getattr(audio, 'name', 'a file')}: was read to its end before; call its seek(0)")
    else:
        raise AudioError(
            f"{type(audio).__name__}: expected the path of a file, its bytes, the file opened for reading, or an array"
        )


def _as_channels(samples: np.ndarray, name: str) -> np.ndarray:
    """Samples (C, S) float32 in [-1, 1] of an array; integers are scaled."""
    rows = samples[None] if samples.ndim == 1 else samples
    if rows.ndim != 2 or not rows.shape[0] or rows.shape[0] > max(MANY_CHANNELS, rows.shape[1]):
        raise AudioError(f"{name}: expected samples (S,) or (channels, S), got an array of shape {samples.shape}")
    if rows.dtype.kind == "f":
        if not np.isfinite(rows).all():
            raise AudioError(f"{name}: holds samples that are not finite numbers")
        if np.abs(rows).max(initial=0.0) > LOUDEST:
            raise AudioError(f"{name}: samples of {np.abs(rows).max():g}; expected [-1, 1]: divide by 32768 or so")
        return rows.astype(np.float32, copy=False)
    if rows.dtype.newbyteorder("=") not in (np.uint8, np.int16, np.int32):
        raise AudioError(f"{name}: samples of type {rows.dtype}; expected floating point, int16, int32 or uint8")
    shift = 128 if rows.dtype == np.uint8 else 0
    return (rows.astype(np.float32) - shift) / 2.0 ** (8 * rows.dtype.itemsize - 1)


def _mixed(
    blocks: Iterator[tuple[np.ndarray, int]], channel: int | None, name: str
) -> Iterator[tuple[np.ndarray, int]]:
    """One channel (S,) of blocks (C, S): the one that is asked for, or their mean, with a warning if little is left."""
    power = left = 0.0
    for samples, rate in blocks:
        if channel is not None and not 0 <= channel < len(samples):
            raise AudioError(f"{name}: has no channel {channel}, only 0 to {len(samples) - 1}")
        if channel is not None or len(samples) == 1:
            yield samples[channel or 0], rate
            continue
        mean = samples.mean(axis=0)
        power += float(np.square(samples).sum()) / len(samples)
        left += float(np.square(mean).sum()) * len(samples)  # of channels that have nothing in common, all
        yield mean, rate
    if left < CANCELLED_SHARE * power:
        message = "%s: its channels cancel each other out, words may be lost; choose one (--channel 0, or channel=0)"
        logger.warning(message, name)


def _watched(blocks: Iterator[tuple[np.ndarray, int]], name: str) -> Iterator[tuple[np.ndarray, int]]:
    """The blocks, and a warning at their end when too many samples (S,) are at full scale."""
    loud = count = 0
    for samples, rate in blocks:
        loud += at_full_scale(samples)
        count += len(samples)
        yield samples, rate
    warn_of_clipping(name, loud, count)


def at_full_scale(samples: np.ndarray) -> int:
    """How many of the samples (S,) are as large as samples can be."""
    return np.count_nonzero(np.abs(samples) >= FULL_SCALE)


def warn_of_clipping(name: str, loud: int, count: int) -> None:
    """Warn when too many of all samples of an audio are at full scale."""
    if loud > CLIPPED_SHARE * count:
        logger.warning(
            "%s: clipped: %.1f %% of its samples are at full scale, words may be lost", name, 100 * loud / count
        )


def _resampled(blocks: Iterator[tuple[np.ndarray, int]], sample_rate: int, name: str) -> Iterator[Tensor]:
    """Blocks (S,) at another rate, as if they were resampled at once."""
    resampler = None
    for samples, rate in blocks:
        if rate not in RATES:
            raise AudioError(f"{name}: a sample rate of {rate} Hz; expected {RATES.start} to {RATES.stop - 1}")
        if rate != sample_rate:
            resampler = resampler or soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
            samples = resampler.resample_chunk(np.ascontiguousarray(samples))
        yield torch.from_numpy(np.ascontiguousarray(samples))
    if resampler is not None:
        yield torch.from_numpy(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
