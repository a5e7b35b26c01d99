"""What the YAML of a model may name: a folder from anywhere can build modules, and do nothing else.

A tag is looked up and judged by where the thing it names was defined, so that no path through an allowed package leads
out of it. `HparamsDocument.check_safe` applies this to a whole document.
"""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from toolkit.errors import ConfigError
from toolkit.files import check_inside

# Where classes may come from. Training runs the user's own YAML and is not limited.
_TORCH = (
    *("activation", "batchnorm", "container", "conv", "dropout", "flatten", "instancenorm", "linear", "loss"),
    *("normalization", "padding", "pooling", "rnn", "sparse", "transformer"),
)
_SPEECHBRAIN = (
    *("activations", "attention", "CNN", "containers", "dropout", "embedding", "linear", "normalization", "pooling"),
    *("RNN", "schedulers", "transducer"),
)
PACKAGES = (
    *("toolkit.models.", "toolkit.decoders.", "toolkit.inference.checkpoints."),
    *("toolkit.tokenizer.", "toolkit.multilingual_tokenizer."),
    # others of torch.nn read attributes by name (cpp), or call whatever they are given (parallel); so do adapters
    *(f"torch.nn.modules.{name}." for name in _TORCH),
    *(f"speechbrain.nnet.{name}." for name in _SPEECHBRAIN),
    *("torchaudio.transforms.", "lhotse.dataset.signal_transforms.", "sentencepiece."),
    *("speechbrain.processing.features.", "speechbrain.lobes.features."),
    # others of its lobes read pickles, or download what they find in a YAML
    *(f"speechbrain.lobes.models.{name}." for name in ("CRDNN", "RNNLM", "VanillaNN", "convolution", "transformer")),
    *(f"speechbrain.lobes.models.{name}." for name in ("ContextNet", "ESPnetVGG", "wav2vec")),
    *(f"speechbrain.augment.{name}." for name in ("augmenter", "freq_domain", "time_domain")),
    *(f"speechbrain.integrations.huggingface.{name}." for name in ("wav2vec2", "hubert", "wavlm")),
    *("speechbrain.dataio.encoder.", "speechbrain.dataio.preprocess.", "speechbrain.utils.epoch_loop."),
)
# What may be named, and not called while the document is built: losses, and searches that load a language model.
NAMED_ONLY = ("speechbrain.nnet.losses.", "speechbrain.decoders.ctc.")
# Where names may be looked up: ``lhotse.dataset.SpecAugment`` is defined in lhotse.dataset.signal_transforms.
LOOKED_UP = (*PACKAGES, *NAMED_ONLY, "torch.nn.", "lhotse.dataset.", "speechbrain.decoders.")
# Functions that a model's YAML may apply.
FUNCTIONS = (
    *("len", "toolkit.pretrained.load_language_model"),
    "speechbrain.utils.filter_analysis.stack_filter_properties",
)
# The only attributes that may be read, as `!ref <encoder.output_size>`.
ATTRIBUTES = ("in_features", "out_features", "output_size")
# The only arguments of classes that could load more than they should: any file as a tokenizer; code of a hub's.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "sentencepiece.": (),
    "speechbrain.integrations.huggingface.": (
        *("source", "save_path", "output_norm", "output_all_hiddens"),
        *("freeze", "freeze_feature_extractor", "apply_spec_augment"),
    ),
}
# Arguments that name a file or a folder, which has to be the model's own.
FILES = {
    *("model_file", "word_ngram", "token_ngram", "file", "path", "folder", "source", "save_path", "csv_file"),
    "kenlm_model_path",
}
# Tags of plain data. All others of YAML itself are refused: `!!python/object/apply:os.system` is one of them.
PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "merge")}
TEXT_TAGS = PLAIN_TAGS - {"tag:yaml.org,2002:null"}  # of what can be a path

