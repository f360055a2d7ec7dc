"""The engine's clock: wall-clock nanoseconds since the run began, with idle time left out if asked."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["GPU_REST_NS", "Clock"]

_SPIN_NS = 2_000_000
"""Sleeping may overshoot by about this much; the rest of a wait is spent looking at the clock."""
_NAP_NS = 50_000_000
"""Longest sleep between two looks at whether to go on waiting."""


GPU_REST_NS = 50_000_000
"""After so long without work most of what a GPU's power limit took is back: the fast stage of
`cost.throttle`. What a second of load took comes back slower."""


class Clock:
    """Starts at zero when made. With `skip_idle`, waiting for an arrival takes no time: the clock is
    set forward instead, so that everything else keeps its distances. The first `rest_ns` of each wait
    pass nevertheless, so that a GPU recovers nearly as it would in all of it."""

    def __init__(self, skip_idle: bool, rest_ns: int = 0) -> None:
        self._skip_idle, self._rest_ns = skip_idle, rest_ns
        self._zero_ns = time.perf_counter_ns()

    def now_ns(self) -> int:
        """Time since the run began."""
        return time.perf_counter_ns() - self._zero_ns

    def of(self, host_ns: int) -> int:
        """An instant of `time.perf_counter_ns` on this clock."""
        return host_ns - self._zero_ns

    def wait_until(self, at_ns: int, check: Callable[[], None]) -> None:
        """Return when it is `at_ns`, at once if it is later. `check` is called now and then; what it
        raises ends the wait."""
        if self._skip_idle:
            self._zero_ns -= max(0, at_ns - self.now_ns() - self._rest_ns)
        while (left := at_ns - self.now_ns()) > 0:
            check()
            if left > _SPIN_NS:
                time.sleep(min(left - _SPIN_NS, _NAP_NS) / 1e9)
