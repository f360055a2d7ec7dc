"""Ctrl-C at a place of our choosing, so that work in hand is brought to a state worth keeping."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["held_interrupt"]

_ACKNOWLEDGED = "\nStopping; what there is will be kept. Ctrl-C again stops at once and loses it."


@contextmanager
def held_interrupt() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back inside the block; the yielded function raises KeyboardInterrupt if it came.

    The first press is acknowledged on stderr; a second one is not held back. Outside the main thread,
    which alone gets signals, nothing changes.
    """
    pressed = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True
        print(_ACKNOWLEDGED, file=sys.stderr, flush=True)

    def raise_if_pressed() -> None:
        if pressed:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield raise_if_pressed
        return
    before = signal.signal(signal.SIGINT, hold)
    try:
        yield raise_if_pressed
    finally:
        signal.signal(signal.SIGINT, before)
