"""`compiled`: numba's njit with the project's settings, typed so that mypy keeps the signature.

Compiled functions take scalars, numpy arrays and NamedTuples of arrays, and nothing else. With
NUMBA_DISABLE_JIT=1 the same functions run as plain Python, which is slow and good for debugging.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

__all__ = ["compiled", "inlined"]

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call and keep the machine code on disk for the next process."""
    return cast(Callable[P, R], numba.njit(cache=True, error_model="numpy")(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, for bodies so small that the call would cost more than the work."""
    return cast(
        Callable[P, R], numba.njit(cache=True, error_model="numpy", inline="never")(function)
    )
