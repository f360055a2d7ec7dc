"""Every cell on this GPU, each run several times, with one loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.jobs import Job, engine_settings, measure_jobs
from benchmarks.side_by_side.cells import (
    GPU_MODEL,
    LARGEST_KV,
    OPTIONS,
    Cell,
    cell_trace,
    trace_path,
)

__all__ = ["job_of", "measure"]

WAVES = (("cells", "ladder", "showcase"), ("grid",))
"""Studies that are measured before the next ones are begun."""


def job_of(cell: Cell) -> Job:
    """What to run and to simulate for a cell."""
    return Job(
        cell.name,
        partial(cell_trace, cell.trace, cell.time_scale),
        trace_path(cell.trace).name,
        cell.policy,
        cell.kv_tokens,
        cell.sustained_s / min(cell.load, 1.0),
        OPTIONS | {"batching": cell.batching},
    )


def measure(
    cells: Sequence[Cell], out: Path, *, repeats: int, seconds: float, device: str = "cuda"
) -> bool:
    """Measure what is not finished; False if time ran out before all was."""
    waves = [[job_of(cell) for cell in cells if cell.study in studies] for studies in WAVES]
    settings = engine_settings(device, GPU_MODEL)
    return measure_jobs(
        waves, out, settings, repeats=repeats, seconds=seconds, pool_tokens=LARGEST_KV
    )
