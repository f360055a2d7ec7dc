"""Where cells run: in this process, in several, or on a Ray cluster."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from pcache.errors import ConfigError
from pcache.sweeps.grid import Cell
from pcache.sweeps.run_cell import run_cell

__all__ = ["PLACES", "Rows", "here", "on_ray", "place_named"]

Rows = Callable[[Sequence[Cell], int], Iterator[dict[str, Any]]]
"""Runs cells, so many at a time, and yields their rows as they finish."""


def here(cells: Sequence[Cell], jobs: int) -> Iterator[dict[str, Any]]:
    """In this process, and in `jobs` - 1 more of this machine."""
    if jobs == 1 or len(cells) == 1:
        yield from map(run_cell, cells)
        return
    # Not forked: the parent may have threads by now, whose locks a fork would keep for ever.
    with ProcessPoolExecutor(min(jobs, len(cells)) - 1, get_context("spawn")) as pool:
        waiting = {pool.submit(run_cell, cell): cell for cell in cells}
        try:
            for future, cell in reversed(list(waiting.items())):
                if future.cancel():  # nobody has begun it: this process, which is ready, does
                    del waiting[future]
                    yield run_cell(cell)
                for done in [other for other in waiting if other.done()]:
                    del waiting[done]
                    yield done.result()
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def on_ray(cells: Sequence[Cell], jobs: int) -> Iterator[dict[str, Any]]:
    """On the Ray cluster that RAY_ADDRESS names, or on a local one of `jobs` processes.

    Every node must have pcache and read the traces at the same paths. Raises ConfigError without
    the package.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            "--on ray needs the package ray: in the checkout, pip install '.[ray]'"
        ) from error
    started = not ray.is_initialized()
    if started:
        ray.init(num_cpus=None if os.environ.get("RAY_ADDRESS") else jobs, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1)(run_cell)
        waiting = [remote.remote(cell) for cell in cells]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    finally:
        if started:
            ray.shutdown()


PLACES: dict[str, Rows] = {"here": here, "ray": on_ray}


def place_named(name: str) -> Rows:
    """Raises ConfigError naming the known places."""
    if name not in PLACES:
        raise ConfigError(f"--on {name!r} is unknown; known: {', '.join(PLACES)}")
    return PLACES[name]
