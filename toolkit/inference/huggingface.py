"""HuggingFace's CTC models (wav2vec 2.0, HuBERT, WavLM ...) with their processor, as recognisers.

transformers reads the network; tokens, audio and search are ours, so that results have words with times, long audio is
heard in windows, and a file's transcript does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.decoders.options import check_range
from toolkit.errors import ConfigError, ExperimentError, ModelError, did_you_mean
from toolkit.inference.adapters import Recogniser
from toolkit.inference.huggingface_language import FOLDER, check_alphabet, find_language_model, read_unigrams
from toolkit.inference.huggingface_model import HuggingFaceModel
from toolkit.inference.huggingface_tokenizer import HuggingFaceTokenizer, read_json
from toolkit.inference.long_audio import LongAudio
from toolkit.inference.service_folder import INFERENCE, ServiceFolder, is_service_folder
from toolkit.inference.sources import CONFIG_FILE, Origin, check_links
from toolkit.models.wav2vec2 import import_transformers

OF_FOLDER: Any = object()  # the value of an option that the model's folder decides on

# What ``overrides`` may set. Numbers of the language model are those of its folder, or else pyctcdecode's.
OPTIONS = {
    "language_model": OF_FOLDER,  # ARPA, plain or gzipped, kenlm's binary, or a folder with one; None: greedy search
    "unigrams": OF_FOLDER,  # list of the known words, or its file; None: all words of the n-gram
    "alpha": OF_FOLDER,
    "beta": OF_FOLDER,
    "unk_score_offset": OF_FOLDER,
    "score_boundary": OF_FOLDER,
    "hotwords": (),
    "hotword_weight": 10.0,
    "beam_size": 100,
    "topk": 1,
    "chunk_length_s": None,  # hear long audio in windows of so many seconds; None: as `LongAudio` says
    "stride_length_s": None,  # what a window has beside the part that counts, on either side; None: a sixth of it
}


def read_huggingface(origin: Origin, overrides: Mapping[str, Any]) -> Recogniser:
    """The recogniser of a folder: ``config.json``, weights, and what a processor saves; or a `ServiceFolder` of such.

    Code in the folder is never run, even where it is trusted.

    Parameters
    ----------
    overrides
        Options by the names of `OPTIONS`: language model and its weights, hotwords, beam, windows. They go before what
        a `ServiceFolder` says.

    Raises
    ------
    ConfigError
        An option is unknown or impossible, or a file is a link out of the folder.
    ModelError
        It is no CTC model of waveforms, its weights are incomplete, or the language model is of another alphabet; or
        what a `ServiceFolder` says of them is not so.
    TokenizerError
        A file of the processor is missing or damaged, or its tokens are not those of the model.
    MissingDependencyError
        transformers is not installed.
    """
    if not is_service_folder(origin.folder):
        return _read_model(origin, overrides)
    if not origin.trusted:
        check_links(origin.folder, INFERENCE)
    service = ServiceFolder.read(origin.folder)
    parts = _read_model(replace(origin, folder=service.model), service.options() | dict(overrides))
    service.check(sample_rate=parts.sample_rate, normalise=parts.model.normalise, pieces=parts.tokenizer.pieces())
    return parts


def _read_model(origin: Origin, overrides: Mapping[str, Any]) -> Recogniser:
    """The recogniser of a folder of transformers."""
    options, folder = _options(overrides), origin.folder
    if not origin.trusted:
        check_links(folder, CONFIG_FILE)
    config = _ctc_config(folder / CONFIG_FILE)
    extractor = _feature_extractor(folder)
    tokenizer = HuggingFaceTokenizer(folder, config["vocab_size"])
    network = _network(folder, CONFIG_FILE)
    return Recogniser(
        HuggingFaceModel(network, tokenizer.order, normalise=extractor.get("do_normalize", True)),
        tokenizer,
        _search(folder, tokenizer, options),
        extractor.get("sampling_rate", 16000),
        _windows(options["chunk_length_s"], options["stride_length_s"]),
    )


def _options(overrides: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in overrides if name not in OPTIONS]
    if unknown:
        raise ConfigError(
            f"overrides: unknown option {unknown[0]!r}{did_you_mean(unknown[0], OPTIONS)}; "
            f"expected some of {', '.join(OPTIONS)}"
        )
    return OPTIONS | dict(overrides)


def _windows(chunk: float | None, stride: float | None) -> LongAudio:
    """How long audio is heard with transformers' numbers; audio of one window is heard whole."""
    if chunk is None:
        return LongAudio()
    check_range("chunk_length_s", chunk, 1.0)
    stride = chunk / 6 if stride is None else stride
    check_range("stride_length_s", stride, 0.0, 0.4 * chunk)
    return LongAudio(whole_s=chunk, window_s=chunk, overlap_s=2 * stride, segment_s=chunk)


