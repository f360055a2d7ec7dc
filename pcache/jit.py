"""`compiled`: numba's njit with the project's settings, typed so that mypy keeps the signature.

Compiled functions take scalars, numpy arrays (also of records) and NamedTuples of arrays. Few, wide
arrays compile several times faster than many narrow ones. With
NUMBA_DISABLE_JIT=1 the same functions run as plain Python, which is slow and good for debugging.

Machine code is kept on disk for the next process, in a folder named after the package's sources:
numba looks only at a function's own file, and would go on using code that has an old version of a
called function inside.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np

__all__ = ["compiled", "hot", "inlined", "nothing_compiled", "records", "wide"]

P = ParamSpec("P")
R = TypeVar("R")


def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        if b"pcache.jit" in (content := path.read_bytes()):
            digest.update(content)
    return digest.hexdigest()[:16]


def _use_cache_folder() -> None:
    """Point numba at this version's folder; keep the latest few others, drop the rest."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pcache" / "compiled"
    folder = home / _source_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        newest_first = sorted(home.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in newest_first[4:]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="pcache-compiled-"))
    numba.config.CACHE_DIR = str(folder)


if not os.environ.get("NUMBA_CACHE_DIR"):
    _use_cache_folder()


def nothing_compiled() -> bool:
    """Whether there is no machine code of these sources on disk yet, so that first calls are slow."""
    return next(Path(numba.config.CACHE_DIR).glob("*"), None) is None


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call and keep the machine code on disk for the next process."""
    return cast(Callable[P, R], numba.njit(cache=True, error_model="numpy")(function))


def hot(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, for code that creates no arrays: numba then counts no references to the ones
    it gets, which otherwise costs more than the work wherever a tuple of many arrays is read."""
    return _without_references(function, forceinline=False)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `hot`, and made part of every caller."""
    return _without_references(function, forceinline=True)


def _without_references(function: Callable[P, R], forceinline: bool) -> Callable[P, R]:
    if numba.config.DISABLE_JIT:
        return function
    dispatcher = numba.njit(cache=True, error_model="numpy", _nrt=False, forceinline=forceinline)(
        function
    )
    template_of = dispatcher.get_call_template

    def for_any_value(args: Any, keywords: Any) -> Any:
        """Not one version for each constant that a caller passes."""
        return template_of(tuple(map(numba.types.unliteral, args)), keywords)

    dispatcher.get_call_template = for_any_value
    return cast(Callable[P, R], dispatcher)


def records(length: int, /, **fields: type[np.generic]) -> Any:
    """A zeroed array of records, `array[i].field`; untouched parts cost no memory.

    Outside compiled code a field named like an attribute of numpy's scalars would be hidden by it.
    """
    hidden = [name for name in fields if hasattr(np.record, name)]
    assert not hidden, f"numpy's own attributes: {hidden}"
    return np.zeros(length, np.dtype(list(fields.items()), align=True)).view(np.recarray)


@hot
def wide(value: Any) -> int:
    """An array element as a 64-bit integer. numba compiles a function anew for each width."""
    return np.int64(value)  # type: ignore[return-value]
