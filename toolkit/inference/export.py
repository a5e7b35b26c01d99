"""A run as a folder that stands alone: what it takes to transcribe, where it comes from, and how well it does."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toolkit.checkpoints import EXPORTED, are_int8, best_checkpoints, model_weights
from toolkit.dataio.batches import pad_wavs
from toolkit.errors import ConfigError, ExperimentError
from toolkit.files import making_folder, write_atomically
from toolkit.hparams import HparamsDocument, reference, yaml_value
from toolkit.inference.comparison import Comparison, compare, sounds
from toolkit.inference.confidence import CALIBRATION_FILE
from toolkit.inference.model_card import model_card
from toolkit.inference.model_facts import PROVENANCE_FILE
from toolkit.inference.provenance import digest_of, training_facts
from toolkit.inference.sources import find_folder, is_huggingface
from toolkit.inference.transcriber import Transcriber
from toolkit.models.onnx import OnnxEncoder, export_encoder
from toolkit.pretrained import AVERAGE, COLLECTED, HPARAMS_FILE, open_document
from toolkit.tensor_file import write_tensors

KEYS = (*Transcriber.MODULES_NEEDED, *Transcriber.HPARAMS_NEEDED)  # of the YAML, what transcribing needs
GRAPH = "encoder.onnx"
HEADER = "# What it takes to transcribe, as `asr export` took it from a run; README.md says where it comes from.\n"


@dataclass(frozen=True)
class Export:
    """How a run is exported.

    Attributes
    ----------
    average
        Of how many of the best checkpoints the weights are the mean; None: of as many as the YAML says.
    form
        Of the weights: ``float32``; ``int8``, a quarter of the size; or ``onnx``, with the encoder as an ONNX graph.
    test
        A manifest to transcribe with the run and with what was exported.
    license, notes
        What the model card says of the licence, in a line; and a Markdown file of what else a user should know.
    command
        What was typed, for the record.
    force
        Whether an exported folder that is there is replaced.
    """

    average: int | None = None
    form: str = "float32"
    test: Path | None = None
    license: str = ""
    notes: Path | None = None
    command: str = ""
    force: bool = False


def export_run(run: Path, out: Path, export: Export) -> Comparison:
    """Write a run's model to a folder, whole or not at all; how near it is to the run's.

    Raises
    ------
    ExperimentError
        ``run`` is no run with a finished epoch, or ``out`` exists.
    ConfigError
        The YAML is not a recogniser's, or asks for anything that a model may not use.
    ModelError
        The weights do not fit; or the ONNX graph does not give what the model gives.
    """
    run = find_folder(run)
    _check_place(run, out, export.force)
    notes = _read_notes(export.notes)
    before = Transcriber.from_hparams(run, device="cpu")
    _check_form(before, run)
    if export.average:
        if not best_checkpoints(run / "save"):
            raise ConfigError(f"--average {export.average}: {run} has no checkpoints, but one set of weights")
        before.model.load_state_dict(model_weights(run, export.average))
    try:
        with making_folder(out) as partial:
            write_model_folder(run, partial, KEYS, int8=export.form == "int8", average=export.average)
            if (run / CALIBRATION_FILE).is_file():
                shutil.copyfile(run / CALIBRATION_FILE, partial / CALIBRATION_FILE)
            if export.form == "onnx":
                _encoder_to_graph(before, partial)
            after = Transcriber.from_hparams(partial, device="cpu")
            comparison = compare(before, after, test=export.test, exactly=export.form != "int8")
            facts = {"model": _described(before), **_facts(run, partial, export, comparison)}
            write_atomically(partial / PROVENANCE_FILE, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
            write_atomically(partial / "README.md", model_card(out.name, facts, notes))
    except OSError as error:
        raise ExperimentError(f"{out}: cannot be written ({error.strerror or error})") from error
    return comparison


def write_model_folder(
    source: Path, target: Path, keys: Iterable[str], *, int8: bool = False, average: int | None = None
) -> None:
    """Write a model folder of what inference needs of another: YAML, weights, and the files and folders it names.

    Parameters
    ----------
    keys
        Of the YAML: what is built from it.
    int8
        Whether matrices are written as int8.
    average
        Of how many of the best checkpoints the weights are the mean; None: of as many as the YAML says.
    """
    document = open_document(source)
    average = average or document.value(AVERAGE) or 1
    document.override({"output_folder": str(source)})
    if isinstance(document.data["model"], dict):
        document.data["model"].pop("augment", None)  # for training only
    document.keep(document.needed_by([*keys, "output_folder"]))
    target.mkdir(parents=True)
    for key, path in list(_named_paths(document)):
        name = COLLECTED.get(key, key + path.suffix)
        if path.is_dir():
            write_model_folder(path, target / name, ["model"], int8=int8)
        else:
            shutil.copyfile(path, target / name)
        document.data[key] = reference(f"<output_folder>/{name}")
    weights = model_weights(source, average)
    used = {name: value for name, value in weights.items() if not name.startswith("augment.")}
    write_tensors(used, target / EXPORTED, int8=int8)
    document.data["output_folder"] = "."
    write_atomically(target / HPARAMS_FILE, HEADER + document.text_without_comments())


def _named_paths(document: HparamsDocument) -> Iterator[tuple[str, Path]]:
    """The keys whose names say that they are of a file or a folder, and which, where it is there."""
    for key in document.data:
        named = key in COLLECTED or (key.endswith(("_file", "_folder")) and key != "output_folder")
        value = document.value(key) if named else None
        if isinstance(value, str) and Path(value).exists():
            yield key, Path(value)


def _encoder_to_graph(transcriber: Transcriber, folder: Path) -> None:
    """Put a graph in the place of the encoder's weights, and its file in the place of the encoder in the YAML."""
    model, document = transcriber.model, open_document(folder)
    declared = document.data["model"]
    if "encoder" not in declared:
        raise ConfigError(f"{document.path}: its model has no encoder, which --onnx would write as a graph")
    graph = yaml_value(f"!new:{OnnxEncoder.__module__}.{OnnxEncoder.__name__}\n  file: !ref <output_folder>/{GRAPH}")
    if named := re.fullmatch(r"<(\w+)>", str(getattr(declared["encoder"], "value", ""))):  # `encoder: !ref <encoder>`
        document.data[named[1]] = graph
    else:
        declared["encoder"] = graph
    document.keep(document.needed_by([*KEYS, "output_folder"]))
    with torch.no_grad():
        export_encoder(model, *model.features(*pad_wavs(sounds(transcriber.sample_rate))), folder / GRAPH)
    rest = {name: value for name, value in model_weights(folder).items() if not name.startswith("encoder.")}
    write_tensors(rest, folder / EXPORTED)
    write_atomically(folder / HPARAMS_FILE, HEADER + document.text_without_comments())