def _ctc_config(file: Path) -> dict[str, Any]:
    """The configuration of a model, when it is a CTC model."""
    if not file.is_file():
        raise ExperimentError(f"{file}: missing; expected the folder of a HuggingFace model")
    config = read_json(file)
    kind = ", ".join(config.get("architectures") or ()) or config.get("model_type") or "something else"
    if not kind.endswith("ForCTC") or "vocab_size" not in config:
        raise ModelError(
            f"{file}: the model is a {kind}; expected one that was trained to recognise speech with CTC, such as "
            "Wav2Vec2ForCTC, HubertForCTC or WavLMForCTC"
        )
    if "conv_kernel" not in config:
        raise ModelError(f"{file}: a {kind} does not hear waveforms, but features that are not computed here")
    return config


def _feature_extractor(folder: Path) -> dict[str, Any]:
    """How the model hears a waveform; newer folders have it in ``processor_config.json``."""
    newer = read_json(folder / "processor_config.json", {}).get("feature_extractor")
    return newer or read_json(folder / "preprocessor_config.json")


def _network(folder: Path, config_file: str) -> nn.Module:
    """The network with all its weights; the code of a folder and pickled objects are never run."""
    transformers = import_transformers(folder)
    closed = {"trust_remote_code": False, "local_files_only": True}
    try:
        config = transformers.AutoConfig.from_pretrained(folder / config_file, **closed)
        network, report = transformers.AutoModelForCTC.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, **closed
        )
    except Exception as error:  # transformers' errors have no common base, and damaged weights raise anything
        raise ModelError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:500]}") from None
    if missing := sorted(name for name in report["missing_keys"] if "masked_spec_embed" not in name):
        raise ModelError(
            f"{folder}: its weights lack {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}; a model that was "
            "not fine-tuned for it cannot recognise speech"
        )
    return network


def _search(folder: Path, tokenizer: HuggingFaceTokenizer, options: Mapping[str, Any]) -> Callable[..., Any]:
    """Greedy search; with a language model or hotwords, the beam search that their numbers were tuned for."""
    given = _language_model(folder, tokenizer, options) | {"hotwords": options["hotwords"]}
    if "word_ngram" not in given and not options["hotwords"]:
        return CTCGreedySearcher()
    fusion = CTCFusion(tokenizer=tokenizer, **given, hotword_weight=options["hotword_weight"], unk_by_length=False)
    return CTCPrefixSearcher(preset="pyctcdecode", beam_size=options["beam_size"], topk=options["topk"], fusion=fusion)


def _language_model(folder: Path, tokenizer: HuggingFaceTokenizer, options: Mapping[str, Any]) -> dict[str, Any]:
    """What `CTCFusion` is told of the word n-gram that the options name, or that lies in the model's folder."""
    source = options["language_model"]
    if source is OF_FOLDER:
        source = folder if (folder / FOLDER).is_dir() else None
    if source is None:
        return {}
    if Path(source).is_dir():
        check_alphabet(Path(source), dict(zip(tokenizer.order, tokenizer.pieces(), strict=True)))
    found = find_language_model(source)
    found |= {name: value for name, value in options.items() if name in (*found, "unigrams") and value is not OF_FOLDER}
    if isinstance(found.get("unigrams"), (str, Path)):
        found["unigrams"] = read_unigrams(found["unigrams"])
    return {"boundaries": found.pop("score_boundary"), **found}
