"""Every utterance of a data set opened and decoded, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from lhotse import AudioSource
from lhotse.cut import Cut, MixedCut

from toolkit.dataio.containers import LENGTH_TOLERANCE_S, AudioInfo, probe_audio, read_header_of_bytes
from toolkit.dataio.corpus import Attempt, attempts, leave_quietly
from toolkit.dataio.cut_audio import load_channels, where
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.manifest_writers import said
from toolkit.dataio.tar_members import TarMember
from toolkit.errors import AudioError, DataError

# Kinds of problems, the worst first.
UNREADABLE = "audio that cannot be read"
DAMAGED = "entries that are damaged or contradict themselves"
LENGTH = "audio that is not as long as the manifest says"
FORMAT = "audio of another sample rate or number of channels than the manifest says"
SILENT = "audio that is all zeros"
UNTRANSCRIBED = "utterances without a transcript"
REPEATED = "ids that appear again"
KINDS = (UNREADABLE, DAMAGED, LENGTH, FORMAT, SILENT, UNTRANSCRIBED, REPEATED)

_KEPT = 1000  # problems of a kind that are remembered; all are counted
_CHUNK = 32  # utterances that a process looks at before it reports


@dataclass(frozen=True)
class Problem:
    """What is wrong with an utterance, and how bad that is beside others of its kind."""

    kind: str
    message: str
    size: float = 0.0


@dataclass(frozen=True)
class Finding:
    """An utterance: its id and rate where they are known, and its problems."""

    name: str | None = None
    rate: int | None = None
    seconds: float = 0.0
    problems: tuple[Problem, ...] = ()


def inspect_utterance(build: Attempt) -> Finding:
    """What is wrong with the utterance that ``build`` builds."""
    try:
        cut = build()
    except AudioError as error:
        return Finding(problems=(Problem(UNREADABLE, str(error)),))
    except DataError as error:
        return Finding(problems=(Problem(DAMAGED, str(error)),))
    problems = [*_problems_of_audio(cut)]
    if not said(cut):
        problems.append(Problem(UNTRANSCRIBED, f"utterance {cut.id!r}"))
    return Finding(cut.id, cut.sampling_rate, cut.duration, tuple(problems))


def _problems_of_audio(cut: Cut) -> Iterator[Problem]:
    """The first that is wrong with headers, else with samples."""
    try:
        headers = list(_problems_of_headers(cut))
        yield from headers
        if not headers and not load_channels(cut).any():
            yield Problem(SILENT, f"utterance {cut.id!r}: {cut.duration:.2f} s", cut.duration)
    except AudioError as error:
        message = str(error) if repr(cut.id) in str(error) else f"utterance {cut.id!r}: {error}"
        yield Problem(UNREADABLE, message)


def _problems_of_headers(cut: Cut) -> Iterator[Problem]:
    for part in [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]:
        recording = part.recording if part.has_recording else None
        if recording is None or len(recording.sources) != 1 or recording.transforms:
            continue  # what Lhotse makes of several files, or of a changed one, is heard only
        promised = AudioInfo(recording.sampling_rate, recording.num_samples, recording.num_channels)
        there = _header(recording.sources[0])
        if there is not None:
            yield from _differences(f"utterance {cut.id!r}: {where(recording.sources[0])}", promised, there)


def _differences(place: str, promised: AudioInfo, there: AudioInfo) -> Iterator[Problem]:
    if there.sample_rate != promised.sample_rate:
        yield Problem(FORMAT, f"{place}: {there.sample_rate} Hz, the manifest says {promised.sample_rate} Hz")
    elif there.channels != promised.channels:
        yield Problem(FORMAT, f"{place}: {there.channels} channels, the manifest says {promised.channels}")
    gap = abs(there.length - promised.length)
    if gap > LENGTH_TOLERANCE_S:
        yield Problem(LENGTH, f"{place}: {there.length:.3f} s, the manifest says {promised.length:.3f} s", gap)


def _header(source: AudioSource) -> AudioInfo | None:
    if isinstance(source, TarMember):
        return source.probe()
    if source.type == "memory":
        return read_header_of_bytes(source.source, "audio in memory")
    return probe_audio(source.source) if source.type == "file" else None


@dataclass
class Inspection:
    """What was found wrong with all utterances so far; it grows by a number an utterance."""

    utterances: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    rates: Counter[int] = field(default_factory=Counter)
    worst: dict[str, list[Problem]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    _names: set[int] = field(default_factory=set)

    def add(self, finding: Finding) -> None:
        """Count an utterance."""
        self.utterances += 1
        self.seconds += finding.seconds
        for problem in finding.problems:
            self._add(problem)
        if finding.name is not None:
            self.rates[finding.rate] += 1
            if hash(finding.name) in self._names:
                self._add(Problem(REPEATED, f"utterance {finding.name!r}"))
            self._names.add(hash(finding.name))

    def _add(self, problem: Problem) -> None:
        self.counts[problem.kind] += 1
        kept = self.worst[problem.kind]
        kept.append(problem)
        if len(kept) >= 2 * _KEPT:
            kept.sort(key=lambda one: -one.size)
            del kept[_KEPT:]

    def report(self, shown: int) -> str:
        """Lines with the counts of each kind of problem, worst first, and the worst ``shown`` of each."""
        rates = ", ".join(f"{rate} Hz: {count:,}" for rate, count in self.rates.most_common())
        lines = [f"{self.utterances:,} utterances, {self.seconds / 3600:.2f} h, {rates}"]
        for kind in KINDS:
            if self.counts[kind]:
                lines.append(f"{self.counts[kind]:,} {kind}:")
                worst = sorted(self.worst[kind], key=lambda one: -one.size)[:shown]
                lines += [f"  {problem.message}" for problem in worst]
                lines += [f"  ... and {self.counts[kind] - shown:,} more"] if self.counts[kind] > shown else []
        return "\n".join([*lines, *([] if self.counts else ["nothing is wrong"])])


def inspect_all(examples: Iterable[Cut], *, workers: int, report: Callable[[int], object]) -> Inspection:
    """Look at all utterances, in so many processes where any utterance can be had at once; report each."""
    inspection = Inspection()
    if workers > 1 and isinstance(examples, Indexed):
        found = _in_processes(examples, workers)
    else:
        found = map(inspect_utterance, attempts(examples))
    for finding in found:
        inspection.add(finding)
        report(1)
    return inspection


def _in_processes(examples: Indexed[Cut], workers: int) -> Iterator[Finding]:
    starts = range(0, len(examples), _CHUNK)
    with ProcessPoolExecutor(workers, initializer=_Worker.take, initargs=(examples,)) as pool:
        for chunk in pool.map(_Worker.inspect, starts):
            yield from chunk


class _Worker:
    """What a process looks at."""

    examples: Indexed[Cut]

    @classmethod
    def take(cls, examples: Indexed[Cut]) -> None:
        """Remember the utterances."""
        leave_quietly()
        cls.examples = examples

    @classmethod
    def inspect(cls, start: int) -> list[Finding]:
        """The findings of a chunk of them."""
        return [inspect_utterance(build) for build in islice(attempts(cls.examples, start), _CHUNK)]