# Nodes and characters that a document may have once its aliases and references are written out: those of SpeechBrain's
# recognisers come to 3,000, and a list of data sets may be long.
LARGEST = 500_000
LARGEST_FILE = 2_000_000  # bytes
MOST_REFERENCES = 1000  # those of SpeechBrain's recognisers come to 150

REFERENCE = re.compile(r"<([^>]*)>")


def yaml_nodes(root: Node) -> Iterator[Node]:
    """Every node of a composed YAML text, keys included, each once however often it is aliased."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += reversed(children(node))


def children(node: Node) -> list[Node]:
    """The nodes directly below one, in their order."""
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def is_safe(node: Node) -> bool:
    """Whether building this node can only make data, a class of `PACKAGES`, or call one of `FUNCTIONS`.

    A class is looked up and asked where it was defined: ``torch.nn.modules.module.torch.hub.load`` begins well, too.
    hyperpyyaml parses the text of tuples, ``(1, 2)``, once more, with all of PyYAML's tags.
    """
    if isinstance(node, ScalarNode) and (node.tag == "!tuple" or node.value.startswith("(")) and "!" in node.value:
        return False
    kind, _, name = node.tag.partition(":")
    if node.tag == "!apply:getattr":  # made of `!ref <encoder.output_size>`
        attribute = node.value[1] if isinstance(node, SequenceNode) and len(node.value) == 2 else None
        return isinstance(attribute, ScalarNode) and attribute.value in ATTRIBUTES
    if kind == "!apply":
        return name in FUNCTIONS
    if kind in ("!new", "!name"):
        return is_public(name) and name.startswith(LOOKED_UP) and _may_be_named(pydoc.locate(name), node)
    if node.tag in ("!ref", "!copy"):
        return "**" not in str(node.value)  # `!ref 9 ** 9 ** 9` would never be done
    return node.tag == "!tuple" or node.tag in PLAIN_TAGS


def is_public(name: str) -> bool:
    """Whether no part of a dotted name is private."""
    return not any(part.startswith("_") for part in name.split("."))


def _may_be_named(found: object, node: Node) -> bool:
    """Whether what a tag was found to name may stand there, with the arguments given.

    A class that opens files may not be named only: whatever it is given to calls it with arguments that nobody checks.
    """
    place = f"{getattr(found, '__module__', None)}."
    if not place.startswith(NAMED_ONLY) and not (isinstance(found, type) and place.startswith(PACKAGES)):
        return False
    given = {name for name, _ in arguments(node, found)}
    if not all(given <= set(names) for package, names in ARGUMENTS.items() if place.startswith(package)):
        return False
    if place.startswith("torchaudio.") and ("wkwargs" in given or _has_key(node, "wkwargs")):
        return False  # it passes them to whatever ``window_fn`` names
    if place.startswith(NAMED_ONLY):
        return node.tag.startswith("!name:") and not given & FILES
    return node.tag.startswith("!new:") or not FILES & set(inspect.signature(found).parameters)


def _has_key(node: Node, name: str) -> bool:
    """Whether any mapping in a node has this key."""
    return any(key == name for inner in yaml_nodes(node) for key, _ in _keywords(inner))


def arguments(node: Node, called: Callable[..., object]) -> list[tuple[str, Node]]:
    """The arguments that a tagged node gives to what it names; those that its signature has no name for are ``*``."""
    if not isinstance(node, SequenceNode):
        return list(_keywords(node))
    names = list(inspect.signature(called).parameters) if node.value else []
    return list(zip_longest(names[: len(node.value)], node.value, fillvalue="*"))


def _keywords(node: Node) -> Iterator[tuple[str, Node]]:
    """The entries of a mapping, and of those that are merged into it; ruamel.yaml writes ``!!merge x`` as ``<<``."""
    for key, value in node.value if isinstance(node, MappingNode) else ():
        if key.value == "<<":
            for merged in value.value if isinstance(value, SequenceNode) else [value]:
                yield from _keywords(merged)
        else:
            yield (key.value if isinstance(key, ScalarNode) else "*"), value


def check_files(node: Node, folder: Path, given: Collection[str] = ()) -> None:
    """Raise a ConfigError where an argument of a node names a file outside the model's folder.

    Parameters
    ----------
    node
        Of a document whose references are resolved, and that `is_safe`.
    given
        Values that may be anywhere, as they are not the document's, but the user's.
    """
    kind, _, name = node.tag.partition(":")
    if kind not in ("!new", "!apply") or name == "getattr":
        return
    for argument, value in arguments(node, pydoc.locate(name)):
        if argument in FILES and value.tag in TEXT_TAGS and isinstance(value, ScalarNode) and value.value not in given:
            try:
                check_inside(Path(value.value), folder)
            except ConfigError as error:
                raise ConfigError(f"{argument}: {error}") from None


def shown(node: Node) -> str:
    """The tag of a refused node, as it is written."""
    hidden = isinstance(node, ScalarNode) and "!" in node.value
    return node.value if hidden else node.tag.replace("tag:yaml.org,2002:", "!!")


def check_size(root: Node | None, path: str | Path, *, references: bool = False) -> None:
    """Refuse a document that is small only as long as its aliases, and references, are not written out.

    ::

        a: &a [x, x, x, x]
        b: &b [*a, *a, *a, *a]      # 16
        c: !ref <b> <b> <b> <b>     # 64, and so on

    Raises
    ------
    ConfigError
        Written out, it is larger than `LARGEST`, or something in it contains itself.
    """
    totals: dict[int, int] = {}
    entered: set[int] = set()
    waiting = [(root, False)] if root is not None else []
    keys = {key.value: value for key, value in root.value} if references and isinstance(root, MappingNode) else {}
    while waiting:
        node, done = waiting.pop()
        parts = [*children(node), *(_referred(node, keys) if references else [])]
        if done:
            # a part that is not counted yet is one that this node stands in: it has no end
            totals[id(node)] = _own_size(node) + sum(totals.get(id(part), LARGEST + 1) for part in parts)
            if totals[id(node)] > LARGEST:
                raise ConfigError(
                    f"{path}, line {node.start_mark.line + 1}: contains itself, or is larger than {LARGEST} nodes and "
                    "characters once its aliases and references are written out; a model has no need of that"
                )
        elif id(node) not in entered:
            entered.add(id(node))
            waiting += [(node, True), *((part, False) for part in parts)]


def _own_size(node: Node) -> int:
    """A node counts one, and a text that is put together counts its characters."""
    return len(node.value) if isinstance(node, ScalarNode) and "<" in node.value else 1


def _referred(node: Node, keys: Mapping[str, Node]) -> list[Node]:
    """The nodes that the text of a node refers to, as often as it does; a plain ``<bos>`` called bos is but a text."""
    if not isinstance(node, ScalarNode):
        return []
    found = (_target(text, keys) for text in REFERENCE.findall(node.value))
    return [part for part in found if part is not None and (part is not node or node.tag in ("!ref", "!copy"))]


def _target(reference: str, keys: Mapping[str, Node]) -> Node | None:
    """The node that ``<key[inner].attribute>`` means, by the keys of the document."""
    first, *inner = (part.strip("] ") for part in reference.partition(".")[0].split("["))
    node = keys.get(first)
    for name in inner:
        pairs = node.value if isinstance(node, MappingNode) else []
        node = next((value for key, value in pairs if key.value == name), None)
    return node


def check_references(root: Node | None, path: str | Path) -> None:
    """Raise a ConfigError where a document has more than `MOST_REFERENCES`, each of which takes time to resolve."""
    nodes = yaml_nodes(root) if root is not None else ()
    count = sum(len(REFERENCE.findall(str(node.value))) for node in nodes if node.tag in ("!ref", "!copy"))
    if count > MOST_REFERENCES:
        raise ConfigError(f"{path}: {count} references, expected at most {MOST_REFERENCES}: a model needs no more")
