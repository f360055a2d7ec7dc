"""Run what of a grid is not finished yet, and put the table together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pcache.sweeps.grid import Grid
from pcache.sweeps.store import SweepStore
from pcache.sweeps.workers import place_named

__all__ = ["Sweep", "finish"]


@dataclass(frozen=True, slots=True)
class Sweep:
    """`cells` has a row a finished cell: axes, the fields of `summary.json`, ceiling, kv_bytes and
    within_slo. `num_cells` is how many there are in all, `reused` how many an earlier sweep left."""

    cells: pd.DataFrame
    num_cells: int
    reused: int
    left_out: list[str]

    @property
    def complete(self) -> bool:
        """Whether every cell has its row."""
        return len(self.cells) == self.num_cells


def finish(
    grid: Grid,
    out: Path,
    *,
    jobs: int | None = None,
    on: str = "here",
    progress: Callable[[int], None] | None = None,
) -> Sweep:
    """Simulate the cells that `out` does not hold yet, `jobs` (all cores) at a time.

    `progress` hears how many are finished. Ctrl-C keeps the finished cells; the sweep that comes back
    is incomplete, and the same call goes on with the rest. Raises ConfigError and what reading the
    traces raises.
    """
    run = place_named(on)
    cells, left_out = grid.cells()
    store = SweepStore(out)
    keys = [cell.key for cell in cells]
    missing = [cell for cell in cells if store.row(cell.key) is None]
    finished = len(cells) - len(missing)
    try:
        if missing:
            for row in run(missing, jobs or os.cpu_count() or 1):
                store.keep(row)
                finished += 1
                if progress is not None:
                    progress(finished)
    except KeyboardInterrupt:
        pass
    return Sweep(store.table(keys), len(cells), len(cells) - len(missing), left_out)
