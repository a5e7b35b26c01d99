"""Sizes that no Conformer can have are refused by name."""

from __future__ import annotations

import pytest

from toolkit.errors import ConfigError
from toolkit.models.conformer import Conformer


@pytest.mark.parametrize(
    ("options", "message"), [({"kernel_size": 14}, "kernel_size must be odd"), ({"heads": 5}, "heads: 5")]
)
def test_impossible_sizes_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Conformer(16, 24, layers=1, **options)
