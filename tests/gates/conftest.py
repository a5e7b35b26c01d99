"""The gates run scripts in process: what these do to logging ends with each test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _logging(logging_put_back: None) -> None:
    """Every gate uses ``logging_put_back``."""
