"""Decodes Opus in WebM or Ogg from standard input to raw samples on standard output, as it comes.

A program, so that bytes that bring FFmpeg down, or astray, end one session and nothing else: it may neither compute for
long nor take much memory nor write a file. It fails where there is nothing that it can decode.
"""

from __future__ import annotations

import itertools
import os
import resource
import sys

EBML, OGG = b"\x1aE\xdf\xa3", b"OggS"  # how WebM and Ogg begin
MEMORY_BYTES = 1 << 30  # of address space; decoding takes 0.3 GiB of it, mostly libraries
COMPUTING_S = 600  # Opus of four hours takes 30 s

READ_BYTES = 4096  # at most at once: half a second; FFmpeg waits until there are so many only where it is told nothing
# FFmpeg begins with the first packet, instead of looking at seconds of audio first.
OPTIONS = {"probesize": "32", "analyzeduration": "0", "fflags": "nobuffer"}


class _Input:
    """Standard input with the bytes that were looked at; reads what there is."""

    def __init__(self) -> None:
        self.begin = b""
        while len(self.begin) < len(EBML) and (data := os.read(0, len(EBML) - len(self.begin))):
            self.begin += data
        self._looked_at = self.begin

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        found, self._looked_at = self._looked_at, b""
        return found or os.read(0, size)


def main(sample_rate: int) -> None:
    """Decode until the input ends."""
    import av

    confine()
    source = _Input()
    if source.begin not in (EBML, OGG):
        raise ValueError("neither WebM nor Ogg")
    name = "matroska" if source.begin == EBML else "ogg"
    resampler = av.AudioResampler(format="s16", layout="mono", rate=sample_rate)
    with av.open(source, format=name, buffer_size=READ_BYTES, options=OPTIONS) as container:
        for frame in itertools.chain(container.decode(audio=0), [None]):
            for samples in resampler.resample(frame):
                _write(bytes(samples.planes[0])[: 2 * samples.samples])


def confine() -> None:
    """Take away from this process what decoding does not need."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (COMPUTING_S, COMPUTING_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
