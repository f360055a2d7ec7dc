"""When sessions start: a Poisson process, or one whose rate jumps between quiet and burst."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pcache.trace.generate.draws import Draws

__all__ = ["ARRIVALS", "bursty", "poisson"]

BURST_RATE = 5.0
"""Rate in a burst ÷ mean rate."""
BURST_SHARE = 0.12
"""Share of time spent in bursts."""
BURST_ARRIVALS = 12.0
"""Mean arrivals of one burst."""


def poisson(draws: Draws, rate: float) -> Iterator[float]:
    """Start times in seconds with independent exponential gaps of mean 1 / rate."""
    now = 0.0
    while True:
        now += draws.exponential(1 / rate)
        yield now


def bursty(draws: Draws, rate: float) -> Iterator[float]:
    """Start times of a two-state Markov-modulated Poisson process with mean rate `rate`.

    Bursts of rate 5 × `rate` take 12 % of the time; in between the rate is what keeps the mean.
    """
    burst_s = BURST_ARRIVALS / (BURST_RATE * rate)
    quiet_s = burst_s * (1 - BURST_SHARE) / BURST_SHARE
    quiet_rate = rate * (1 - BURST_RATE * BURST_SHARE) / (1 - BURST_SHARE)
    now, bursting = 0.0, False
    until = draws.exponential(quiet_s)
    while True:
        gap = draws.exponential(1 / (BURST_RATE * rate if bursting else quiet_rate))
        if now + gap >= until:  # no memory: begin anew in the other state
            now, bursting = until, not bursting
            until = now + draws.exponential(burst_s if bursting else quiet_s)
            continue
        now += gap
        yield now


ARRIVALS: dict[str, Callable[[Draws, float], Iterator[float]]] = {
    "poisson": poisson,
    "bursty": bursty,
}
