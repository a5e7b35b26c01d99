"""A data set's configuration: every problem is named, all at once."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from toolkit.dataio.config import DataConfig, multi_configs
from toolkit.dataio.config_checks import checks_of
from toolkit.errors import ConfigError

GOOD = {"manifest_filepath": "train.json", "batch_duration": 100}


def test_defaults_are_nemos() -> None:
    config = DataConfig.from_hparams("train_data", GOOD | {"batch_size": None, "data_root": Path("/data")})
    assert (config.sample_rate, config.shuffle, config.seed, config.num_workers) == (16000, False, 0, 0)
    assert (config.noise_snr, config.noise_mix_prob, config.rir_prob) == ((10.0, 20.0), 0.5, 0.5)
    assert (config.max_duration, config.batch_size, config.data_root) == (math.inf, None, "/data")


def test_every_key_is_checked_and_explained() -> None:
    keys = [field.name for field in dataclasses.fields(DataConfig)]
    assert [key for key, checks in checks_of(DataConfig).items() if not checks] == ["input_cfg"]
    assert [key for key in keys if not re.search(rf"\b{key}\b", DataConfig.__doc__)] == []


def test_keys_and_defaults_are_nemos() -> None:
    """Against the table of LhotseDataLoadingConfig, as of NeMo 2.4."""
    config = DataConfig.from_hparams("train_data", {"shar_path": "shar", "batch_size": 1})
    nemo = {
        "batch_duration": None, "quadratic_duration": None, "use_bucketing": False, "bucket_batch_size": None,
        "num_buckets": 30, "num_cuts_for_bins_estimate": 10000, "bucket_duration_bins": None,
        "bucket_buffer_size": 10000, "concurrent_bucketing": True, "bucketing_2d_strict_mode": True,
        "shuffle_buffer_size": 10000, "drop_last": False, "shard_seed": "trng", "max_open_streams": None,
        "multi_config": False, "sampler_fusion": "round_robin", "sampler_weights": None, "pretokenize": True,
        "prompt_format": None, "use_multimodal_sampling": False, "audio_locator_tag": None,
        "token_equivalent_duration": None, "batch_tokens": None, "quadratic_factor": None, "min_duration": -1,
        "max_duration": math.inf, "min_tps": -1, "max_tps": math.inf, "min_tokens": None, "max_tokens": None,
        "measure_total_length": True, "min_tpt": -1, "max_tpt": math.inf, "shuffle": False, "sample_rate": 16000,
        "seed": 0, "num_workers": 0, "pin_memory": False, "channel_selector": None, "noise_path": None,
        "noise_snr": (10.0, 20.0), "noise_mix_prob": 0.5, "perturb_speed": False, "concatenate_samples": False,
        "concatenate_gap_seconds": 0.1, "concatenate_duration_factor": 1.0, "concatenate_merge_supervisions": True,
        "db_norm": -25.0, "truncate_duration": None, "truncate_offset_type": "random",
        "cut_into_windows_duration": None, "cut_into_windows_hop": None, "keep_excessive_supervisions": True,
        "rir_enabled": False, "rir_path": None, "rir_prob": 0.5, "pad_min_duration": None, "pad_direction": "right",
        "text_field": "text", "lang_field": "lang", "metadata_only": False, "force_finite": False,
        "force_map_dataset": False, "force_iterable_dataset": False, "slice_length": None,
        "skip_missing_manifest_entries": False,
    }  # fmt: skip
    assert {key: getattr(config, key) for key in nemo} == nemo
    inputs = {"input_cfg", "manifest_filepath", "tarred_audio_filepaths", "cuts_path", "shar_path", "batch_size"}
    ours = {"data_root", "fault_tolerant", "effects", "effect_prob", "codecs", "codec_prob"}
    assert {field.name for field in dataclasses.fields(DataConfig)} == {*nemo, *inputs, *ours}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"batch_durations": 5}, r"train_data.batch_durations: unknown key \(did you mean 'batch_duration'\?\)"),
        ({"zzz": 5}, "train_data.zzz: unknown key; known: manifest_filepath, "),
        ({"manifest_filepath": None}, "train_data.manifest_filepath: missing"),
        ({"batch_duration": None}, "train_data.batch_duration: missing; give it or batch_size"),
        ({"batch_duration": 0}, "train_data.batch_duration: expected more than 0, not 0"),
        ({"batch_duration": math.nan}, "train_data.batch_duration: expected more than 0, not nan"),
        ({"batch_duration": "100"}, "train_data.batch_duration: expected a number, not '100'"),
        ({"batch_size": 2.5}, "train_data.batch_size: expected a whole number, not 2.5"),
        ({"batch_size": True}, "train_data.batch_size: expected a whole number, not True"),
        ({"shuffle": 1}, "train_data.shuffle: expected true or false, not 1"),
        ({"num_workers": -1}, "train_data.num_workers: expected 0 or more, not -1"),
        ({"noise_mix_prob": 1.5}, "train_data.noise_mix_prob: expected a probability from 0 to 1, not 1.5"),
        ({"noise_snr": [20, 10]}, r"train_data.noise_snr: expected \[low, high\] in dB"),
        ({"noise_snr": 10}, r"train_data.noise_snr: expected \[low, high\] in dB, not 10"),
        ({"seed": "random"}, "train_data.seed: expected a whole number, randomized or trng, not 'random'"),
        ({"manifest_filepath": 3}, "train_data.manifest_filepath: expected a path, a list of paths"),
        ({"sampler_fusion": "mix"}, "expected one of round_robin, randomized_round_robin, zip, not 'mix'"),
        ({"min_tps": 5, "max_tps": 3}, "train_data.min_tps: 5 is above max_tps, which is 3"),
        ({"bucket_duration_bins": [5, 3]}, "bucket_duration_bins: expected ascending numbers, or pairs of numbers"),
        ({"bucket_batch_size": [5, 3]}, r"bucket_batch_size: \[5, 3\] needs as many bucket_duration_bins, not None"),
        ({"force_map_dataset": True, "force_iterable_dataset": True}, "excludes force_iterable_dataset"),
        ({"manifest_filepath": None, "tarred_audio_filepaths": "a.tar"}, "needs manifest_filepath"),
    ],
)
def test_problems_name_key_value_and_what_was_wanted(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DataConfig.from_hparams("train_data", GOOD | values)


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        DataConfig.from_hparams("valid_data", {"shufle": True, "seed": "a", "drop_last": 0})
    assert len(str(caught.value).splitlines()) == 5


def test_null_is_the_default_except_where_it_means_something() -> None:
    values = GOOD | dict.fromkeys(("max_duration", "shuffle", "sample_rate", "db_norm", "shuffle_buffer_size"))
    config = DataConfig.from_hparams("train_data", values)
    assert (config.max_duration, config.shuffle) == (math.inf, False)
    assert (config.sample_rate, config.db_norm, config.shuffle_buffer_size) == (None, None, None)


def test_omegaconf_and_yaml_files(tmp_path: Path) -> None:
    written = OmegaConf.create(GOOD | {"seed": 3, "num_workers": "${seed}", "use_lhotse": True, "is_tarred": False})
    OmegaConf.save(written, tmp_path / "data.yaml")
    for values in (written, tmp_path / "data.yaml", str(tmp_path / "data.yaml")):
        config = DataConfig.from_hparams("train_data", values)
        assert (config.manifest_filepath, config.batch_duration, config.num_workers) == ("train.json", 100, 3)
    with pytest.raises(ConfigError, match=r"train_data: .*none\.yaml: cannot be read"):
        DataConfig.from_hparams("train_data", tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="train_data: Interpolation key 'speed' not found"):
        DataConfig.from_hparams("train_data", OmegaConf.create(GOOD | {"seed": "${speed}"}))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"batch_tokens": 5}, "d.batch_tokens: has no effect without use_multimodal_sampling"),
        ({"noise_snr": [0, 5]}, "d.noise_snr: has no effect without noise_path"),
        ({"noise_snr": [0, 5], "noise_path": "noises"}, None),
        ({"noise_snr": [10, 20], "rir_prob": 0.5, "db_norm": -25, "batch_tokens": None}, None),  # the defaults
        ({"rir_path": "rooms"}, "d.rir_path: has no effect without rir_enabled"),
        ({"concatenate_gap_seconds": 0.5}, "d.concatenate_gap_seconds: has no effect without concatenate_samples"),
        ({"num_buckets": 5}, None),
        ({"num_buckets": 5, "use_bucketing": False}, "d.num_buckets: has no effect without use_bucketing"),
        ({"use_multimodal_sampling": True, "batch_size": 4}, "d.batch_duration: has no effect with use_multimodal_sa"),
    ],
)
def test_keys_without_effect_are_warned_of(
    values: dict[str, object], said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    DataConfig.from_hparams("d", GOOD | values)
    assert (said in caplog.text) if said else not caplog.records


def test_keys_without_effect_of_several_data_sets(caplog: pytest.LogCaptureFixture) -> None:
    speech = GOOD | {"num_workers": 2, "pad_direction": "left"}
    text = {"use_multimodal_sampling": True, "input_cfg": [{}], "batch_tokens": 9}
    shared = {"multi_config": True, "quadratic_factor": 9, "rir_prob": 0.1, "sampler_weights": {"speech": 1, "text": 2}}
    multi_configs("d", shared | {"speech": speech, "text": text})
    assert sorted(record.getMessage() for record in caplog.records) == [
        "d.rir_prob: has no effect without rir_enabled",
        "d.sampler_weights: only those of 0 have an effect with sampler_fusion: round_robin",
        "d.speech.num_workers: has no effect here; give it to d",
        "d.speech.pad_direction: has no effect without pad_min_duration",
    ]


def test_several_data_sets_inherit_what_they_share() -> None:
    values = {
        "multi_config": True, "sampler_fusion": "zip", "sampler_weights": {"asr": 2, "nmt": 1}, "seed": 5,
        "batch_size": 3, "asr": GOOD | {"seed": 6}, "nmt": {"input_cfg": [{"type": "txt", "paths": "a"}]},
    }  # fmt: skip
    whole, groups = multi_configs("train_data", values)
    assert (whole.sampler_fusion, whole.sampler_weights) == ("zip", {"asr": 2, "nmt": 1})
    assert [(group.seed, group.batch_size, group.multi_config) for group in groups.values()] == [
        (6, 3, False),
        (5, 3, False),
    ]


def test_all_problems_of_several_data_sets_at_once() -> None:
    values = {
        "multi_config": True, "sampler_weights": {"asr": 1}, "sed": 1, "shuffle": 3,
        "asr": {"shuffle": 4, "manifest_filepath": "a"}, "nmt": {"batch_size": 0},
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        multi_configs("train_data", values)
    assert str(caught.value).splitlines() == [
        "train_data.sed: unknown key (did you mean 'seed'?)",
        "train_data.shuffle: expected true or false, not 3",
        "train_data.sampler_weights: are of asr, but the data sets are asr, nmt",
        "train_data.asr.shuffle: expected true or false, not 4",
        "train_data.asr.batch_duration: missing; give it or batch_size",
        "train_data.nmt.batch_size: expected more than 0, not 0",
        "train_data.nmt.manifest_filepath: missing; give it or input_cfg, cuts_path or shar_path",
    ]


def test_a_list_of_shards_of_fields() -> None:
    fields = {"cuts": "cuts.{0..3}.jsonl.gz", "recording": "recording.{0..3}.tar"}
    for value in ([fields, fields], [[fields, 0.3], [fields, 0.7]]):
        assert DataConfig.from_hparams("d", {"shar_path": value, "batch_size": 1}).shar_path == value


def test_not_a_mapping() -> None:
    with pytest.raises(ConfigError, match="valid_data: expected keys such as manifest_filepath"):
        DataConfig.from_hparams("valid_data", "valid.json")
