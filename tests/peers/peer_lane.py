"""How much the lane runs, and what it has seen."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable

__all__ = ["LONG_TRACES", "TRACES", "agrees", "saw", "summary"]

TRACES = int(os.environ.get("PCACHE_PEER_TRACES", "100"))
"""Small random traces a test, for each class of an engine."""
LONG_TRACES = max(14, TRACES // 10)
"""Long ones; the shapes of `LONG` in each test take turns."""

_seen: dict[str, Counter[str]] = defaultdict(Counter)


def saw(side: str, **counts: int) -> None:
    """Add to what is told at the end, and what tests require to have happened."""
    _seen[side].update(counts)


def agrees(compare: Callable[[], object]) -> bool:
    """Whether a comparison finds no difference."""
    try:
        compare()
    except AssertionError:
        return False
    return True


def summary() -> list[str]:
    """One line for each class that was compared."""
    return [
        f"{side}: "
        + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
        for side, counts in sorted(_seen.items())
    ]
