"""The models of a process by their names: loaded when they are needed, as many as there is memory for."""

from __future__ import annotations

import copy
import gc
import logging
import math
import resource
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from toolkit.errors import ConfigError, MissingDependencyError, ToolkitError
from toolkit.inference.long_audio import DETECTORS
from toolkit.inference.model_facts import facts_of, without_folders
from toolkit.inference.sources import find_folder
from toolkit.inference.streaming import StreamingASR, as_streaming
from toolkit.inference.transcriber import Transcriber
from toolkit.serving.jobs import ModelCard
from toolkit.serving.service_errors import InvalidInputError, UnavailableError

logger = logging.getLogger(__name__)

WARM_S = 1.0  # of noise, which a model hears first: code is compiled, memory found
VARIANTS = 16  # of a model, with hotwords of their own, are kept


@dataclass
class Loaded:
    """A model in memory: of files, and of live speech; and the searches that requests asked of it."""

    transcriber: Transcriber
    listener: Transcriber
    variants: dict[tuple, Transcriber] = field(default_factory=dict)

    def variant(self, nbest: int | None, hotwords: tuple[str, ...]) -> Transcriber:
        """The transcriber with so many alternatives and such hotwords."""
        key = nbest, hotwords
        if key not in self.variants:
            if len(self.variants) >= VARIANTS:
                del self.variants[next(iter(self.variants))]
            try:
                self.variants[key] = self.transcriber.searching(nbest, hotwords)
            except ConfigError as error:
                raise InvalidInputError(str(error), param="nbest") from None
        return self.variants[key]


class ModelShelf:
    """Models by name, one at least; where there is no room in ``memory_bytes``, those longest unused are put away."""

    def __init__(self, folders: Mapping[str, str], device: str, memory_bytes: int | None, *, vad: str = "auto") -> None:
        self._folders, self._device = folders, device
        self._most_bytes = math.inf if memory_bytes is None else memory_bytes
        self._vad = vad
        self._loaded: dict[str, Loaded] = {}  # the last used last
        self._sizes: dict[str, int] = {}  # bytes of all that have been loaded

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models in memory."""
        return tuple(self._loaded)

    def get(self, name: str, in_use: Collection[str] = ()) -> Loaded:
        """A model, which is loaded if it is not there; those in use stay.

        Raises
        ------
        UnavailableError
            It cannot be loaded any more, or there is no room for it beside those in use.
        """
        if name not in self._loaded:
            if not self._make_room(self._sizes.get(name, 0), in_use):
                raise UnavailableError(f"there is no memory for model {name!r} beside those in use; try again later")
            try:
                self.load(name, in_use)
            except ToolkitError as error:
                logger.error("model %s: %s", name, error)
                raise UnavailableError(f"model {name!r} cannot be loaded at the moment") from None
        loaded = self._loaded[name] = self._loaded.pop(name)
        return loaded

    def load(self, name: str, in_use: Collection[str] = ()) -> ModelCard:
        """Load a model, and put away what is then too much: of a model that is new, the size is known only now.

        Raises
        ------
        ToolkitError
            Its folder is not as it should be.
        """
        started, before = time.monotonic(), used_bytes(self._device)
        folder = find_folder(self._folders[name])
        transcriber = as_streaming(Transcriber.from_hparams(folder, device=self._device))
        live_vad = vad_of_live(self._vad, transcriber.sample_rate)
        transcriber = cut_by("energy" if self._vad == "auto" else self._vad, transcriber)
        warm_up(transcriber)
        weights = sum(one.numel() * one.element_size() for one in transcriber.model.state_dict().values())
        taken = max(weights, used_bytes(self._device) - before)
        self._loaded[name], self._sizes[name] = Loaded(transcriber, cut_by(live_vad, transcriber)), taken
        took = time.monotonic() - started
        logger.info("model %s loaded in %.1f s, %.0f MB, live speech by %s", name, took, taken / 1e6, live_vad)
        self._make_room(0, {*in_use, name})
        return card_of(name, folder, transcriber)

    def _make_room(self, size: int, in_use: Collection[str]) -> bool:
        """Put models away until there is room for so many bytes beside the others; whether there is, or no other."""
        while self._loaded and size + sum(map(self._sizes.get, self._loaded)) > self._most_bytes:
            name = next((one for one in self._loaded if one not in in_use), None)
            if name is None:
                return False
            del self._loaded[name]
            gc.collect()  # models have cycles
            if torch.device(self._device).type == "cuda":
                torch.cuda.empty_cache()
            logger.info("model %s put away", name)
        return True


def vad_of_live(vad: str, sample_rate: int) -> str:
    """Who says in live audio where somebody speaks. Raises what sessions would."""
    try:
        DETECTORS["silero" if vad == "auto" else vad](sample_rate, sample_rate // 25)
    except (MissingDependencyError, ConfigError):
        if vad != "auto":
            raise
        return "energy"
    return "silero" if vad == "auto" else vad


def cut_by(vad: str, transcriber: Transcriber) -> Transcriber:
    """The same, for which another says where somebody speaks."""
    other = copy.copy(transcriber)
    other.long_audio = replace(transcriber.long_audio, speech=DETECTORS[vad])
    return other


def card_of(name: str, folder: Path, transcriber: Transcriber) -> ModelCard:
    """What is known of a model."""
    return ModelCard(
        name,
        created=int(folder.stat().st_mtime),
        loaded=True,
        streaming=isinstance(transcriber, StreamingASR),
        sample_rate=transcriber.sample_rate,
        provenance=without_folders(facts_of(folder)),
    )


def warm_up(transcriber: Transcriber) -> None:
    """Let a model hear some noise."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(round(WARM_S * transcriber.sample_rate), generator=generator)
    transcriber.transcribe(noise)


def used_bytes(device: str) -> int:
    """Memory that this process has: of the GPU where it computes, or else of the machine, where Linux says."""
    if torch.device(device).type == "cuda":
        return torch.cuda.memory_allocated(device)
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0
