"""What the commands of the data tools share: the data set that is named, and progress."""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from toolkit.dataio.corpus import Corpus


def data_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser whose first argument is the data set."""
    parser = argparse.ArgumentParser(
        prog=f"asr data {command}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="manifest, folder, YAML of a data set or of a recipe")
    parser.add_argument(
        "--key",
        default="train_data",
        metavar="KEY",
        help="of a recipe's YAML, which data set: train_data (the default), valid_data, test_data.test",
    )
    parser.set_defaults(overrides={})  # of the YAML's keys
    return parser


def add_workers(parser: argparse.ArgumentParser) -> None:
    """The option ``-j``."""
    parser.add_argument("-j", "--workers", type=positive, default=1, metavar="N", help="processes at work (1)")


def positive(text: str) -> int:
    """A whole number above 0."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")


def config_of(options: argparse.Namespace) -> dict[str, Any]:
    """The configuration of the data set that the command line names.

    Raises
    ------
    ConfigError
        There is none.
    """
    from toolkit.dataio.config_values import as_mapping
    from toolkit.dataio.corpus import config_of_path

    if options.data.suffix not in (".yaml", ".yml"):
        return config_of_path(options.data)
    section = _section(options.data, options.key, options.overrides)
    return section if section is not None else as_mapping("DATA", options.data)


def corpus_of(options: argparse.Namespace, **how: Any) -> Corpus:
    """The utterances of the data set that the command line names."""
    from toolkit.dataio.corpus import Corpus

    return Corpus.of(str(options.data), config_of(options), **how)


def _section(path: Path, key: str, overrides: Mapping[str, Any]) -> dict[str, Any] | None:
    """A data set of a recipe's YAML, its references resolved; None where the YAML is of a data set itself."""
    import yaml

    from toolkit.hparams import HparamsDocument

    try:
        root = yaml.compose(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if isinstance(root, yaml.SequenceNode):
        return {"input_cfg": str(path)}
    document = HparamsDocument(path)
    document.override(overrides)
    name, *inner = key.split(".")
    if name not in document:
        if any(known in document for known in ("train_data", "test_data", "model")):
            raise ConfigError(f"--key {key}: {path} has no {name}{did_you_mean(name, document.data)}")
        return None
    document.keep(document.needed_by([name]))
    values = document.build()[name]
    for place in inner:
        if not isinstance(values, dict) or place not in values:
            raise ConfigError(f"--key {key}: {path} has no {place!r} there; it has {', '.join(values)}")
        values = values[place]
    return values


@contextlib.contextmanager
def progress(total: int | None) -> Iterator[Callable[[int], object]]:
    """What is told of each so many utterances that are done; on a terminal, a progress bar shows it.

    A Ctrl-C while libsndfile calls back would be lost: it is raised again here.
    """
    from tqdm import tqdm

    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        raise KeyboardInterrupt

    with tqdm(total=total, unit="utterance", disable=None, leave=False) as bar:  # None: on a terminal only

        def report(count: int) -> None:
            if stopped:
                raise KeyboardInterrupt
            bar.update(count)

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield report
        finally:
            signal.signal(signal.SIGINT, before)


def known_size(corpus: Corpus) -> int | None:
    """Utterances; None where only reading them would tell."""
    try:
        return len(corpus)
    except (TypeError, NotImplementedError):
        return None


def rounded_up(seconds: float) -> float:
    """The next millisecond, so that what is as long as the end still is within."""
    return math.ceil(seconds * 1000 - 1e-6) / 1000
