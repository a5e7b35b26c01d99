"""Augmentations of SpeechBrain 0.5, each one class, as the ``Augmenter`` of SpeechBrain 1.1 with a list of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from toolkit.hparams import yaml_value

AUGMENTER = "speechbrain.augment.augmenter.Augmenter"

_TIME, _FREQUENCY = "speechbrain.augment.time_domain", "speechbrain.augment.freq_domain"
CALL = "returns waveforms and lengths, where there were waveforms only"


def time_domain(arguments: CommentedMap) -> list[str]:
    """``TimeDomainSpecAugment``: speed, then frequencies, then chunks of time."""
    old = _emptied(arguments, ("perturb_prob", "drop_freq_prob", "drop_chunk_prob"))
    _fill(
        arguments,
        _new(
            f"{_TIME}.SpeedPerturb", orig_freq=old.pop("sample_rate", 16000), speeds=old.pop("speeds", [95, 100, 105])
        ),
        _new(
            f"{_TIME}.DropFreq",
            drop_freq_count_low=old.pop("drop_freq_count_low", 0),
            drop_freq_count_high=old.pop("drop_freq_count_high", 3),
        ),
        _new(
            f"{_TIME}.DropChunk",
            drop_count_low=old.pop("drop_chunk_count_low", 0),
            drop_count_high=old.pop("drop_chunk_count_high", 5),
            drop_length_low=old.pop("drop_chunk_length_low", 1000),
            drop_length_high=old.pop("drop_chunk_length_high", 2000),
            noise_factor=old.pop("drop_chunk_noise_factor", 0),
        ),
    )
    return _said(old)


def spectrogram(arguments: CommentedMap) -> list[str]:
    """``SpecAugment``: warping of time, then masks over frequencies (axis 2), then over time (axis 1)."""
    old = _emptied(arguments, ())
    parts = []
    window, mode = old.pop("time_warp_window", 5), old.pop("time_warp_mode", "bicubic")
    if old.pop("time_warp", True):
        parts.append(_new(f"{_FREQUENCY}.Warping", warp_window=window, warp_mode=mode, dim=1))
    fill = "zeros" if old.pop("replace_with_zero", True) else "mean"
    for name, axis, most in (("freq", 2, 20), ("time", 1, 100)):
        low, high = _range(old.pop(f"{name}_mask_width", most))
        count = old.pop(f"n_{name}_mask", 2)
        if old.pop(f"{name}_mask", True):
            lengths = {"drop_length_low": low, "drop_length_high": high}
            counts = {"drop_count_low": count, "drop_count_high": count}
            parts.append(_new(f"{_FREQUENCY}.SpectrogramDrop", **lengths, **counts, replace=fill, dim=axis))
    _fill(arguments, *parts)
    return _said(old)


def environment(arguments: CommentedMap) -> list[str]:
    """``EnvCorrupt``: reverberation, then noise."""
    old = _emptied(arguments, ("reverb_prob", "babble_prob", "noise_prob"))
    clean = old.pop("clean_sample_rate", 16000)
    noise = {"snr_low": old.pop("noise_snr_low", 0), "snr_high": old.pop("noise_snr_high", 0)}
    noise |= {"num_workers": old.pop("noise_num_workers", 0)}
    _fill(
        arguments,
        _new(
            f"{_TIME}.AddReverb",
            csv_file=old.pop("reverb_csv", None),
            rir_scale_factor=old.pop("rir_scale_factor", 1.0),
            reverb_sample_rate=old.pop("reverb_sample_rate", 16000),
            clean_sample_rate=clean,
        ),
        _new(
            f"{_TIME}.AddNoise",
            csv_file=old.pop("noise_csv", None),
            **noise,
            noise_sample_rate=old.pop("noise_sample_rate", 16000),
            clean_sample_rate=clean,
        ),
    )
    return _said(old)


def _emptied(arguments: CommentedMap, probabilities: tuple[str, ...]) -> dict[str, Any]:
    """What the arguments were; probabilities of 1 need no word."""
    old = {name: arguments.pop(name) for name in list(arguments)}
    return {name: value for name, value in old.items() if not (name in probabilities and value in (1, 1.0))}


def _fill(arguments: CommentedMap, *augmentations: CommentedMap) -> None:
    """Let an ``Augmenter`` do all of these, one after the other, as the old classes did."""
    arguments["min_augmentations"] = arguments["max_augmentations"] = len(augmentations)
    arguments["augmentations"] = CommentedSeq(augmentations)


def _said(left: Mapping[str, Any]) -> list[str]:
    return [CALL, *(f"{name} is dropped, which has no counterpart" for name in left)]


def _new(name: str, **arguments: Any) -> CommentedMap:
    node = CommentedMap(arguments)
    node.yaml_set_ctag(yaml_value(f"!new:{name} {{}}").tag)
    return node


def _range(width: Any) -> tuple[Any, Any]:
    """Lowest and highest of ``(0, 20)``, ``[0, 20]`` or ``20``."""
    text = str(getattr(width, "value", width))  # a tuple is a text here, tagged or not
    if text.startswith("("):
        low, high = map(int, text.strip("()").split(","))
        return low, high
    return tuple(width) if isinstance(width, list) else (0, width)
