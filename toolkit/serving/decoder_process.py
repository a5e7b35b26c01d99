"""What a process does that decodes files: it may be killed at any time, and its memory is limited."""

from __future__ import annotations

import logging
import resource
from pathlib import Path

from toolkit.dataio.audio import read_audio
from toolkit.dataio.containers import header_seconds
from toolkit.errors import AudioError, NotAudioError
from toolkit.serving.children import Parent
from toolkit.serving.decoding import Decoding, Header
from toolkit.serving.service_errors import (
    BusyError,
    InvalidInputError,
    ServiceError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
)

logger = logging.getLogger(__name__)

# Ten seconds of 64 channels at 192 kHz, as FFmpeg has them and as they are averaged, are 1 GB.
MORE_BYTES = 2 << 30
STATM = Path("/proc/self/statm")


def main(parent: Parent) -> None:
    """Decode files until the service ends."""
    limit_memory(MORE_BYTES)
    while True:
        parent.send(answered(parent.receive()))


def answered(asked: Header | Decoding) -> float | ServiceError:
    """Seconds of a file, or its samples, which were written; or why not, in words that name nothing of the server's."""
    try:
        return seconds_of(asked) if isinstance(asked, Header) else decode(asked)
    except ServiceError as error:
        return error
    except AudioError as error:
        kind = UnsupportedMediaError if isinstance(error, NotAudioError) else InvalidInputError
        return kind(str(error).replace(str(asked.file), asked.name), param="file")
    except MemoryError:
        return InvalidInputError(f"{asked.name}: needs too much memory to decode", param="file")
    except OSError as error:
        logger.error("samples cannot be written: %s", error.strerror)
        return UnavailableError(f"{asked.name}: the service has no room for it at the moment")


def seconds_of(asked: Header) -> float:
    """How many seconds a file says that it has."""
    seconds = header_seconds(asked.file)
    if seconds > asked.most_s:
        raise _too_long(asked)
    return seconds


def decode(decoding: Decoding) -> int:
    """Write the samples of a file, and count them."""
    most, samples = decoding.most_s * decoding.sample_rate, 0
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


def _too_long(asked: Header | Decoding) -> TooLargeError:
    return TooLargeError(
        f"{asked.name}: longer than the {asked.most_s:g} seconds of audio that a request may have; cut it",
        param="file",
    )
