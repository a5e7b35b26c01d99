"""HuggingFace's data sets, local or from the hub, as cuts.

Audio is decoded where it is needed, by our readers: `datasets` would need another library for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from lhotse import AudioSource
from lhotse.cut import Cut

from toolkit.dataio.containers import AudioInfo, read_header, read_header_of_bytes
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.utterances import Utterance, file_source
from toolkit.errors import AudioError, ConfigError, DataError


@dataclass(frozen=True)
class Columns:
    """Where the rows keep what."""

    audio: str = "audio"
    text: str = "text"
    language: str = "lang"
    speaker: str = "speaker"

    def cut(self, number: int, row: Mapping[str, Any]) -> Cut:
        """The utterance of a row; its ``id``, or its number, is its name, and all other columns are in ``custom``.

        Raises
        ------
        AudioError
            It has no audio.
        """
        name = str(row.get("id", number))
        source = _source(row[self.audio], f"row {number}")
        fields = {"text": row.get(self.text), "language": row.get(self.language), "speaker": row.get(self.speaker)}
        fields = {key: None if value is None else str(value) for key, value in fields.items()}
        custom = {key: value for key, value in row.items() if key not in (self.audio, self.text, "id")}
        return Utterance(name, source, _info(source, f"row {number}"), custom=custom, **fields).cut()


def _source(audio: Any, where: str) -> AudioSource:
    """The audio of a row: a path, or bytes with perhaps the path that they are of."""
    if isinstance(audio, Mapping) and audio.get("bytes") is not None:
        return AudioSource("memory", [0], audio["bytes"])
    path = audio.get("path") if isinstance(audio, Mapping) else audio
    if not path:
        raise AudioError(f"{where}: {audio!r} is no audio; expected a path, or a mapping with bytes or path")
    return file_source(path)


def _info(source: AudioSource, where: str) -> AudioInfo:
    return read_header(source.source) if source.type == "file" else read_header_of_bytes(source.source, where)


class HfDataset(Indexed[Cut]):
    """Utterances of a data set of which any row can be read.

    Their durations are computed once, and kept in the cache of `datasets`.
    """

    def __init__(self, rows: datasets.Dataset, columns: Columns) -> None:
        self.rows, self.columns = _undecoded(rows, columns), columns
        with _quiet():
            measure = partial(_seconds, column=columns.audio)
            seconds = self.rows.map(measure, with_indices=True, remove_columns=self.rows.column_names)
        self.lengths = np.array(seconds["seconds"], np.float64)

    def __getitem__(self, number: int) -> Cut:
        return self.columns.cut(int(number), self.rows[int(number)])


def _seconds(row: Mapping[str, Any], number: int, column: str) -> dict[str, float]:
    where = f"row {number}"
    return {"seconds": _info(_source(row[column], where), where).length}


class HfStream:
    """Utterances of a data set that can only be read from its beginning."""

    def __init__(self, rows: datasets.IterableDataset, columns: Columns) -> None:
        self.rows, self.columns = _undecoded(rows, columns), columns

    def __iter__(self) -> Iterator[Cut]:
        # By batches of one: iterated over by rows, `datasets` gives each worker process a part of its own choice.
        rows = ({name: values[0] for name, values in batch.items()} for batch in self.rows.iter(1))
        return (self.columns.cut(number, row) for number, row in enumerate(rows))


def _undecoded(rows: Any, columns: Columns) -> Any:
    """The rows with their audio as bytes or paths."""
    names = rows.column_names
    if names is not None and columns.audio not in names:
        raise ConfigError(f"audio_field: no column {columns.audio!r}; the data set has {', '.join(names)}")
    if rows.features is not None and isinstance(rows.features[columns.audio], datasets.Audio):
        return rows.cast_column(columns.audio, _AsStored(decode=False))
    return rows


class _AsStored(datasets.Audio):
    """Audio that `datasets` leaves as it is: of its own, it wants torchcodec even for paths that it only hands on."""

    def encode_example(self, value: Any) -> Any:
        return {"bytes": None, "path": value} if isinstance(value, str) else value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    noisy = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if noisy:
            datasets.enable_progress_bars()


def read_hf_dataset(path: str, options: Mapping[str, Any], columns: Columns) -> HfDataset | HfStream:
    """Utterances of a folder that ``save_to_disk`` wrote, or of what ``load_dataset`` loads by that name.

    Raises
    ------
    DataError
        It cannot be loaded.
    """
    try:
        with _quiet():
            if (Path(path) / "state.json").is_file() or (Path(path) / "dataset_dict.json").is_file():
                rows = datasets.load_from_disk(path)
                rows = rows[options["split"]] if isinstance(rows, datasets.DatasetDict) else rows
            else:
                rows = datasets.load_dataset(path, **options)
    except Exception as error:  # datasets raises whatever its builders and its network raise
        raise DataError(f"{path}: datasets cannot load it ({error})") from error
    return (HfStream if isinstance(rows, datasets.IterableDataset) else HfDataset)(rows, columns)
