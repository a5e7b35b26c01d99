"""Functions compiled by numba, whose code is kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Compile a function at its first call, and keep the code on disk where there is a place that can be written.

    numba notices changes in the file of the function that is called, and in no other: what is compiled together has to
    stand in one file.
    """

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        except RuntimeError:  # no such place: neither beside this file nor in the user's cache
            return numba.njit(nogil=True, error_model="numpy", **options)(function)

    return decorate
