"""HyperPyYAML of SpeechBrain 0.5 and 1.0 in the names and arguments of today, before anything is built.

`RULES` says what each old class has become. A searcher becomes ours, with scorers and weights in the place of arguments
for CTC and language model. Training's augmentations become those of SpeechBrain 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq, merge_attrib

from toolkit.class_names import exists, nearest
from toolkit.errors import ConfigError
from toolkit.hparams import HparamsDocument, tag_of, yaml_value
from toolkit.inference.translated_augment import AUGMENTER, environment, spectrogram, time_domain
from toolkit.inference.translated_search import TRANSFORMER, transformer, with_causal, with_scorers, without_ctc

GONE = None  # in the place of a new name: the argument is dropped


@dataclass(frozen=True)
class Rule:
    """What an old class has become.

    Attributes
    ----------
    name
        The class of today, or what tells it by the arguments.
    arguments
        New names of its arguments, by the old ones; `GONE` for those that have no counterpart.
    change
        Does what new names cannot: takes the arguments, changes them, and says in a few words what it did.
    """

    name: str | Callable[[CommentedMap], str]
    arguments: Mapping[str, str | None] = field(default_factory=dict)
    change: Callable[[CommentedMap], list[str]] | None = None


@dataclass(frozen=True)
class Change:
    """One thing that was translated, and the line of the old file where it stands."""

    line: int
    place: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.place}: {self.text}"


_TIME, _HF = "speechbrain.augment.time_domain", "speechbrain.integrations.huggingface"
_OLD_AUGMENT = "speechbrain.processing.speech_augmentation"
_S2S, _BEAM = "toolkit.decoders.s2s", {"lm_modules": "language_model", "length_rewarding": "length_bonus"}
_BEAM |= dict.fromkeys(["return_log_probs", "minus_inf", "ctc_window_size"], GONE)
_SCORERS = "toolkit.decoders"

RULES: dict[str, Rule] = {
    # searchers
    "speechbrain.decoders.S2SRNNGreedySearcher": Rule(f"{_S2S}.S2SRNNGreedySearcher"),
    "speechbrain.decoders.S2SRNNBeamSearcher": Rule(f"{_S2S}.S2SRNNBeamSearcher", _BEAM, with_scorers),
    "speechbrain.decoders.S2SRNNBeamSearchLM": Rule(f"{_S2S}.S2SRNNBeamSearcher", _BEAM, with_scorers),
    "speechbrain.decoders.S2SRNNBeamSearchTransformerLM": Rule(f"{_S2S}.S2SRNNBeamSearcher", _BEAM, with_scorers),
    "speechbrain.decoders.S2STransformerGreedySearch": Rule(
        f"{_S2S}.S2STransformerGreedySearcher", {"temperature": GONE}, without_ctc
    ),
    "speechbrain.decoders.S2STransformerGreedySearcher": Rule(f"{_S2S}.S2STransformerGreedySearcher"),
    "speechbrain.decoders.S2STransformerBeamSearch": Rule(f"{_S2S}.S2STransformerBeamSearcher", _BEAM, with_scorers),
    "speechbrain.decoders.S2STransformerBeamSearcher": Rule(f"{_S2S}.S2STransformerBeamSearcher", _BEAM, with_scorers),
    "speechbrain.decoders.TransducerBeamSearcher": Rule(
        "toolkit.decoders.speechbrain_transducer.TransducerBeamSearcher"
    ),
    # scorers
    "speechbrain.decoders.ScorerBuilder": Rule(f"{_SCORERS}.scorer_builder.ScorerBuilder"),
    "speechbrain.decoders.CTCScorer": Rule(f"{_SCORERS}.ctc_prefix.CTCScorer"),
    "speechbrain.decoders.RNNLMScorer": Rule(f"{_SCORERS}.language_scorers.RNNLMScorer"),
    "speechbrain.decoders.TransformerLMScorer": Rule(f"{_SCORERS}.language_scorers.TransformerLMScorer"),
    "speechbrain.decoders.CoverageScorer": Rule(f"{_SCORERS}.scorers.CoverageScorer"),
    "speechbrain.decoders.LengthScorer": Rule(f"{_SCORERS}.scorers.LengthScorer"),
    # models
    TRANSFORMER: Rule(transformer, change=with_causal),
    "speechbrain.lobes.models.huggingface_wav2vec.HuggingFaceWav2Vec2": Rule(
        f"{_HF}.wav2vec2.Wav2Vec2", {"pretrain": GONE}
    ),
    "speechbrain.nnet.loss.transducer_loss.TransducerLoss": Rule(
        "speechbrain.integrations.numba.transducer_loss.TransducerLoss"
    ),
    # what loads them
    "speechbrain.utils.parameter_transfer.Pretrainer": Rule("toolkit.inference.checkpoints.Pretrainer"),
    "speechbrain.pretrained.Pretrained": Rule("toolkit.inference.pretrained.Pretrained"),
    "speechbrain.pretrained.EncoderDecoderASR": Rule("toolkit.inference.interfaces.EncoderDecoderASR"),
    "speechbrain.pretrained.EncoderASR": Rule("toolkit.inference.interfaces.EncoderASR"),
    # augmentation, of training
    "speechbrain.lobes.augment.TimeDomainSpecAugment": Rule(AUGMENTER, change=time_domain),
    "speechbrain.lobes.augment.SpecAugment": Rule(AUGMENTER, change=spectrogram),
    "speechbrain.lobes.augment.EnvCorrupt": Rule(AUGMENTER, change=environment),
    f"{_OLD_AUGMENT}.AddNoise": Rule(f"{_TIME}.AddNoise", {"mix_prob": GONE}),
    f"{_OLD_AUGMENT}.AddReverb": Rule(f"{_TIME}.AddReverb", {"reverb_prob": GONE}),
    f"{_OLD_AUGMENT}.SpeedPerturb": Rule(f"{_TIME}.SpeedPerturb", {"perturb_prob": GONE}),
    f"{_OLD_AUGMENT}.Resample": Rule(f"{_TIME}.Resample"),
    f"{_OLD_AUGMENT}.DropFreq": Rule(
        f"{_TIME}.DropFreq",
        {
            "drop_count_low": "drop_freq_count_low",
            "drop_count_high": "drop_freq_count_high",
            "drop_width": "drop_freq_width",
            "drop_prob": GONE,
        },
    ),
    f"{_OLD_AUGMENT}.DropChunk": Rule(f"{_TIME}.DropChunk", {"drop_prob": GONE}),
    f"{_OLD_AUGMENT}.DoClip": Rule(f"{_TIME}.DoClip", {"clip_prob": GONE}),
    **{
        f"{_OLD_AUGMENT}.{name}": Rule(f"{_TIME}.{name}")
        for name in ("FastDropChunk", "RandAmp", "ChannelDrop", "ChannelSwap", "CutCat")
    },
    f"{_OLD_AUGMENT}.RandomShift": Rule("speechbrain.augment.freq_domain.RandomShift"),
}

# The same things by the other paths that they are imported by.
ALIASES = (
    (r"speechbrain\.pretrained\.interfaces\.", "speechbrain.pretrained."),
    (r"speechbrain\.processing\.augmentation\.", f"{_OLD_AUGMENT}."),
    (r"speechbrain\.lobes\.models\.huggingface_transformers\.", f"{_HF}."),
)

DECODERS = re.compile(r"^speechbrain\.decoders\.(seq2seq|transducer|scorer)\.")  # what is in them, is in decoders, too

# Of SpeechBrain's own streaming, what holds the state between two chunks: toolkit.inference.streaming has its own.
DROPPED = (
    "speechbrain.tokenizers.SentencePiece.SentencePieceDecoderStreamingContext",
    "speechbrain.tokenizers.SentencePiece.spm_decode_preserve_leading_space",
    "speechbrain.decoders.transducer.TransducerGreedySearcherStreamingContext",
    "speechbrain.decoders.transducer.TransducerBeamSearcher.transducer_greedy_decode_streaming",
)


def translate(document: HparamsDocument) -> list[Change]:
    """Bring a document to today's names, in place; what was changed, in the order of its lines.

    Raises
    ------
    ConfigError
        It names a class of SpeechBrain that is not known; the message says the nearest that is.
    """
    changes = [*_drop(document), *_translated(document, document.data, "", {}), *_add_normalizers(document)]
    return sorted(changes, key=lambda change: change.line)


def _translated(document: HparamsDocument, tree: Any, path: str, done: dict[int, tuple[Any, Any]]) -> Iterator[Change]:
    """Translate all values of a tree, the inner ones first; ``done`` is what became of each, which may have aliases."""
    for key, value in _entries(tree):
        place = f"{path}.{key}".lstrip(".") if isinstance(tree, CommentedMap) else f"{path}[{key}]"
        if id(value) not in done:
            yield from _translated(document, value, place, done)
            for text in _translate(document, tree, key):
                yield Change(_line(tree, key), place, text)
            done[id(value)] = value, tree[key]  # with the value, whose id is then no other's
        elif done[id(value)][1] is not value:
            tree[key] = done[id(value)][1]


def _entries(tree: Any) -> list[tuple[Any, Any]]:
    """What a tree has by itself, not merged from elsewhere, by keys or numbers."""
    if isinstance(tree, CommentedMap):
        return list(tree.non_merged_items())
    return list(enumerate(tree)) if isinstance(tree, CommentedSeq) else []


def _translate(document: HparamsDocument, parent: Any, key: Any) -> list[str]:
    """Translate one value, not what is inside it; what was changed.

    Raises
    ------
    ConfigError
        It is of a class that is not known; or its arguments have changed, and have no names.
    """
    node = parent[key]
    kind, _, old = (tag_of(node) or "").partition(":")
    if kind not in ("!new", "!name", "!apply") or not old.startswith("speechbrain."):
        return []
    name = old
    for pattern, replacement in ALIASES:
        name = re.sub(f"^{pattern}", replacement, name)
    rule = RULES.get(DECODERS.sub("speechbrain.decoders.", name))
    rule = rule or Rule(name if exists(name) else _unknown(document, old, _line(parent, key)))
    arguments = node if isinstance(node, CommentedMap) else CommentedMap()
    if rule.arguments or rule.change:
        if isinstance(node, CommentedSeq) and node:
            where = f"{document.path}, line {_line(parent, key)}"
            raise ConfigError(f"{where}: the arguments of {old} have changed since; give them by name")
        _write_merged(arguments)
    new = rule.name if isinstance(rule.name, str) else rule.name(arguments)
    said = _rename(arguments, rule.arguments)
    said += rule.change(arguments) if rule.change else []
    if new != old or said:
        parent[key] = node if isinstance(node, CommentedSeq) else arguments
        parent[key].yaml_set_ctag(yaml_value(f"{kind}:{new} {{}}").tag)
    return [f"{old} -> {new}"] * (new != old) + said


def _write_merged(arguments: CommentedMap) -> None:
    """Write out what is merged from elsewhere (``<<: *options``), which others may need as it is."""
    if getattr(arguments, merge_attrib, None):
        own = dict(arguments.non_merged_items())
        merged = {key: value for key, value in arguments.items() if key not in own}
        delattr(arguments, merge_attrib)
        arguments.update(merged)


def _rename(arguments: CommentedMap, names: Mapping[str, str | None]) -> list[str]:
    """Give arguments their new names, in their places; what was changed."""
    said = []
    for place, old in enumerate(list(arguments)):
        if old in names:
            value, new = arguments.pop(old), names[old]
            if new is not GONE:
                arguments.insert(place, new, value)
            said.append(f"{old} is now {new}" if new else f"{old} is dropped, which has no counterpart")
    return said


def _unknown(document: HparamsDocument, name: str, line: int) -> str:
    """Raise the error for a class that is neither in the table nor in SpeechBrain."""
    raise ConfigError(f"{document.path}, line {line}: SpeechBrain has no {name}{nearest(name, RULES)}")


def _drop(document: HparamsDocument) -> Iterator[Change]:
    """Drop the keys of what has no counterpart."""
    for key, node in list(document.data.items()):
        if (tag_of(node) or "").partition(":")[2] in DROPPED:
            yield Change(document.line(key), key, f"{tag_of(node)} is dropped, which has no counterpart")
            del document.data[key]


def _add_normalizers(document: HparamsDocument) -> Iterator[Change]:
    """Let the pretrainer load the statistics of global normalisation, where it was left out."""
    loadables = document.data.get("pretrainer", {}).get("loadables") if "pretrainer" in document else None
    if not isinstance(loadables, CommentedMap):
        return
    loaded = {str(getattr(value, "value", "")).strip("<> ") for value in loadables.values()}
    for key, node in document.data.items():
        is_normalizer = (tag_of(node) or "") == "!new:speechbrain.processing.features.InputNormalization"
        is_global = not isinstance(node, CommentedMap) or node.get("norm_type", "global") == "global"
        if is_normalizer and is_global and key not in loaded and "normalizer" not in loadables:
            loadables["normalizer"] = yaml_value(f"!ref <{key}>")
            yield Change(document.line("pretrainer"), "pretrainer", f"loads normalizer: !ref <{key}>, its statistics")


def _line(parent: Any, key: Any) -> int:
    """The line on which a value stands."""
    where = (parent.lc.data or {}).get(key)
    return where[0] + 1 if where else parent.lc.line + 1
