"""A data set with every utterance once, whatever its weight in a blend: what tools look at and convert."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from toolkit.dataio.audio_types import is_nemo
from toolkit.dataio.blend import Blend, on_sources, sources_of
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cutset import read_cutset_from_config
from toolkit.dataio.indexed import Concatenated, Indexed
from toolkit.dataio.line_index import damage_kept
from toolkit.dataio.preparation import first_example, prepare_cuts, select
from toolkit.errors import ConfigError, DataError


class View(Enum):
    """Which utterances of a data set: all there are, those within its limits, or those and what training makes of them.

    Training has copies at other speeds, windows, and utterances cut or padded to a length.
    """

    ALL = "all"
    WITHIN_LIMITS = "within limits"
    TRAINING = "training"


@dataclass(frozen=True)
class Corpus:
    """The utterances of a configuration.

    Attributes
    ----------
    sources
        Of the parts of a blend; Indexed, but for streams.
    weights
        Of each; None where they are not a blend.
    """

    sources: list[Iterable[Cut]]
    weights: list[float] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        values: Mapping[str, Any],
        view: View = View.ALL,
        *,
        metadata_only: bool = False,
        checked: bool = True,
    ) -> Corpus:
        """The corpus of a configuration, whose ``name`` is for messages.

        Parameters
        ----------
        view
            Which of its utterances.
        metadata_only
            Whether no audio has to be there, as none will be read.
        checked
            Whether the first damaged entry of a manifest is an error here; else each is when it is built.

        Raises
        ------
        ConfigError
            Names all unknown, missing and impossible keys; or it holds texts or conversations.
        DataError
            A data set cannot be read, or nothing of it is left.
        """
        config = DataConfig.from_hparams(name, values, batched=False)
        whole = replace(config, force_finite=True, shuffle=False, shard_seed=0, metadata_only=metadata_only)
        with contextlib.nullcontext() if checked else damage_kept():
            cuts, _ = read_cutset_from_config(whole, name)
            if view is View.WITHIN_LIMITS:
                cuts = on_sources(cuts, partial(select, config=config, where=name))
            elif view is View.TRAINING:
                cuts = prepare_cuts(cuts, config, name)
            data = sources_of(cuts)
            for source in data.sources if isinstance(data, Blend) else [data]:
                if isinstance(source, Indexed) and (first := first_example(source)) is not None:
                    require_utterance(first, name)
        return cls(list(data.sources), list(data.weights)) if isinstance(data, Blend) else cls([data])

    @property
    def examples(self) -> Iterable[Cut]:
        """All utterances, source after source; Indexed where all sources are."""
        if len(self.sources) == 1:
            return self.sources[0]
        return Concatenated(self.sources) if self.is_indexed else itertools.chain.from_iterable(self.sources)

    @property
    def is_indexed(self) -> bool:
        """Whether any utterance can be had at once."""
        return all(isinstance(source, Indexed) for source in self.sources)

    def __len__(self) -> int:
        return sum(map(len, self.sources))


Attempt = Callable[[], Cut]


def attempts(examples: Iterable[Cut], first: int = 0, step: int = 1) -> Iterator[Attempt]:
    """For each ``step``-th utterance from number ``first`` on, what builds it, or raises a DataError in its place."""
    if isinstance(examples, Indexed):
        return (partial(_build, examples, number) for number in range(first, len(examples), step))
    return (partial(_checked, example) for example in itertools.islice(examples, first, None, step))


def _build(source: Indexed[Cut], number: int) -> Cut:
    return _checked(source[number])


def _checked(example: Any) -> Cut:
    cut = require_utterance(example)
    if not cut.has_recording:
        raise DataError(f"utterance {cut.id!r}: has no audio")
    return cut


def require_utterance(example: Any, where: str = "the data set") -> Cut:
    """The example itself, which is a cut.

    Raises
    ------
    ConfigError
        It is not: the data set is of texts or conversations.
    """
    if not isinstance(example, Cut):
        raise ConfigError(
            f"{where}: expected a data set of utterances, but it holds {type(example).__name__}: stats, check, "
            "convert, bins and batch-size take no conversations or texts; name the manifest of the recordings"
        )
    return example


def leave_quietly() -> None:
    """Let this process end at Ctrl-C with its files put away and without a traceback: its parent says what there is."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))


def config_of_path(path: str | Path) -> dict[str, Any]:
    """The configuration that a file or folder of data stands for, by what is in it.

    Raises
    ------
    ConfigError
        There is nothing, or nothing that is known.
    """
    path = Path(path)
    if path.is_dir():
        return _config_of_folder(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file or folder; expected a manifest, a folder of data, or a YAML")
    if path.suffix in (".gz", ".zst") or (path.suffix == ".jsonl" and not is_nemo(str(path))):
        return {"cuts_path": str(path)}
    if path.suffix in (".json", ".jsonl", ".csv"):
        return {"manifest_filepath": str(path)}
    raise ConfigError(f"{path}: not known what this is; expected .json, .jsonl, .csv, .jsonl.gz, .yaml or a folder")


def _config_of_folder(path: Path) -> dict[str, Any]:
    tars = sorted(path.glob("audio_*.tar"), key=_number)
    if tars:
        manifests = sorted(path.glob("manifest_*.json"), key=_number) or [path / "tarred_audio_manifest.json"]
        one = len(manifests) == 1
        return {
            "manifest_filepath": str(manifests[0]) if one else _pattern(manifests),
            "tarred_audio_filepaths": str(tars[0]) if len(tars) == 1 else _pattern(tars),
        }
    if any(path.glob("cuts*.jsonl*")):
        return {"shar_path": str(path)}
    kind = {"type": "kaldi", "data_dir": str(path)} if (path / "wav.scp").is_file() else None
    return {"input_cfg": [kind or {"type": "audio_folder", "audio_dir": str(path)}]}


def _number(path: Path) -> tuple[int, str]:
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else -1, path.name


def _pattern(paths: list[Path]) -> str:
    """``audio_{0..31}.tar``."""
    first, last = (path.stem.rpartition("_") for path in (paths[0], paths[-1]))
    return str(paths[0].with_name(f"{first[0]}_{{{first[2]}..{last[2]}}}{paths[0].suffix}"))
