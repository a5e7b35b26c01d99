"""Model folders as services of pyctcdecode and transformers' pipeline export them: which models, and their numbers.

::

    AM_MODELS/FinetunedCheckpoint-spanish-w2v-1b-970861b8/model/                 Wav2Vec2ForCTC with its processor
    LM_MODELS/KenLMForPyCTCDecodeFromArpa-spanish-ngram-lm-72c2589e/             lm.arpa.gz, unigrams.txt.gz
    ASR_INFERENCE/HfAsrPipelineFromLogitsInferencerDecoder-.../dataclass.json    names both, and how they are used

::

    {"logits_inferencer": {"checkpoint": {"name": "spanish-w2v-1b", ...}, "input_sample_rate": 16000, ...},
     "decoder": {"tokenizer_name_or_path": {"suffix": "FinetunedCheckpoint-spanish-w2v-1b-970861b8/model", ...},
                 "lm_data": {"name": "spanish-ngram-lm", "transcript_normalizer": {"vocab": ["<pad>", "a", ...], ...}},
                 "lm_weight": 0.5, "beta": 1.5, "beam_size": 100, "num_best": 1},
     "chunk_length_s": 16.0, "stride_length_s": null}

The file is a whole tree of Python objects, of which only what is needed is looked at; classes that it names are never
imported. Its ``casing``, a number of an enumeration that only its own code knows, is not needed: hotwords, and texts to
align, are put into the case of the model's letters where that is one. This module imports no torch, so that a service
can tell of models that it has not loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError, ModelError

ACOUSTIC, LANGUAGE, INFERENCE = "AM_MODELS", "LM_MODELS", "ASR_INFERENCE"
DESCRIPTION = "dataclass.json"
LARGEST = 64 << 20  # bytes of a description; one with all data of a training has 45 kB
# Options of HuggingFaceCTC: where the description has them, and what they may be.
NUMBERS = {
    "alpha": (("decoder", "lm_weight"), float, 0, 100),
    "beta": (("decoder", "beta"), float, -100, 100),
    "beam_size": (("decoder", "beam_size"), int, 1, 10_000),
    "topk": (("decoder", "num_best"), int, 1, 10_000),
    "chunk_length_s": (("chunk_length_s",), float, 1, 3600),
}
CHECKPOINT = ("logits_inferencer", "checkpoint")


def is_service_folder(folder: Path) -> bool:
    """Whether a folder is of this layout."""
    return (folder / INFERENCE).is_dir()


@dataclass(frozen=True)
class ServiceFolder:
    """A folder of this layout, with what its description says.

    Attributes
    ----------
    file
        The description.
    facts
        What is in it.
    """

    folder: Path
    file: Path
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> ServiceFolder:
        """What a folder says.

        Raises
        ------
        ConfigError
            There is not one description, or it is damaged.
        """
        files = sorted((folder / INFERENCE).glob(f"*/{DESCRIPTION}"))
        if len(files) != 1:
            raise ConfigError(
                f"{folder / INFERENCE}: expected one folder with a {DESCRIPTION}, found "
                f"{', '.join(file.parent.name for file in files) or 'none'}; a folder is served in one way"
            )
        return cls(folder, files[0], _read(files[0]))

    def at(self, *place: str) -> Any:
        """What stands at a place of the description; None where there is nothing."""
        value: Any = self.facts
        for key in place:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @property
    def model(self) -> Path:
        """The folder of the acoustic model that is used, in transformers' layout.

        Raises
        ------
        ModelError
            It is not there, or not told from others.
        """
        place = self.at("decoder", "tokenizer_name_or_path")
        path = place.get("suffix") if isinstance(place, dict) else place
        return self._named(ACOUSTIC, [path, self.at(*CHECKPOINT, "name")]) / "model"

    @property
    def language_model(self) -> Path | None:
        """The folder of the n-gram that is used; None where none is.

        Raises
        ------
        ModelError
            It is not there, or not told from others.
        """
        if self.at("decoder", "lm_data") is None:
            return None
        return self._named(LANGUAGE, [self.at("decoder", "lm_data", "name")])

    def options(self) -> dict[str, Any]:
        """How models are used, as options of `HuggingFaceCTC`; those that are not said keep their defaults.

        Raises
        ------
        ConfigError
            A number is none, or out of its range.
        ModelError
            The n-gram is not there.
        """
        options = {name: self.at(*place) for name, (place, *_) in NUMBERS.items()} | {"stride_length_s": self._stride()}
        for name, (place, kind, least, most) in NUMBERS.items():
            self._check(".".join(place), options[name], kind, (least, most))
        said = {name: value for name, value in options.items() if value is not None}
        return {"language_model": self.language_model, **said}

    def check(self, *, sample_rate: int, normalise: bool, pieces: Sequence[str]) -> None:
        """Raise a ModelError where the description contradicts what the acoustic model's folder says of itself."""
        for name, found in (("input_sample_rate", sample_rate), ("do_normalize", normalise)):
            if (said := self.at("logits_inferencer", name)) not in (None, found):
                raise ModelError(
                    f"{self.file}: logits_inferencer.{name} is {json.dumps(said)}, but {self.model} says "
                    f"{json.dumps(found)}; let both say what the model was trained with"
                )
        letters = self.at("decoder", "lm_data", "transcript_normalizer", "vocab")
        known = {*"".join(pieces), "|"}  # which stands for the space
        said = letters if isinstance(letters, list) else []
        unknown = [one for one in said if isinstance(one, str) and len(one) == 1 and one not in known]
        if unknown:
            raise ModelError(
                f"{self.file}: the vocabulary of the language model's texts has {', '.join(map(repr, unknown[:5]))}, "
                f"which {self.model / 'vocab.json'} has not; use the language model of this acoustic model"
            )

    def _stride(self) -> float | None:
        """Seconds beside the part of a chunk that counts; of different ones to the left and the right, their mean."""
        value = self.at("stride_length_s")
        sides = value if isinstance(value, list) and len(value) == 2 and None not in value else [value]
        for side in sides:
            self._check("stride_length_s", side, float, (0, 1800))
        return None if value is None else sum(sides) / len(sides)

    def _check(self, name: str, value: Any, kind: type, limits: tuple[float, float]) -> None:
        """Raise a ConfigError unless a value is missing, or a number of a kind within these limits."""
        fits = isinstance(value, int | kind) and not isinstance(value, bool) and limits[0] <= value <= limits[1]
        if value is not None and not fits:
            wanted = f"expected a {'whole ' * (kind is int)}number, {limits[0]} to {limits[1]}"
            raise ConfigError(f"{self.file}: {name}: {wanted}, found {value!r}")

    def _named(self, kind: str, names: Sequence[Any]) -> Path:
        """The one folder of a kind that has all these names, None among them says nothing; no path is followed."""
        said = [name for name in names if name is not None]
        there = sorted(one for one in (self.folder / kind).glob("*") if one.is_dir())
        found = [one for one in there if all(_is_called(one.name, name) for name in said)]
        if len(found) != 1:
            raise ModelError(
                f"{self.file}: names {' and '.join(map(repr, said)) or 'none'}; expected one folder of that name in "
                f"{self.folder / kind}, found {', '.join(one.name for one in there) or 'none'}"
            )
        return found[0]


def _is_called(folder: str, name: Any) -> bool:
    """Whether a folder ``Class-name-hash`` is the one of a name, or one that a path leads through."""
    if not isinstance(name, str):
        return False
    return folder in Path(name).parts or bool(re.fullmatch(rf"(\w+-)?{re.escape(name)}(-[0-9a-f]+)?", folder))


def _read(file: Path) -> dict[str, Any]:
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            raise ValueError(f"expected a file of at most {LARGEST >> 20} MB")
        facts = json.loads(file.read_bytes())
        if not isinstance(facts, dict) or not isinstance(facts.get("decoder"), dict):
            raise ValueError("expected an object with a decoder")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: no description of a service, or damaged: {error}") from None
    return facts
