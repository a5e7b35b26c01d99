"""Raw samples as they come out of a pipe: from a microphone, a call, another program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from toolkit.errors import AudioError

MOST_BYTES = 1 << 16  # read at once: two seconds at 16 kHz, where so many are waiting
BYTES = 2  # of a sample
MAGIC = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3\x03": "MP3", b"ID3\x04": "MP3"}


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
    data = b""
    for place, read in enumerate(iter(lambda: stream.read1(MOST_BYTES), b"")):
        if place == 0 and read[:4] in MAGIC:
            raise AudioError(f"the input is a {MAGIC[read[:4]]} file: expected raw samples of 16 bits; name the file")
        data += read
        whole = len(data) - len(data) % BYTES
        yield np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768
        data = data[whole:]
    if data:
        raise AudioError("the input ends in the middle of a sample: expected 16 bits each; it may be of another format")


def _resampled(pieces: Iterator[NDArray[np.float32]], rate: int, sample_rate: int) -> Iterator[NDArray[np.float32]]:
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    yield from map(resampler.resample_chunk, pieces)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
