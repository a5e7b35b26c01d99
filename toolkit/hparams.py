"""HyperPyYAML files as documents: which keys they have, what refers to what, and building the objects they declare.

A file is read twice: as a document (here, nothing is built) to check keys, apply overrides and archive it with its
comments; then by hyperpyyaml, which builds the objects.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Any

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, TaggedScalar
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node

from toolkit.class_names import exists, nearest
from toolkit.errors import ConfigError, ToolkitError, did_you_mean
from toolkit.safety import (
    LARGEST_FILE,
    LOOKED_UP,
    check_files,
    check_references,
    check_size,
    is_safe,
    shown,
    yaml_nodes,
)

# What Lhotse's documentation names and torch 2.11 cannot run, or Lhotse no longer has; and what to use in its place.
REPLACED = {
    "StatelessSampler": "cannot be built with torch 2.11; use toolkit.dataio.lhotse_repairs.StatelessSampler",
    "PerturbTempo": "needs SoX, which torchaudio dropped; use toolkit.dataio.lhotse_repairs.PerturbTempo",
    "SpeechRecognitionDataset": "is gone; use lhotse.dataset.K2SpeechRecognitionDataset: a sampler has the cuts",
    "maybe_pad": "is gone; use the method `pad` of a CutSet, or lhotse.dataset.collation.collate_audio, which pads",
}

# What toolkit and the scripts read by name; every other key must be referred to by one that is read.
STANDARD_KEYS = {
    "seed": "initialisation, shuffling and augmentation all draw from it",
    "output_folder": "where the run leaves everything it makes",
    "brain": "the Brain class that trains the model",
    "model": "the model: what is trained, and what the Transcriber runs",
    "tokenizer": "text to tokens and back",
    "tokenizer_file": "SentencePiece model made by train_tokenizer.py; copied into the run's folder",
    "lm_folder": "run folder of train_lm.py; its model is copied into the run's folder",
    "wav2vec2": "folder or hub name of the pretrained model that is fine-tuned; its description is kept with the run",
    "encoder_folder": "run folder of the recogniser whose encoder a speech language model hears with",
    "init_from": "run or exported folder whose weights training begins with, where names, shapes and tokens agree",
    "freeze": "beginnings of the names of parameters that stay as they are: [encoder]",
    "param_groups": "options of the optimizer for some parameters, by beginning of name: {encoder: {lr: 0.0001}}",
    "sample_rate": "of the waveforms the model hears, in Hz; other audio is resampled",
    "train_data": "loader of the training set",
    "valid_data": "loader of the validation set",
    "test_data": "loaders of the test sets, by name",
    "train_text": "training sentences of a tokenizer or language model, one a line",
    "valid_text": "validation sentences of a language model",
    "test_text": "test sentences of a language model, by name",
    "batch_tokens": "tokens in a batch of sentences",
    "epoch_sentences": "lines of an epoch of a training text that is streamed (absent: all, held in memory)",
    "epoch_counter": "counts epochs, and may stop early",
    "opt_class": "the optimizer, without its parameters",
    "lr_annealing": "SpeechBrain scheduler called with the validation figure after every epoch",
    "lr_schedule": "learning rate at every step (toolkit.brains.schedules)",
    "ctc_weight": "share of the CTC loss beside that of an attention decoder or a transducer",
    "number_of_ctc_epochs": "epochs after which the CTC loss is dropped (absent: never)",
    "consistency_weight": "of the disagreement between two views of each training utterance, in the CTC loss",
    "label_smoothing": "probability spread over the wrong tokens in the decoder's loss",
    "valid_search": "the search that ranks checkpoints on the validation set",
    "test_search": "the search used for testing and transcribing",
    "ranked_by": "what ranks checkpoints on the validation set: WER (absent), or CER for writing without spaces",
    "average_checkpoints": "how many of the best checkpoints are averaged for testing and transcribing",
    "ema_decay": "decay of the moving average of the weights that is validated, tested and saved: 0.999",
    "tensorboard": "also write TensorBoard logs (needs the extra [tensorboard])",
    "wandb": "project of Weights & Biases to which figures are sent, too (needs the extra [wandb])",
    "mlflow": "experiment of MLflow to which figures are sent, too (needs the extra [mlflow])",
    "precision": "fp32, bf16 or (on a GPU) fp16",
    "compile": "train with torch.compile, which takes minutes and a C++ compiler",
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
        self.given: set[str] = set()  # values of the user's own, which may name any file
        self._yaml = YAML()
        self._yaml.width, self._yaml.preserve_quotes = 120, True
        try:
            if self.path.stat().st_size > LARGEST_FILE:
                raise ConfigError(f"{self.path}: {self.path.stat().st_size} bytes, expected at most {LARGEST_FILE}")
            self._written = self.path.read_text(encoding="utf-8")
            check_size(compose(self._written), self.path)
            self.data = _without_leading_comments(self._yaml.load(self._written))
        except RecursionError:
            raise ConfigError(f"{self.path}: nested too deeply") from None
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be read ({error.strerror}); give the path of a hyperparameter file"
            ) from None
        except YAMLError as error:
            raise ConfigError(f"{self.path}: not valid YAML: {' '.join(str(error).split())}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.path}: not a text in UTF-8 ({error.reason} at byte {error.start})") from None
        if not isinstance(self.data, CommentedMap) or not all(isinstance(key, str) for key in self.data):
            raise ConfigError(f"{self.path}: expected `key: value` lines at the top level")

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def override(self, overrides: Mapping[str, Any]) -> None:
        """Replace top-level values; a mapping replaces only the entries that it names, at any depth."""
        for key, value in overrides.items():
            if key not in self.data:
                raise ConfigError(f"{self.path}: there is no key {key!r} to override{did_you_mean(key, self.data)}")
            self.given |= {str(node) for node in tree_nodes(value) if isinstance(node, (str, Path))}
            _replace(self.data, key, value)

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
        """Raise a ConfigError for the first of `key_problems`."""
        for problem in self.key_problems():
            raise ConfigError(problem)

    def key_problems(self) -> Iterator[str]:
        """References to keys that are not there, and keys that nothing reads."""
        for name in sorted(self.referred() - set(self.data)):
            yield f"{self.path}: `!ref <{name}>` refers to no key{did_you_mean(name, self.data)}"
        for key in self.unread():
            yield (
                f"{self.path}, line {self.line(key)}: nothing reads the key {key!r}"
                f"{did_you_mean(key, STANDARD_KEYS)}; remove it, or refer to it with `!ref <{key}>`"
            )

    def unread(self) -> list[str]:
        """The top-level keys that nothing reads: not `STANDARD_KEYS`, and no other key refers to them."""
        read = self.referred() | set(STANDARD_KEYS)
        return [key for key in self.data if key not in read and not key.startswith("__")]

    def referred(self) -> set[str]:
        """The names that any value refers to."""
        return {name for key in self.data for name in self.references(key)}

    def line(self, key: str) -> int:
        """The number of the line on which a top-level key stands."""
        return self.data.lc.key(key)[0] + 1

    def calls(self) -> Iterator[tuple[str, str, list[str]]]:
        """Every ``!new:`` and ``!name:``: the top-level key that it belongs to, what it names, the keywords given."""
        for key, value in self.data.items():
            for node in tree_nodes(value):
                kind, _, name = (tag_of(node) or "").partition(":")
                if kind in ("!new", "!name"):
                    yield key, name, list(node) if isinstance(node, Mapping) else []

    def check_safe(self) -> None:
        """Raise a ConfigError for anything that would build or call what `toolkit.safety` does not allow.

        Checked twice: before references are resolved, for what would be done then (``!include:``), and after, as they
        put texts together.
        """
        check_references(compose(self._written), self.path)
        check_size(compose(self._written), self.path, references=True)
        written = self._caught(lambda: _uncommented(self.text()))
        self._check_nodes(self._caught(lambda: compose(written)))
        self._check_nodes(self._caught(lambda: compose(resolve_references(written).getvalue())))

    def check_files(self) -> None:
        """Raise a ConfigError where an argument names a file outside the document's folder; after `check_safe`."""
        root = self._caught(lambda: compose(resolve_references(_uncommented(self.text())).getvalue()))
        for key, value in root.value:
            for node in yaml_nodes(value):
                try:
                    self._caught(lambda node=node: check_files(node, self.path.parent, self.given))
                except ConfigError as error:
                    raise ConfigError(f"{self.path}, line {self._line_of(node, str(key.value))}: {error}") from None

    def _check_nodes(self, root: Node) -> None:
        for key, value in root.value:
            for node in (*yaml_nodes(key), *yaml_nodes(value)):
                self._check_exists(node, str(key.value))
                if not self._caught(lambda node=node: is_safe(node)):
                    raise ConfigError(
                        f"{self.path}, line {self._line_of(node, str(key.value))}: the tag `{shown(node)}` is not one "
                        "that a model may use; allowed are classes of toolkit, torch.nn, torchaudio.transforms and "
                        "SpeechBrain's models, which toolkit/safety.py lists. trust_source_code=True allows all"
                    )

    def _check_exists(self, node: Node, key: str) -> None:
        """Raise a ConfigError for a class that a model might use, if only there were one of its name."""
        kind, _, name = node.tag.partition(":")
        if kind in ("!new", "!name") and name.startswith(LOOKED_UP) and not self._caught(lambda: exists(name)):
            raise ConfigError(
                f"{self.path}, line {self._line_of(node, key)}: there is no {name}{self._caught(lambda: nearest(name))}"
            )

    def _line_of(self, node: Node, key: str) -> int:
        """The line of the file that a node comes from; of its top-level key, where references put it together."""
        for written in yaml_nodes(compose(self._written)):
            if written.tag == node.tag and shown(written) == shown(node):
                return written.start_mark.line + 1
        return self.line(key) if key in self.data.lc.data else 1

    def value(self, key: str) -> Any:
        """The value of a key that holds text or a number, its references resolved; ``None`` without such a key."""
        if not isinstance(self.data.get(key), TaggedScalar):
            return self.data.get(key)
        part = self.copy()
        part.keep(part.needed_by([key]))
        return part.build()[key]

    def copy(self) -> HparamsDocument:
        """A document whose top-level keys can be set and dropped without changing this one."""
        twin = copy(self)
        twin.data = self.data.copy()
        return twin

    def text(self) -> str:
        """The document as YAML, comments and references included."""
        return self._dump(self.data)

    def text_without_comments(self) -> str:
        """The document as YAML, references included."""
        return _uncommented(self.text()).strip() + "\n"

    def _dump(self, data: Any) -> str:
        stream = io.StringIO()
        self._yaml.dump(data, stream)
        return stream.getvalue()

    def build(self) -> dict[str, Any]:
        """The objects that the document declares, by top-level key."""
        text = self._caught(lambda: _uncommented(self.text()))
        for node in yaml_nodes(compose(text)):
            self._check_replaced(node.tag.partition(":")[2])
        return self._caught(lambda: load_hyperpyyaml(text))

    def _check_replaced(self, name: str) -> None:
        replacement = REPLACED.get(name.rpartition(".")[2])
        if replacement is not None and name.startswith("lhotse."):
            raise ConfigError(f"{self.path}: {name} {replacement}")

    def _caught(self, read: Callable[[], Any]) -> Any:
        """What ``read`` returns; the errors of a wrong document as a ConfigError.

        They are any: each class that it names has its own for arguments that it cannot use.
        """
        try:
            return read()
        except ToolkitError:
            raise
        except YAMLError as error:
            raise ConfigError(f"{self.path}: {' '.join(str(error).split())}") from error
        except Exception as error:
            raise ConfigError(f"{self.path}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def compose(text: str) -> Node | None:
    """The nodes of a YAML text, of which nothing is built; None of an empty one."""
    return YAML(typ="safe", pure=True).compose(text)


def _uncommented(text: str) -> str:
    """The same YAML without comments, which hyperpyyaml would at times move to where they break it."""
    stream = io.StringIO()
    YAML(typ="safe", pure=True).serialize(compose(text), stream)
    return stream.getvalue()


def reference(target: str) -> TaggedScalar:
    """The node ``!ref target``, to put into a document."""
    return yaml_value(f"!ref {target}")


def yaml_value(text: str) -> Any:
    """The node that a YAML text is, to put into a document."""
    return YAML().load(text)


def _replace(tree: CommentedMap, key: str, value: Any) -> None:
    """Put a value into a YAML tree, and of a mapping only its entries into the mapping that is there."""
    if isinstance(value, Mapping) and isinstance(tree.get(key), CommentedMap):
        for inner, one in value.items():
            _replace(tree[key], inner, one)
    elif isinstance(value, Mapping) and (tag_of(tree.get(key)) or "").startswith(("!new:", "!name:")):
        arguments = CommentedMap(value)  # of a class that had none
        arguments.yaml_set_ctag(tree[key].tag)
        tree[key] = arguments
    else:
        tree[key] = value


def differing(before: Any, now: Any, name: str) -> Iterator[str]:
    """The smallest parts of two YAML trees that are not the same, as ``model.encoder.dropout was 0.1, now 0.2``."""
    alike = tag_of(before) == tag_of(now)
    if alike and isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from differing(before.get(key), now.get(key), f"{name}.{key}")
    elif alike and isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, pair in enumerate(zip(before, now, strict=True)):
            yield from differing(*pair, f"{name}[{place}]")
    elif before != now and (old := _one_line(before)) != (new := _one_line(now)):
        yield f"{name} was {old}, now {new}"


def _one_line(node: Any) -> str:
    """A YAML tree as text on one line; ``nothing`` for ``None``."""
    stream = io.StringIO()
    YAML().dump({"value": node}, stream)
    return " ".join(_uncommented(stream.getvalue()).partition(":")[2].split()) or "nothing"


def tree_nodes(node: Any) -> Iterator[Any]:
    """Every node of a YAML tree, itself included."""
    yield node
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for child in children:
        yield from tree_nodes(child)


def tag_of(node: Any) -> str | None:
    """The tag of a node of a YAML tree, such as ``!new:torch.nn.ReLU``; None without."""
    tag = getattr(node, "tag", None)
    return getattr(tag, "value", None)


def _without_leading_comments(data: Any) -> Any:
    """The tree without the comments that stand between a tag and its first entry.

    ::

        augment: !new:torch.nn.Sequential
          # this one
          - !new:lhotse.dataset.SpecAugment    # and this one

    ruamel.yaml would write them back in places where the text is another document, or none.
    """
    for node in tree_nodes(data):
        comments = getattr(node, "ca", None)
        if comments is None:
            continue
        for key, places in list(comments.items.items()):
            if tag_of(node[key]) and len(places) > 3:
                places[3] = None
            if not any(places):
                del comments.items[key]
        if tag_of(node):
            comments.comment = None
    return data


def _references(node: Any) -> Iterator[str]:
    return (str(n.value) for n in tree_nodes(node) if isinstance(n, TaggedScalar) and tag_of(n) in ("!ref", "!copy"))
