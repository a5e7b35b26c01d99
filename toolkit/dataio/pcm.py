"""Raw samples as they come out of a pipe: from a microphone, a call, another program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from toolkit.errors import AudioError

MOST_BYTES = 1 << 16  # read at once: two seconds at 16 kHz, where so many are waiting
BYTES = 2  # of a sample

# How files of containers begin: what is where.
MAGIC = (
    (0, b"RIFF", "WAV"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"ID3", "MP3"),
    (0, b"FORM", "AIFF"),
    (0, b"NIST", "SPHERE"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (4, b"ftyp", "MP4 or M4A"),
)
MAGIC_BYTES = 8


def read_pcm(stream: BinaryIO, rate: int, sample_rate: int) -> Iterator[NDArray[np.float32]]:
    """Pieces (S,) of audio at ``sample_rate``, as soon as 16-bit samples of one channel at ``rate`` Hz are there.

    Raises
    ------
    AudioError
        These are no raw samples but a file of some container, or end in the middle of one.
    """
    pieces = _samples(stream)
    return pieces if rate == sample_rate else _resampled(pieces, rate, sample_rate)


def _samples(stream: BinaryIO) -> Iterator[NDArray[np.float32]]:
    data, begin = b"", _beginning(stream)
    if container := container_of(begin):
        raise AudioError(f"the input is a {container} file: expected raw samples of 16 bits; name the file")
    for read in itertools.chain([begin] if begin else [], iter(lambda: stream.read1(MOST_BYTES), b"")):
        data += read
        whole = len(data) - len(data) % BYTES
        yield np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768
        data = data[whole:]
    if data:
        raise AudioError("the input ends in the middle of a sample: expected 16 bits each; it may be of another format")


def _beginning(stream: BinaryIO) -> bytes:
    """The first bytes, enough to know a container by; fewer where there are no more."""
    data = b""
    while len(data) < MAGIC_BYTES and (read := stream.read1(MOST_BYTES)):
        data += read
    return data


def container_of(data: bytes) -> str:
    """The container of which a file begins with these bytes; nothing of samples, or what is not known."""
    for place, magic, name in MAGIC:
        if data[place:].startswith(magic):
            return name
    return "MP3" if _is_mp3_frame(data) else ""


def _is_mp3_frame(data: bytes) -> bool:
    """Whether data begins as a frame of MPEG layer III: 11 bits of one, layer 1, no forbidden bit or sample rate."""
    if len(data) < 3 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return False
    return data[2] >> 4 not in (0, 15) and data[2] & 0x0C != 0x0C


def _resampled(pieces: Iterator[NDArray[np.float32]], rate: int, sample_rate: int) -> Iterator[NDArray[np.float32]]:
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    yield from map(resampler.resample_chunk, pieces)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
