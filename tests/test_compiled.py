"""Compiled code where nothing can be kept on disk."""

from __future__ import annotations

import numba
import pytest

from toolkit.compiled import compiled


def test_without_a_place_for_its_cache_code_is_compiled_all_the_same(monkeypatch):
    njit, asked = numba.njit, []

    def without_a_place(*functions, **options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'doubled': no locator available for file '/doubled.py'")
        return njit(*functions, **options)

    monkeypatch.setattr(numba, "njit", without_a_place)
    doubled = compiled()(lambda number: 2 * number)
    assert doubled(21) == pytest.approx(42)
    assert asked[:2] == [True, False]
