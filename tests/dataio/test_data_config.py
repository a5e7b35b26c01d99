"""A data set's configuration: every problem is named, all at once."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from toolkit.dataio import config as config_module
from toolkit.dataio.config import DataConfig
from toolkit.errors import ConfigError

GOOD = {"manifest_filepath": "train.json", "batch_duration": 100}


def test_defaults_are_nemos() -> None:
    config = DataConfig.from_hparams("train_data", GOOD | {"batch_size": None, "data_root": Path("/data")})
    assert (config.sample_rate, config.shuffle, config.seed, config.num_workers) == (16000, False, 0, 0)
    assert (config.noise_snr, config.noise_mix_prob, config.rir_prob) == ((10.0, 20.0), 0.5, 0.5)
    assert (config.max_duration, config.batch_size, config.data_root) == (math.inf, None, "/data")


def test_every_key_has_a_type() -> None:
    assert list(config_module._KINDS) == [field.name for field in dataclasses.fields(DataConfig)]


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
        ({"rir_enabled": True}, "train_data.rir_path: missing, and rir_enabled is true"),
    ],
)
def test_problems_name_key_value_and_what_was_wanted(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DataConfig.from_hparams("train_data", GOOD | values)


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        DataConfig.from_hparams("valid_data", {"shufle": True, "seed": "a", "drop_last": 0})
    assert len(str(caught.value).splitlines()) == 5


def test_not_a_mapping() -> None:
    with pytest.raises(ConfigError, match="valid_data: expected keys such as manifest_filepath"):
        DataConfig.from_hparams("valid_data", "valid.json")
