"""HyperPyYAML files as documents: which keys they have, what refers to what, and building the objects they declare.

A file is read twice: as a document (here, nothing is built) to check keys, apply overrides and archive it with its comments;
then by hyperpyyaml, which builds the objects.
"""

from __future__ import annotations

import io
import pydoc
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, TaggedScalar
from ruamel.yaml.error import YAMLError

from toolkit.errors import ConfigError, did_you_mean

# The packages whose classes and functions a model's YAML may name. Training runs the user's own YAML and is not limited.
SAFE_PACKAGES = ("toolkit.", "torch.nn.", "torchaudio.transforms.", "lhotse.dataset.", "speechbrain.nnet.", "speechbrain.lobes.")
# Functions a model's YAML may apply.
SAFE_FUNCTIONS = ("len", "toolkit.pretrained.load_language_model")

# What toolkit and the scripts read by name; every other key must be referred to by one that is read.
STANDARD_KEYS = {
    "seed": "initialisation, shuffling and augmentation all draw from it",
    "output_folder": "where the run leaves everything it makes",
    "brain": "the Brain class that trains the model",
    "model": "the model: what is trained, and what the Transcriber runs",
    "tokenizer": "text to tokens and back",
    "tokenizer_file": "SentencePiece model made by train_tokenizer.py; copied into the run's folder",
    "lm_folder": "run folder of train_lm.py; its model is copied into the run's folder",
    "sample_rate": "of the waveforms the model hears, in Hz; other audio is resampled",
    "train_data": "loader of the training set",
    "valid_data": "loader of the validation set",
    "test_data": "loaders of the test sets, by name",
    "train_text": "training sentences of a tokenizer or language model, one a line",
    "valid_text": "validation sentences of a language model",
    "test_text": "test sentences of a language model, by name",
    "batch_tokens": "tokens in a batch of sentences",
    "number_of_epochs": "passes over the training set",
    "epoch_counter": "counts epochs, and may stop early",
    "opt_class": "the optimizer, without its parameters",
    "lr_annealing": "SpeechBrain scheduler called with the validation figure after every epoch",
    "lr_schedule": "learning rate at every step (toolkit.brains.schedules)",
    "ctc_weight": "share of the CTC loss in a joint CTC/attention loss",
    "number_of_ctc_epochs": "epochs after which the CTC loss is dropped (absent: never)",
    "label_smoothing": "probability spread over the wrong tokens in the decoder's loss",
    "valid_search": "the search that ranks checkpoints on the validation set",
    "test_search": "the search used for testing and transcribing",
    "average_checkpoints": "how many of the best checkpoints are averaged for testing and transcribing",
    "tensorboard": "also write TensorBoard logs (needs the extra [tensorboard])",
    "precision": "fp32, bf16 or (on a GPU) fp16",
    "max_grad_norm": "gradient norm above which gradients are scaled down",
    "grad_accumulation_factor": "batches whose gradients are added up before a step",
    "ckpt_interval_minutes": "minutes between checkpoints inside an epoch",
    "model_type": "kind of tokens: unigram, bpe or char",
    "vocab_size": "number of tokens of a tokenizer that is being trained",
}

REFERENCE = re.compile(r"<\s*([A-Za-z_]\w*)")


