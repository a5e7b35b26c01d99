"""What a YAML says of one data set, checked once at the door.

The keys, their meanings and their defaults are those of NeMo's Lhotse integration, with ``data_root``, ``effects`` and
``codecs`` of ours::

    train_data:
        manifest_filepath: manifests/train.json
        batch_duration: 100      # seconds a batch, padding included; a cap
        num_buckets: 10
        shuffle: true
        seed: !ref <seed>
        perturb_speed: true
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from toolkit.dataio.config_checks import (
    ABOVE_0,
    BINS,
    CHANNEL,
    DECIBELS,
    FROM_0,
    NUMBER,
    PATHS,
    PROBABILITY,
    SEED,
    SIZES,
    SWITCH,
    TEXT,
    WEIGHTS,
    WHOLE,
    one_of,
    optional,
    problems_of_ranges,
    problems_of_values,
    some_of,
)
from toolkit.dataio.config_effects import without_effect
from toolkit.dataio.config_values import as_mapping
from toolkit.dataio.effects import CODECS, EFFECTS
from toolkit.errors import ConfigError

logger = logging.getLogger(__name__)

Flag = Annotated[bool, SWITCH]
Text = Annotated[str, TEXT]
Paths = Annotated[Any, PATHS]
Count = Annotated[int, WHOLE, ABOVE_0]
Number = Annotated[float, NUMBER]
Positive = Annotated[float, NUMBER, ABOVE_0]
NotNegative = Annotated[float, NUMBER, FROM_0]
Probability = Annotated[float, NUMBER, PROBABILITY]
Seed = Annotated[int | Literal["randomized", "trng"], SEED]
Decibels = Annotated[tuple[float, float], DECIBELS]

# Of NeMo's configurations; what they choose there is decided by the files here.
NEMO_ONLY = (
    "use_lhotse",
    "is_tarred",
    "shuffle_n",
    "bucketing_strategy",
    "tarred_shard_strategy",
    "use_start_end_token",
)

INPUTS = ("manifest_filepath", "input_cfg", "cuts_path", "shar_path")


@dataclass(frozen=True)
class DataConfig:
    """One data set and how it is read, batched and augmented.

    Attributes
    ----------
    manifest_filepath, tarred_audio_filepaths
        A manifest of NeMo or SpeechBrain (JSON, JSONL or CSV), and the tar files of its audio where it has such. A
        list, or a list of [path, weight], is a blend. ``{0..31}`` and ``_OP_0..31_CL_`` stand for shards.
    input_cfg
        Data sets of any type with their weights and tags (see :mod:`toolkit.dataio.cutset`): a list, or a YAML file.
    cuts_path, shar_path
        Lhotse's cuts, and its shards: a folder, a list of folders, or a mapping of fields to files.
    data_root
        What ``{data_root}`` of a manifest stands for where that is not in ``data_root.txt`` beside it.
    skip_missing_manifest_entries
        Tar files and their manifests may name examples that the other lacks: they are counted and left out.
    fault_tolerant
        Utterances that cannot be read (a missing or damaged file, less audio than the manifest says) are left out of
        their batch, with a warning that counts them, and are an error only where they are all of it; else any is. What
        has to be read for the plan, as for a limit on tokens, is an error always.
    metadata_only
        Audio is never opened: examples can be counted and measured, but not heard.
    text_field, lang_field
        Where a NeMo manifest keeps transcript and language.
    batch_duration, batch_size, batch_tokens
        Most seconds, examples and tokens of a batch, padding included; at least one is needed. Tokens are counted by
        ``use_multimodal_sampling`` only.
    quadratic_duration, quadratic_factor
        Seconds (tokens) at which an example counts twice, as attention's cost grows.
    use_bucketing, num_buckets, bucket_duration_bins, bucket_batch_size, bucketing_2d_strict_mode
        Batches of similar length rather than of any, which is the default unless one of the next two is given: how many
        bins, or their upper ends (pairs: of input and output), most examples of each, and whether examples beyond the
        second end are left out.
    num_cuts_for_bins_estimate, bucket_buffer_size, shuffle_buffer_size, concurrent_bucketing
        For sources without an index: examples looked at for the bins, waiting in buckets and waiting to be shuffled
        (fewer, where their audio is in memory). NeMo's thread that fills the buckets is never used: its order is not
        repeatable, and it hangs when reading fails.
    shuffle
        Training: batches of random examples, in an order that ``seed`` and the epoch decide. Without it, evaluation:
        from the longest to the shortest, always the same.
    seed, shard_seed
        Of order and augmentation; of the order of shards and the choice within blends, where they are streams: what is
        planned is of ``seed`` alone. ``randomized`` and ``trng`` are both a number that each start draws: all ranks
        have the same one, as they divide one order, and the loader's state holds it. Workers draw their own random
        numbers, whatever the seed.
    drop_last
        Leave out the last batch of each bucket where it is not full.
    max_open_streams, slice_length
        Of a blend of many shards: how many are read at a time, and how many examples before the next one's turn.
    force_finite, force_map_dataset, force_iterable_dataset
        A blend ends with its last example; batches are drawn in the main process, or in the workers.
    multi_config, sampler_fusion, sampler_weights
        Keys that hold configurations are data sets with samplers of their own, and how their batches alternate.
    pretokenize, prompt_format, audio_locator_tag, token_equivalent_duration, use_multimodal_sampling
        Tokenize before sampling, by which prompt; the token that stands for audio, and the seconds that count as one
        token when lengths are tokens.
    measure_total_length
        Lengths in tokens are of prompt and answer together, rather than of the prompt.
    min_duration, max_duration, min_tps, max_tps, min_tokens, max_tokens, min_tpt, max_tpt
        Examples outside are left out: seconds, tokens a second of audio, tokens (of texts and conversations, never of
        utterances), tokens of the answer a token of the prompt (as these).
    sample_rate, channel_selector
        Audio of another rate is resampled (null: all must have the same); the channel, or the field that holds it.
    num_workers, pin_memory
        Of the DataLoader: processes that read audio ahead (0: none), and page-locked batches for a GPU.
    perturb_speed
        Add a copy of every utterance (of no conversation) at 0.9 and one at 1.1 of its speed.
    noise_path, noise_snr, noise_mix_prob
        Noises (a folder, a JSONL list of files, Lhotse's cuts or Shar), range of the signal-to-noise ratio (dB), share
        of utterances.
    rir_enabled, rir_path, rir_prob
        Whether to reverberate, room impulse responses (a folder, a JSONL list of files, or Lhotse's recordings; null:
        simulated rooms), share of utterances.
    effects, effect_prob, codecs, codec_prob
        How utterances are changed, noise included, and sent: one or two of these effects and by one of these codecs,
        each of a share of the utterances (see :mod:`toolkit.dataio.effects`). None is longer than it was.
    concatenate_samples, concatenate_gap_seconds, concatenate_duration_factor, concatenate_merge_supervisions, db_norm
        Join the short utterances of a batch up to its longest times a factor, with silence between them, as one
        transcript, at one loudness (dB; null: as they are).
    truncate_duration, truncate_offset_type
        Of longer utterances, one part of that length, from where.
    cut_into_windows_duration, cut_into_windows_hop
        Every part of that length, and the seconds from one to the next.
    keep_excessive_supervisions
        Parts of an utterance keep transcripts that reach beyond their ends.
    pad_min_duration, pad_direction
        Silence until this many seconds, on which side.
    """

    manifest_filepath: Paths | None = None
    tarred_audio_filepaths: Paths | None = None
    input_cfg: Any = None
    cuts_path: Paths | None = None
    shar_path: Paths | None = None
    data_root: Text | None = None
    skip_missing_manifest_entries: Flag = False
    fault_tolerant: Flag = False
    metadata_only: Flag = False
    text_field: Text = "text"
    lang_field: Text = "lang"

    batch_size: Count | None = None
    batch_duration: Positive | None = None
    batch_tokens: Count | None = None
    quadratic_duration: Positive | None = None
    quadratic_factor: Positive | None = None
    use_bucketing: Flag = False
    num_buckets: Count = 30
    num_cuts_for_bins_estimate: Count = 10000
    bucket_duration_bins: Annotated[list, BINS] | None = None
    bucket_batch_size: Annotated[list[int], SIZES] | None = None
    bucket_buffer_size: Count = 10000
    concurrent_bucketing: Flag = True
    bucketing_2d_strict_mode: Flag = True
    drop_last: Flag = False

    shuffle: Flag = False
    shuffle_buffer_size: Count | None = 10000
    seed: Seed = 0
    shard_seed: Seed = "trng"
    max_open_streams: Count | None = None
    slice_length: Count | None = None
    force_finite: Flag = False
    force_map_dataset: Flag = False
    force_iterable_dataset: Flag = False

    multi_config: Flag = False
    sampler_fusion: Annotated[str, one_of("round_robin", "randomized_round_robin", "zip")] = "round_robin"
    sampler_weights: Annotated[dict[str, float], WEIGHTS] | None = None

    pretokenize: Flag = True
    prompt_format: Text | None = None
    use_multimodal_sampling: Flag = False
    audio_locator_tag: Text | None = None
    token_equivalent_duration: Positive | None = None
    measure_total_length: Flag = True

    min_duration: Number = -1.0
    max_duration: Positive = math.inf
    min_tps: Number = -1.0
    max_tps: Positive = math.inf
    min_tokens: NotNegative | None = None
    max_tokens: Positive | None = None
    min_tpt: Number = -1.0
    max_tpt: Positive = math.inf

    sample_rate: Count | None = 16000
    channel_selector: Annotated[int | str, CHANNEL] | None = None
    num_workers: Annotated[int, WHOLE, FROM_0] = 0
    pin_memory: Flag = False

    noise_path: Text | None = None
    noise_snr: Decibels = (10.0, 20.0)
    noise_mix_prob: Probability = 0.5
    perturb_speed: Flag = False
    rir_enabled: Flag = False
    rir_path: Text | None = None
    rir_prob: Probability = 0.5
    effects: Annotated[list[str], some_of(*EFFECTS)] | None = None
    effect_prob: Probability = 0.5
    codecs: Annotated[list[str], some_of(*CODECS)] | None = None
    codec_prob: Probability = 0.5
    concatenate_samples: Flag = False
    concatenate_gap_seconds: NotNegative = 0.1
    concatenate_duration_factor: Positive = 1.0
    concatenate_merge_supervisions: Flag = True
    db_norm: Number | None = -25.0
    truncate_duration: Positive | None = None
    truncate_offset_type: Annotated[str, one_of("random", "start", "end")] = "random"
    cut_into_windows_duration: Positive | None = None
    cut_into_windows_hop: Positive | None = None
    keep_excessive_supervisions: Flag = True
    pad_min_duration: Positive | None = None
    pad_direction: Annotated[str, one_of("right", "left", "both", "random")] = "right"

    @classmethod
    def from_hparams(cls, name: str, values: Any, *, batched: bool = True) -> DataConfig:
        """The configuration under the YAML's key ``name``.

        Parameters
        ----------
        values
            A mapping, OmegaConf's or any other, or the path of a YAML file.
        batched
            Whether it has to say how large a batch is.

        Raises
        ------
        ConfigError
            Names every key that is unknown, missing or impossible, at once.
        """
        values = as_mapping(name, values)
        problems = [*_problems(values), *_missing(values, batched=batched)]
        if problems:
            raise ConfigError("\n".join(f"{name}.{problem}" for problem in problems))
        for key, reason in _idle(values).items():
            logger.warning("%s.%s: %s", name, key, reason)
        return cls._of(values)

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> DataConfig:
        """Checked values: null is the default of keys that are never null."""
        given = {key: value for key, value in values.items() if key not in NEMO_ONLY}
        given = {key: value for key, value in given.items() if value is not None or key in optional(cls)}
        given = {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
        given["use_bucketing"] = _is_bucketed(values)
        if "noise_snr" in given:
            given["noise_snr"] = tuple(given["noise_snr"])
        return cls(**given)


def multi_configs(name: str, values: Any) -> tuple[DataConfig, dict[str, DataConfig]]:
    """What ``multi_config: true`` says of the whole, and of each data set, which inherits the keys beside it.

    Raises
    ------
    ConfigError
        Names every key of every data set that is unknown, missing or impossible, at once.
    """
    values = as_mapping(name, values)
    known = DataConfig.__annotations__
    groups = {key: value for key, value in values.items() if isinstance(value, Mapping) and key not in known}
    shared = {key: value for key, value in values.items() if key not in groups}
    inherited = {key: value for key, value in shared.items() if key not in _OF_THE_WHOLE}
    groups = {key: inherited | group for key, group in groups.items()}
    common = [*_problems(shared), *_fusion_problems(shared, groups)]
    found = [f"{name}.{problem}" for problem in common]
    for key, group in groups.items():
        own = [problem for problem in _problems(group) if problem not in common]
        found += [f"{name}.{key}.{problem}" for problem in [*own, *_missing(group)]]
    if found:
        raise ConfigError("\n".join(found))
    _warn_of_idle_keys(name, shared, groups)
    return DataConfig._of(shared), {key: DataConfig._of(group) for key, group in groups.items()}


def _is_bucketed(values: Mapping[str, Any]) -> bool:
    """``use_bucketing``, or whether there are bins where it is not given."""
    bins = (values.get("num_buckets"), values.get("bucket_duration_bins"))
    given = values.get("use_bucketing")
    return bins != (None, None) if given is None else given


def _idle(values: Mapping[str, Any]) -> dict[str, str]:
    """The keys without effect, and why."""
    return dict(without_effect(DataConfig, {**values, "use_bucketing": _is_bucketed(values)}))


def _warn_of_idle_keys(name: str, shared: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Log the keys without effect; of those that the data sets inherit, what has none in any of them."""
    idle = {key: _idle(group) for key, group in groups.items()}
    for key, reason in _idle(shared).items():
        if key in _OF_THE_WHOLE or all(key in keys for keys in idle.values()):
            logger.warning("%s.%s: %s", name, key, reason)
    for group, keys in idle.items():
        misplaced = {key: f"has no effect here; give it to {name}" for key in _OF_THE_WHOLE if key in groups[group]}
        for key, reason in {**keys, **misplaced}.items():
            if key in misplaced or key not in shared:
                logger.warning("%s.%s.%s: %s", name, group, key, reason)


_OF_THE_WHOLE = ("multi_config", "sampler_fusion", "sampler_weights", "num_workers", "pin_memory")


def _problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Every complaint about what is there, each beginning with its key."""
    yield from problems_of_values(DataConfig, values, NEMO_ONLY)
    yield from problems_of_ranges(values)
    if values.get("force_map_dataset") and values.get("force_iterable_dataset"):
        yield "force_map_dataset: excludes force_iterable_dataset"
    if values.get("cut_into_windows_duration") is not None and values.get("truncate_duration") is not None:
        yield "cut_into_windows_duration: excludes truncate_duration"
    bins, sizes = values.get("bucket_duration_bins"), values.get("bucket_batch_size")
    if sizes is not None and (bins is None or len(bins) != len(sizes)):
        yield f"bucket_batch_size: {sizes!r} needs as many bucket_duration_bins, not {bins!r}"
    if isinstance(bins, list) and any(isinstance(end, list) for end in bins) and sizes is None:
        yield "bucket_duration_bins: pairs are of two lengths, which no other cap knows; give bucket_batch_size"
    if values.get("tarred_audio_filepaths") is not None and values.get("manifest_filepath") is None:
        yield "tarred_audio_filepaths: needs manifest_filepath"


def _missing(values: Mapping[str, Any], *, batched: bool = True) -> Iterator[str]:
    """Every complaint about what is not there."""
    if all(values.get(key) is None for key in INPUTS):
        yield f"manifest_filepath: missing; give it or {', '.join(INPUTS[1:-1])} or {INPUTS[-1]}"
    length = "batch_tokens" if values.get("use_multimodal_sampling") else "batch_duration"
    sizes = [length, "batch_size", *(["bucket_batch_size"] if _is_bucketed(values) else [])]
    if batched and all(values.get(key) is None for key in sizes):
        tokens = values.get("batch_tokens") is not None
        hint = "; batch_tokens counts with use_multimodal_sampling: true only" if tokens else ""
        yield f"{length}: missing; give it or batch_size{hint}"


def _fusion_problems(shared: Mapping[str, Any], groups: Mapping[str, Any]) -> Iterator[str]:
    weights = shared.get("sampler_weights")
    if not groups:
        yield "multi_config: no key holds the configuration of a data set"
    if isinstance(weights, Mapping) and set(weights) != set(groups):
        yield f"sampler_weights: are of {', '.join(weights)}, but the data sets are {', '.join(groups)}"
    elif isinstance(weights, Mapping) and not any(weights.values()):
        yield "sampler_weights: all are 0; expected one above it"
