"""Where a trained model comes from: what a run's folder and the manifests of its YAML tell of that."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import ModelError, ToolkitError
from toolkit.hparams import HparamsDocument
from toolkit.inference.model_facts import PROVENANCE_FILE, read_facts
from toolkit.pretrained import COLLECTED, HPARAMS_FILE, has_tokens_of

# "2026-11-25 18:39:36 command: train.py hparams/transducer.yaml"
STARTED = re.compile(r"(\S+ \S+) command: (.*)")
# "%WER 6.08 [ 47 / 773, 0 ins, 3 del, 44 sub ]"
RATE = re.compile(r"^%([WC]ER) ([\d.]+)", re.MULTILINE)


def training_facts(run: Path) -> dict[str, Any]:
    """What is known of a run: commands, YAML, data, figures and packages.

    Of an exported folder, what its export found.
    """
    if (run / PROVENANCE_FILE).is_file():
        return read_facts(run / PROVENANCE_FILE)["training"]
    commands, packages = environment(_text(run / "env.log"))
    return {
        "commands": commands,
        "hyperparams": _text(run / HPARAMS_FILE),
        "language model": _text(run / COLLECTED["lm_folder"] / HPARAMS_FILE) or None,
        "data": data_sets(run / HPARAMS_FILE),
        "log": _text(run / "train_log.txt").splitlines(),
        "tests": {file.stem.removeprefix("wer_"): rates(file) for file in sorted(run.glob("wer_*.txt"))},
        "packages": packages,
    }


def digest_of(pieces: Iterable[str]) -> str:
    """What tells a tokenizer from another, of its pieces in the order of their numbers."""
    return hashlib.sha256("\n".join(pieces).encode()).hexdigest()


def check_tokens(tokenizer: Any, folder: Path, lm_folder: str | Path | None) -> None:
    """Raise a ModelError unless a tokenizer's pieces are those that a folder's model was exported, or has a LM, with.

    As many pieces, of other texts, would be other words without a word.
    """
    advice = "use the tokenizer that the model was trained with"
    if lm_folder is not None and not has_tokens_of(lm_folder, tokenizer.model_file):
        raise ModelError(f"{tokenizer.model_file}: other tokens than those of the language model {lm_folder}; {advice}")
    file = folder / PROVENANCE_FILE
    digest = read_facts(file).get("model", {}).get("pieces") if file.is_file() else None
    if digest not in (None, digest_of(tokenizer.pieces())):
        raise ModelError(f"{tokenizer.model_file}: other tokens than those that {file} tells of; {advice}")


def data_sets(hyperparams: Path) -> dict[str, dict[str, Any]]:
    """Utterances, hours and speakers of each data set that a YAML names; of one that cannot be read, why not."""
    document = HparamsDocument(hyperparams)
    document.keep(document.needed_by(["train_data", "valid_data", "test_data"]))
    try:
        document.check_safe()
        named = document.build()
    except ToolkitError as error:
        return {"all": {"unknown": str(error)}}
    tests = {f"test_data.{name}": values for name, values in (named.pop("test_data", None) or {}).items()}
    sets = {key: named[key] for key in ("train_data", "valid_data") if key in named} | tests
    return {name: _counted(name, values) for name, values in sets.items()}


def _counted(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    from toolkit.dataio.corpus import Corpus  # with lhotse and matplotlib: a second, in which a model may be heard
    from toolkit.dataio.statistics import Statistics

    statistics = Statistics()
    try:
        statistics.add_all(Corpus.of(name, config, metadata_only=True).examples, lambda _: None)
    except ToolkitError as error:
        return {"unknown": str(error)}
    hours = round(sum(statistics.seconds) / 3600, 3)
    counted = {"utterances": len(statistics.seconds), "hours": hours, "speakers": len(statistics.speakers) or None}
    return {key: value for key, value in counted.items() if value is not None}


def environment(log: str) -> tuple[list[dict[str, str]], list[str]]:
    """The commands that made a run, with commits and machine, and the versions of packages that the last one had."""
    commands: list[dict[str, str]] = []
    packages: list[str] = []
    for block in filter(None, log.split("\n\n")):
        facts = dict(_facts(block))
        if "command" in facts:
            commands.append(facts)
            packages = [line for line in block.splitlines() if "==" in line and ": " not in line]
    return commands, packages


def _facts(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        if started := STARTED.fullmatch(line):
            yield from zip(("date", "command"), started.groups(), strict=True)
        elif ": " in line:
            yield tuple(line.split(": ", 1))


def rates(report: Path) -> dict[str, float]:
    """The totals of a report of `toolkit.metrics.report`."""
    return {name: float(rate) for name, rate in RATE.findall(_text(report))}


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""
