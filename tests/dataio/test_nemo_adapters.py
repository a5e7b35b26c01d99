"""NeMo's manifests and patterns of paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.dataio.nemo_adapters import expand_sharded_filepaths
from toolkit.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("a.json", ["a.json"]),
        (Path("data") / "a_{0..2}.json", ["data/a_0.json", "data/a_1.json", "data/a_2.json"]),
        ("m__OP_0..1_CL_.json", ["m_0.json", "m_1.json"]),
        ("m_[9..11].json", ["m_9.json", "m_10.json", "m_11.json"]),
        ("m_<08..10>.json", ["m_08.json", "m_09.json", "m_10.json"]),
        ("m_(3..1).json", ["m_3.json", "m_2.json", "m_1.json"]),
        ("m_{0..6..3}.json", ["m_0.json", "m_3.json", "m_6.json"]),
        ("{dev,test}/{0..1}", ["dev/0", "dev/1", "test/0", "test/1"]),
        ("{a,b{0..1}}", ["a", "b0", "b1"]),
        ("my (copy)/{data_root}/[x].json", ["my (copy)/{data_root}/[x].json"]),
        (["b_{0..1}", "a"], ["b_0", "b_1", "a"]),
    ],
)
def test_patterns_of_paths(pattern: object, paths: list[str]) -> None:
    assert expand_sharded_filepaths(pattern) == paths


@pytest.mark.parametrize("pattern", [None, 3, ["a", 1.0]])
def test_no_path(pattern: object) -> None:
    with pytest.raises(ConfigError, match="expected a path such as"):
        expand_sharded_filepaths(pattern)
