"""Instants on the device, told in the host's clock.

A mark is put into the stream of work and passes when the work before it is done. On a GPU marks are
CUDA events; they are anchored to the host's clock whenever the host waited for one and saw it pass,
so that a mark that passed unobserved still gets its instant, to within microseconds. On a CPU, where
work is done when its call returns, marks are clock readings.
"""

from __future__ import annotations

import time
from typing import Protocol

import torch

__all__ = ["CpuTimeline", "CudaTimeline", "Mark", "Timeline", "open_timeline"]

Mark = torch.cuda.Event | int


class Timeline(Protocol):
    """Marks instants of the device's work."""

    def mark(self) -> Mark:
        """Put a mark behind all work submitted so far."""
        ...

    def wait(self, mark: Mark) -> int:
        """Block until the mark has passed; the instant at which it did, on the host's clock, in ns."""
        ...

    def between_ns(self, first: Mark, last: Mark) -> int:
        """Time from one passed mark to another."""
        ...

    def release(self, *marks: Mark) -> None:
        """Give marks back for reuse."""
        ...


class CpuTimeline:
    """Marks are readings of the host's clock."""

    def mark(self) -> int:
        return time.perf_counter_ns()

    def wait(self, mark: Mark) -> int:
        assert isinstance(mark, int)
        return mark

    def between_ns(self, first: Mark, last: Mark) -> int:
        assert isinstance(first, int)
        assert isinstance(last, int)
        return last - first

    def release(self, *marks: Mark) -> None:
        """Nothing to give back."""


class CudaTimeline:
    """Marks are CUDA events, pooled, on the stream that was current when this was made."""

    def __init__(self) -> None:
        self._stream = torch.cuda.current_stream()
        self._pool: list[torch.cuda.Event] = []
        self._anchor = torch.cuda.Event(enable_timing=True)
        self._anchor.record(self._stream)
        self._anchor.synchronize()
        self._anchor_ns = time.perf_counter_ns()

    def mark(self) -> torch.cuda.Event:
        event = self._pool.pop() if self._pool else torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def wait(self, mark: Mark) -> int:
        assert isinstance(mark, torch.cuda.Event)
        if mark.query():
            return self._anchor_ns + self.between_ns(self._anchor, mark)
        mark.synchronize()
        passed_ns = time.perf_counter_ns()
        self._pool.append(self._anchor)
        self._anchor, self._anchor_ns = mark, passed_ns
        return passed_ns

    def between_ns(self, first: Mark, last: Mark) -> int:
        assert isinstance(first, torch.cuda.Event)
        assert isinstance(last, torch.cuda.Event)
        milliseconds: float = first.elapsed_time(last)
        return round(milliseconds * 1e6)

    def release(self, *marks: Mark) -> None:
        for mark in marks:
            if isinstance(mark, torch.cuda.Event) and mark is not self._anchor:
                self._pool.append(mark)


def open_timeline(device: torch.device) -> Timeline:
    """The timeline of a device."""
    return CudaTimeline() if device.type == "cuda" else CpuTimeline()
