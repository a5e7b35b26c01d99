"""The largest batch of each bucket that fits in memory, found by trying.

The idea is that of NeMo's OOMptimizer: the training step itself, on batches of a bucket's longest utterance. Where the
memory that a step took is known, and not only that it was too much, a line through measurements says what to try next:
two or three tries find what bisection finds in a dozen, and few of them are too large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from toolkit.dataio.extremes import Extreme
from toolkit.errors import ConfigError

TOLERANCE = 0.05  # of a size; NeMo's, too

# From so many examples to the bytes that a step with them took; None where it failed for want of memory.
Measure = Callable[[int], int | None]

# Growth of a size that was never tried, where a line says that it fits.
_LEAP = 4


@dataclass
class Line:
    """Bytes by size, through the smallest measurement and the last one, which are far enough apart to bear noise.

    Where there is but one, or more takes less, it says nothing.
    """

    smallest: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    def add(self, size: int, peak: int) -> None:
        """Note a measurement."""
        self.last = size, peak
        self.smallest = min(self.smallest or self.last, self.last)

    @property
    def slope(self) -> float:
        """Bytes an example; 0.0 where it is not known."""
        if self.last is None or self.last[0] == self.smallest[0]:
            return 0.0
        return max(0.0, (self.last[1] - self.smallest[1]) / (self.last[0] - self.smallest[0]))

    def fitting(self, memory: int) -> int | None:
        """The largest size that takes so many bytes."""
        return int(self.last[0] + (memory - self.last[1]) / self.slope) if self.slope else None

    @property
    def base(self) -> int:
        """Bytes without any example."""
        return int(self.last[1] - self.last[0] * self.slope)


def largest_batches(
    extremes: Sequence[Extreme], measure: Callable[[Extreme, int], int | None], memory: int, seconds: float
) -> Iterator[tuple[int, int]]:
    """The place of a bucket among ``extremes`` and its largest batch, for each, from the longest to the shortest.

    Parameters
    ----------
    measure
        Bytes that a step takes with so many examples of a bucket; None where it fails for want of memory.
    memory
        Bytes that a step may take.
    seconds
        Of a batch to begin with.

    Raises
    ------
    ConfigError
        One example of a bucket is too much.
    """
    found: dict[int, int] = {}
    line = Line()
    for place in sorted(range(len(extremes)), key=lambda place: -extremes[place].seconds):
        extreme = extremes[place]
        # What fits of longer ones fits of these; and without any, a step takes the same.
        low = max((size for other, size in found.items() if extremes[other].dominates(extreme)), default=0)
        line = Line(smallest=(0, line.base)) if line.slope else Line()
        first = int(seconds / extreme.seconds)
        size = search(lambda size, of=extreme: measure(of, size), memory, line, (low, first, extreme.count))
        if not size:
            raise ConfigError(
                f"a single utterance of {extreme.seconds:g} s and {extreme.tokens} tokens does not fit in "
                f"{memory / 2**30:.3g} GB; give more memory, leave it out with max_duration, or train a smaller model"
            )
        found[place] = size
        seconds = (1 - TOLERANCE) * size * extreme.seconds
        yield place, size


def search(measure: Measure, memory: int, line: Line, sizes: tuple[int, int, int]) -> int:
    """The largest size that takes at most ``memory``, to `TOLERANCE` of it.

    Parameters
    ----------
    line
        What is known; measurements are added.
    sizes
        One that fits, or 0; the one to try first; and the largest of interest.
    """
    low, size, most = sizes
    high = max(low, most) + 1
    while high - low > 1:
        size = min(max(size, low + 1), high - 1)
        peak = measure(size)
        if peak is not None:
            line.add(size, peak)
        fits = peak is not None and peak <= memory
        low, high = (size, high) if fits else (low, size)
        step = max(1, int(TOLERANCE * low))
        likely = line.fitting(memory)
        if low and (high - low <= step or (likely is not None and likely < low + step)):
            break
        size = _next(likely, low, high, failed=high <= most)
    return low


def _next(likely: int | None, low: int, high: int, *, failed: bool) -> int:
    """The size to try, between one that fits and one that does not, or is too large to be of interest."""
    if likely is not None and not failed:
        return min(likely, _LEAP * low)
    if likely is not None and likely < high:
        return likely
    return (low + high) // 2 if failed else 2 * low