def _described(transcriber: Transcriber) -> dict[str, Any]:
    """What a model is, in numbers and names of classes."""
    model = transcriber.model
    return {
        "class": type(model).__name__,
        "encoder": type(getattr(model, "encoder", None)).__name__,
        "search": type(transcriber.search).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": len(transcriber.tokenizer),
        "pieces": digest_of(transcriber.tokenizer.pieces()),
        "sample_rate": transcriber.sample_rate,
    }


def _facts(run: Path, folder: Path, export: Export, comparison: Comparison) -> dict[str, Any]:
    """What provenance.json says."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {
        "exported": {
            "date": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": export.command,
            "weights": export.form,
            "checkpoints averaged": _averaged(run, export.average),
            "sha256": digests,
        },
        "license": export.license or None,
        "comparison": comparison.facts(),
        "training": training_facts(run),
    }


def _averaged(run: Path, average: int | None) -> int | None:
    """Of how many checkpoints the weights are the mean; None where a folder has weights alone."""
    wanted = average or open_document(run).value(AVERAGE) or 1
    return len(best_checkpoints(run / "save", wanted)) or None


def _check_place(run: Path, out: Path, force: bool) -> None:
    """Refuse to replace anything but an exported folder, that one without being asked to, or what is read."""
    if out.resolve() in (run.resolve(), *run.resolve().parents):
        raise ConfigError(f"{out}: is, or holds, the run that is exported; name another place")
    if not out.exists():
        return
    if not (out / PROVENANCE_FILE).is_file():
        raise ExperimentError(f"{out}: exists already, and is no exported folder; name another place")
    if not force:
        raise ExperimentError(f"{out}: exists already; name another place, or replace it with --force")


def _check_form(transcriber: Transcriber, run: Path) -> None:
    """Refuse what is no run's: what was exported in another form than plain weights, and models of SpeechBrain's."""
    if are_int8(run) or isinstance(getattr(transcriber.model, "encoder", None), OnnxEncoder):
        raise ConfigError(f"{run}: exported as int8 or ONNX already; export the run that it was made from")
    if is_huggingface(run, HPARAMS_FILE):
        raise ConfigError(f"{run}: a model of transformers, which stands alone; only runs are exported")
    if "model" not in open_document(run):
        raise ConfigError(f"{run}: a published model of SpeechBrain's, which stands alone; only runs are exported")


def _read_notes(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--notes {file}: cannot be read as text ({error})") from None
