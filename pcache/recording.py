"""What a measured run records beyond its run directory's tables, so that it can be replayed exactly.

    decisions.parquet   the decision log, a row an event (EVENT_COLUMNS, as in `cache.events`)
    instants.parquet    the loop's actions in order, and when each took place (INSTANT_COLUMNS)

Time enters the decisions only where a step is planned, so instants and trace determine the log.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pcache.errors import RunDirectoryError
from pcache.types import I8

__all__ = ["EVENT_COLUMNS", "INSTANT_COLUMNS", "read_recording", "write_recording"]

EVENT_COLUMNS: dict[str, str] = {
    "step": "number of the step that was being planned, or planned next",
    "kind": "index into cache.events.EVENT_NAMES",
    "request": "number of the request in the trace, -1 for evict",
    "position": "block of the request's table; for admit its preemptions so far",
    "first_block": "first block id of the run; for admit the table row",
    "count": "blocks of the run; for admit the cached tokens",
}
INSTANT_COLUMNS: dict[str, str] = {
    "action": "0 plan, 1 launch, 2 commit, 3 wait for an arrival (scheduler.loop)",
    "at_ns": "planned_at, launched_at or ended_at of a step, or when the wait was over",
}


def write_recording(path: Path, events: I8 | None, instants: I8 | None) -> None:
    """Write what was recorded into a run directory; remove what an earlier run left there."""
    tables = (
        ("decisions.parquet", EVENT_COLUMNS, events if instants is not None else None),
        ("instants.parquet", INSTANT_COLUMNS, instants),
    )
    for name, columns, rows in tables:
        (path / name).unlink(missing_ok=True)
        if rows is not None:
            partial = path / f".{name}.partial"
            pd.DataFrame(rows, columns=list(columns)).to_parquet(partial, index=False)
            partial.replace(path / name)


def read_recording(path: Path) -> tuple[I8, I8]:
    """Decision log int64 [n, 6] and instants int64 [m, 2] of a run directory.

    Raises RunDirectoryError where there are none, or where they cannot be read.
    """
    if missing := [
        n for n in ("decisions.parquet", "instants.parquet") if not (path / n).is_file()
    ]:
        raise RunDirectoryError(
            f"{path}: no recorded decisions to replay (no {missing[0]}); only `pcache run` records them"
        )
    try:
        events = pd.read_parquet(path / "decisions.parquet")[list(EVENT_COLUMNS)]
        instants = pd.read_parquet(path / "instants.parquet")[list(INSTANT_COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise RunDirectoryError(
            f"{path}: the recorded decisions are damaged ({reason}); run it again"
        ) from error
    return events.to_numpy(np.int64), instants.to_numpy(np.int64)
