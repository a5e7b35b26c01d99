"""What a process does that decodes files: it may be killed at any time, and its memory is limited."""

from __future__ import annotations

import resource
from pathlib import Path

from toolkit.dataio.audio import read_audio
from toolkit.dataio.containers import header_seconds
from toolkit.errors import AudioError, NotAudioError
from toolkit.serving.children import Parent
from toolkit.serving.decoding import Decoding
from toolkit.serving.service_errors import (
    BusyError,
    InvalidInputError,
    ServiceError,
    TooLargeError,
    UnsupportedMediaError,
)

# Ten seconds of 64 channels at 192 kHz, as FFmpeg has them and as they are averaged, are 1 GB.
MORE_BYTES = 2 << 30
STATM = Path("/proc/self/statm")


def main(parent: Parent) -> None:
    """Decode files until the service ends."""
    limit_memory(MORE_BYTES)
    while True:
        parent.send(answered(parent.receive()))


def answered(decoding: Decoding) -> int | ServiceError:
    """The samples of a file, which were written; or why not, in words that name nothing of the server's."""
    try:
        return decode(decoding)
    except ServiceError as error:
        return error
    except AudioError as error:
        kind = UnsupportedMediaError if isinstance(error, NotAudioError) else InvalidInputError
        return kind(str(error).replace(str(decoding.file), decoding.name), param="file")
    except MemoryError:
        return InvalidInputError(f"{decoding.name}: needs too much memory to decode", param="file")


def decode(decoding: Decoding) -> int:
    """Write the samples of a file, and count them."""
    most, samples = decoding.most_s * decoding.sample_rate, 0
    if header_seconds(decoding.file) > decoding.most_s:
        raise _too_long(decoding)
    with decoding.samples.open("wb") as file:
        for block in read_audio(decoding.file, decoding.sample_rate, channel=decoding.channel):
            samples += len(block)
            if samples > most:
                raise _too_long(decoding)
            if samples * block.element_size() > decoding.room_bytes:
                raise BusyError(f"{decoding.name}: its samples find no room on the server's disk", retry_after=30)
            file.write(block.numpy().data)
    return samples


def limit_memory(more: int) -> None:
    """Let this process have so many more bytes, and no more; an allocation beyond is a MemoryError."""
    if not STATM.exists():  # only Linux tells what there is so far
        return
    pages = int(STATM.read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, resource.RLIM_INFINITY))


def _too_long(decoding: Decoding) -> TooLargeError:
    return TooLargeError(
        f"{decoding.name}: longer than the {decoding.most_s:g} seconds of audio that a request may have; cut it",
        param="file",
    )
