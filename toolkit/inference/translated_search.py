"""Searchers of SpeechBrain 0.5 and the models they search: arguments that have become objects."""

from __future__ import annotations

from copy import deepcopy

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from toolkit.hparams import yaml_value

TRANSFORMER = "speechbrain.lobes.models.transformer.TransformerASR.TransformerASR"


def with_scorers(arguments: CommentedMap) -> list[str]:
    """Put language model and CTC output, which a beam searcher had as arguments, into a ``ScorerBuilder``."""
    said = without_ctc(arguments, keep=True)
    full, partial, weights = CommentedSeq(), CommentedSeq(), CommentedMap()
    lm = arguments.pop("language_model", None)
    lm_weight, temperature = arguments.pop("lm_weight", 0.0), arguments.pop("temperature_lm", 1.0)
    if lm is not None:
        scorer = _new("toolkit.decoders.language_scorers.LanguageModelScorer")
        scorer.update({"language_model": lm, "temperature": temperature})
        full.append(scorer)
        weights["lm"] = lm_weight
    ctc = arguments.pop("ctc_linear", None)
    ctc_weight, blank = arguments.pop("ctc_weight", 0.0), arguments.pop("blank_index", 0)
    mode = arguments.pop("ctc_score_mode", "full")
    if ctc is not None:
        scorer = _new("toolkit.decoders.ctc_prefix.CTCScorer")
        scorer.update({"ctc_fc": ctc, "blank_index": blank, "eos_index": deepcopy(arguments.get("eos_index", 0))})
        (full if mode == "full" else partial).append(scorer)
        weights["ctc"] = ctc_weight
    if not weights:
        return said
    builder = arguments["scorer"] = _new("toolkit.decoders.scorer_builder.ScorerBuilder")
    builder["weights"] = weights
    builder.update(
        {name: scorers for name, scorers in (("full_scorers", full), ("partial_scorers", partial)) if scorers}
    )
    return [*said, f"{' and '.join(weights)} became scorers, with their weights"]


def without_ctc(arguments: CommentedMap, *, keep: bool = False) -> list[str]:
    """Take the CTC output from the end of ``modules: [model, seq_lin, ctc_lin]``, and keep it as ``ctc_linear``."""
    modules = arguments.get("modules")
    if not isinstance(modules, CommentedSeq) or len(modules) < 3:
        return []
    *model, ctc = modules
    arguments["modules"] = CommentedSeq(model)  # other searchers may have the same list
    if keep:
        arguments["ctc_linear"] = ctc
        return []
    return ["modules has no ctc_lin, which a greedy search does not use"]


def transformer(arguments: CommentedMap) -> str:
    """The class of a Transformer: another one where leaving out ``causal`` meant what today cannot be said with it.

    In SpeechBrain 0.5 it was true, and concerned the convolutions of a Conformer and relative positions; attention saw
    all frames. Today it is true as well, and masks the frames to come.
    """
    plain = arguments.get("encoder_module", "transformer") == "transformer"
    absolute = arguments.get("attention_type", "regularMHA") == "regularMHA"
    if "causal" in arguments or (plain and absolute):
        return TRANSFORMER
    return "toolkit.models.speechbrain_encoders.OldTransformerASR"


def with_causal(arguments: CommentedMap) -> list[str]:
    """Say ``causal: False`` where it was left out, of encoders without convolutions and relative positions."""
    if "causal" in arguments:
        return []
    if transformer(arguments) != TRANSFORMER:
        return ["causal was left out: causal convolutions, and attention that sees all frames"]
    arguments["causal"] = False
    return ["causal: False, which is what leaving it out meant: attention sees all frames"]


def _new(name: str) -> CommentedMap:
    """An object without arguments yet."""
    node = CommentedMap()
    node.yaml_set_ctag(yaml_value(f"!new:{name} {{}}").tag)
    return node