class HparamsDocument:
    """A hyperparameter file as written: top-level keys, references between them, comments; no objects.

    Raises
    ------
    ConfigError
        When the file is missing, is not YAML or is not a mapping.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._yaml = YAML()
        self._yaml.width, self._yaml.preserve_quotes = 120, True
        try:
            self.data = self._yaml.load(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read ({error.strerror}); give the path of a hyperparameter file") from None
        except YAMLError as error:
            raise ConfigError(f"{self.path}: not valid YAML: {' '.join(str(error).split())}") from None
        if not isinstance(self.data, CommentedMap):
            raise ConfigError(f"{self.path}: expected `key: value` lines at the top level")

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def override(self, overrides: Mapping[str, Any]) -> None:
        """Replace top-level values; a mapping replaces only the entries that it names."""
        for key, value in overrides.items():
            if key not in self.data:
                raise ConfigError(f"{self.path}: there is no key {key!r} to override{did_you_mean(key, self.data)}")
            if isinstance(value, Mapping) and isinstance(self.data[key], CommentedMap):
                self.data[key].update(value)
            else:
                self.data[key] = value

    def references(self, key: str) -> set[str]:
        """The top-level keys that one key's value refers to, directly."""
        return {name for text in _references(self.data[key]) for name in REFERENCE.findall(text)}

    def needed_by(self, roots: Iterable[str]) -> set[str]:
        """The given keys and all that they refer to, directly or through others."""
        needed: set[str] = set()
        waiting = [key for key in roots if key in self.data]
        while waiting:
            key = waiting.pop()
            needed.add(key)
            waiting += [name for name in self.references(key) if name in self.data and name not in needed]
        return needed

    def keep(self, keys: Iterable[str]) -> None:
        """Drop every top-level key that is not named."""
        kept = set(keys)
        for key in [key for key in self.data if key not in kept]:
            del self.data[key]

    def check_keys(self) -> None:
        """Raise a ConfigError for the first key that nothing reads, and for a reference to a key that is not there."""
        referred = {name for key in self.data for name in self.references(key)}
        for name in sorted(referred - set(self.data)):
            raise ConfigError(f"{self.path}: `!ref <{name}>` refers to no key{did_you_mean(name, self.data)}")
        for key in self.data:
            if key not in STANDARD_KEYS and key not in referred and not key.startswith("__"):
                raise ConfigError(
                    f"{self.path}, line {self.data.lc.key(key)[0] + 1}: nothing reads the key {key!r}"
                    f"{did_you_mean(key, STANDARD_KEYS)}; remove it, or refer to it with `!ref <{key}>`"
                )

    def check_safe(self) -> None:
        """Raise a ConfigError for a tag that would build or call anything outside `SAFE_PACKAGES`."""
        for tag in _tags(self.data):
            if not _is_safe(tag):
                raise ConfigError(
                    f"{self.path}: the tag `{tag}` is not one that a model may use; allowed are classes of "
                    f"{', '.join(package + '*' for package in SAFE_PACKAGES)}"
                )

    def value_text(self, key: str) -> str:
        """One key's value as YAML on one line, to compare and to show; ``nothing`` when there is no such key."""
        return " ".join(self._dump({key: self.data[key]}).partition(":")[2].split()) if key in self.data else "nothing"

    def text(self) -> str:
        """The document as YAML, comments and references included."""
        return self._dump(self.data)

    def _dump(self, data: Any) -> str:
        stream = io.StringIO()
        self._yaml.dump(data, stream)
        return stream.getvalue()

    def build(self) -> dict[str, Any]:
        """The objects that the document declares, by top-level key."""
        try:
            return load_hyperpyyaml(self.text())
        except (TypeError, ImportError, AttributeError, YAMLError) as error:
            raise ConfigError(f"{self.path}: {' '.join(str(error).split())}") from error


def reference(target: str) -> TaggedScalar:
    """The node ``!ref target``, to put into a document."""
    return YAML().load(f"!ref {target}")


def _nodes(node: Any) -> Iterator[Any]:
    """Every node of a YAML tree, itself included."""
    yield node
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for child in children:
        yield from _nodes(child)


def _tag(node: Any) -> str | None:
    tag = getattr(node, "tag", None)
    return getattr(tag, "value", None)


def _tags(node: Any) -> Iterator[str]:
    return (tag for tag in map(_tag, _nodes(node)) if tag and not tag.startswith("tag:yaml.org"))


def _is_safe(tag: str) -> bool:
    """Whether building this tag can only make a class of `SAFE_PACKAGES` or call one of `SAFE_FUNCTIONS`.

    The class is looked up and asked where it was defined: ``torch.nn.modules.module.torch.hub.load`` begins well, too.
    """
    kind, _, name = tag.partition(":")
    if kind == "!apply":
        return name in SAFE_FUNCTIONS
    if kind in ("!new", "!name") and name.startswith(SAFE_PACKAGES):
        found = pydoc.locate(name)
        return isinstance(found, type) and f"{found.__module__}.".startswith(SAFE_PACKAGES)
    return tag in ("!ref", "!copy", "!tuple")


def _references(node: Any) -> Iterator[str]:
    return (str(n.value) for n in _nodes(node) if isinstance(n, TaggedScalar) and _tag(n) in ("!ref", "!copy"))
