"""Keys of a data set that change nothing where another key is, or is not. NeMo takes them silently."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

# Key: what it says nothing without.
_NEEDS = {
    "batch_tokens": "use_multimodal_sampling",
    "quadratic_factor": "use_multimodal_sampling",
    "bucket_duration_bins": "use_bucketing",
    "bucket_batch_size": "use_bucketing",
    "num_buckets": "use_bucketing",
    "sampler_fusion": "multi_config",
    "sampler_weights": "multi_config",
    "noise_snr": "noise_path",
    "noise_mix_prob": "noise_path",
    "rir_path": "rir_enabled",
    "rir_prob": "rir_enabled",
    "effect_prob": "effects",
    "codec_prob": "codecs",
    "concatenate_gap_seconds": "concatenate_samples",
    "concatenate_duration_factor": "concatenate_samples",
    "concatenate_merge_supervisions": "concatenate_samples",
    "db_norm": "concatenate_samples",
    "truncate_offset_type": "truncate_duration",
    "cut_into_windows_hop": "cut_into_windows_duration",
    "pad_direction": "pad_min_duration",
}


def without_effect(kind: type, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each key whose value, another than the default of the dataclass ``kind``, changes nothing; and why."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    given = [key for key, value in values.items() if value is not None and not _same(value, defaults.get(key))]
    for key, switch in _NEEDS.items():
        if key in given and not values.get(switch):
            yield key, f"has no effect without {switch}"
    if values.get("use_multimodal_sampling"):
        seconds = [key for key in ("batch_duration", "quadratic_duration") if key in given]
        yield from ((key, "has no effect with use_multimodal_sampling, which counts tokens") for key in seconds)
    fusion = values.get("sampler_fusion") or defaults["sampler_fusion"]
    weights = {weight for weight in (values.get("sampler_weights") or {}).values() if weight}
    if values.get("multi_config") and fusion != "randomized_round_robin" and len(weights) > 1:
        yield "sampler_weights", f"only those of 0 have an effect with sampler_fusion: {fusion}"


def _same(value: Any, default: Any) -> bool:
    return value == (list(default) if isinstance(default, tuple) and isinstance(value, list) else default)
