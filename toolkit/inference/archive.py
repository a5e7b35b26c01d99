"""An archive of recordings as a list of shards, and the worker that transcribes them, in whatever process or machine.

::

    shards = shards_of(items, batch_seconds=60.0, workers=2)
    worker = Worker("results/ctc")
    for shard in shards:
        for name, transcript in worker(shard).items(): ...

A shard is some batches, a batch some items of much the same length. What is found is keyed by the item's id, so that
shards may be done in any order, anywhere, and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from toolkit.errors import AudioError

if TYPE_CHECKING:
    from lhotse.cut import Cut
    from torch import Tensor

    from toolkit.inference.transcriber import Transcriber
    from toolkit.inference.transcript import Transcript

T = TypeVar("T")

# Files that are longer are not read ahead but handed to the transcriber, which need not have them whole in memory.
LONG_S = 600.0

# Of a shard: while one is computed, the next is read, and of the last there is no next.
MOST_BATCHES = 8


@dataclass(frozen=True, slots=True)
class Item:
    """A recording to transcribe.

    Attributes
    ----------
    id
        The path of the file as it was given, or the id that the manifest has for the segment; unique in an archive.
    audio
        The file, or the cut of a manifest.
    seconds
        As the file or the manifest says, to sort by; infinite where it does not say.
    place
        The file's path within the folder or pattern that it was found by, its name, or the id of a segment: whatever
        else there is to transcribe.
    """

    id: str
    audio: str | Cut
    seconds: float
    place: str = field(default="", compare=False)


Batch = list[Item]
Shard = list[Batch]
Found = dict[str, "Transcript | AudioError"]  # by the item's id


def shards_of(items: Sequence[Item], batch_seconds: float, workers: int = 1) -> list[Shard]:
    """The items, longest first, in batches of at most so many seconds, padding included; and those in shards.

    An item that is longer is a batch of its own. Every worker gets a few shards, so that none waits long at the end.
    """
    items = sorted(items, key=lambda item: -item.seconds)
    batches: list[Batch] = []
    for item in items:
        if not batches or batches[-1][0].seconds * (len(batches[-1]) + 1) > batch_seconds:
            batches.append([])
        batches[-1].append(item)
    size = max(1, min(MOST_BATCHES, len(batches) // (4 * workers)))
    return [batches[start : start + size] for start in range(0, len(batches), size)]


@dataclass(frozen=True)
class Worker:
    """Transcribes shards with one model, which it loads when it gets the first; the next batch is read meanwhile.

    Attributes
    ----------
    model
        What `Transcriber.from_hparams` takes: a model's folder, or its name on the hub.
    device
        Where to compute; by default a GPU where there is one.
    batch_seconds
        Of audio in a batch, padding included.
    channel
        Of files, which one to hear, from 0 on; by default their mean. Manifests say theirs.
    nbest
        How many texts to find; by default as many as the model's YAML says.
    vad
        Who says where somebody speaks in long audio: a name of `toolkit.inference.long_audio.DETECTORS`.
    """

    model: str
    device: str | None = None
    batch_seconds: float = 60.0
    channel: int | None = None
    nbest: int | None = None
    vad: str = "energy"

    @cached_property
    def transcriber(self) -> Transcriber:
        """The model, loaded."""
        # torch: not for processes that only hand out work
        from toolkit.inference.long_audio import DETECTORS
        from toolkit.inference.transcriber import Transcriber

        loaded = Transcriber.from_hparams(self.model, device=self.device)
        loaded.long_audio = replace(loaded.long_audio, speech=DETECTORS[self.vad])
        return loaded

    def __call__(self, shard: Shard) -> Found:
        """For each item its transcript, or why there is none."""
        self.transcriber  # noqa: B018  (before the threads, which need its sample rate)
        with ThreadPoolExecutor(1) as reader:  # one: how Lhotse reads is set for the whole process
            read = [[reader.submit(self._read, item) for item in batch] for batch in shard]
            found: Found = {}
            for batch, wavs in zip(shard, read, strict=True):
                found |= self._transcribe(batch, wavs)
            return found

    def _read(self, item: Item) -> Tensor | None:
        """Waveform (S,) of an item; None of a file that may be long."""
        from toolkit.dataio.audio import at_full_scale, load_audio, warn_of_clipping

        if not isinstance(item.audio, str):
            from toolkit.dataio.cut_audio import load_cut

            wav = load_cut(item.audio.resample(self.transcriber.sample_rate))
            warn_of_clipping(item.id, at_full_scale(wav.numpy()), len(wav))
            return wav
        return None if is_long(item) else load_audio(item.audio, self.transcriber.sample_rate, channel=self.channel)

    def _transcribe(self, batch: Batch, wavs: Sequence[Future[Tensor | None]]) -> Found:
        """For each item of a batch its transcript, or why there is none."""
        found: Found = {}
        ready: dict[str, Tensor] = {}
        for item, wav in zip(batch, wavs, strict=True):
            try:
                samples = wav.result()
            except AudioError as error:
                found[item.id] = error
                continue
            if samples is None:
                found[item.id] = self._transcribe_long(item)
            else:
                ready[item.id] = samples
        options = {"batch_seconds": self.batch_seconds, "nbest": self.nbest}
        return found | {one.file: one for one in self.transcriber.transcribe_waveforms(ready, **options)}

    def _transcribe_long(self, item: Item) -> Transcript | AudioError:
        errors: list[AudioError] = []
        options = {"channel": self.channel, "batch_seconds": self.batch_seconds, "nbest": self.nbest}
        transcripts = list(self.transcriber.transcribe_files([item.audio], **options, on_error=errors.append))
        return (transcripts + errors)[0]


def is_long(item: Item) -> bool:
    """Whether the item is a file that is not read ahead, as it is long or nobody knows."""
    return isinstance(item.audio, str) and item.seconds > LONG_S


def in_order(found: Iterable[tuple[str, T]], names: Iterable[str]) -> Iterator[tuple[str, T]]:
    """What was found, in the order of the names, each as soon as those before it are there."""
    waiting: dict[str, T] = {}
    names = iter(names)
    name = next(names, None)
    for key, value in found:
        waiting[key] = value
        while name in waiting:
            yield name, waiting.pop(name)
            name = next(names, None)
