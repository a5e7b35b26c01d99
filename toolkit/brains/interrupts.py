"""Ctrl-C at a moment of our choice, and SIGTERM as if it were that."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, so that no optimizer step and no checkpoint is left half made."""
    held = [one for one in STOPPING if _is_main_thread() and signal.getsignal(one) is signal.default_int_handler]
    pressed: list[int] = []
    for one in held:  # others are someone else's, or nobody's
        signal.signal(one, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        for one in held:
            signal.signal(one, signal.default_int_handler)
        if pressed:
            raise KeyboardInterrupt


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, with which clusters end a job, raise KeyboardInterrupt inside the block; it is ours to change."""
    is_ours = _is_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
