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
    RESULTS,
    Cell,
    cell_trace,
    read_cells,
    trace_path,
    write_cells,
)
from benchmarks.side_by_side.frozen import PROFILE, Frozen, doubt_of, read_frozen, write_frozen

__all__ = ["job_of", "measure"]

SLOWER, EACH_RUN_S = 1.15, 1.0
"""A run may take so many times its simulated steps, and so many seconds around them."""


def job_of(cell: Cell) -> Job:
    """What to run and to simulate for a cell."""
    return Job(
        cell.name,
        partial(cell_trace, cell.trace, cell.time_scale, cell.requests),
        trace_path(cell.trace).name,
        cell.policy,
        cell.kv_tokens,
        SLOWER * cell.busy_s + EACH_RUN_S,
        OPTIONS | {"batching": cell.batching},
    )


def measure(
    cells: Sequence[Cell], out: Path, *, repeats: int, seconds: float, device: str = "cuda"
) -> bool:
    """Measure what is not finished; False if time ran out before all was.

    `design.json` and `cells.csv` go along with the runs. SystemExit on another GPU than the one that
    the cells were designed for, and where OUT holds runs of another design."""
    if device != "cpu":
        frozen = _designed_for_this_gpu()
        if read_frozen(out) not in (None, frozen):
            raise SystemExit(f"{out} holds runs of another design: choose another directory")
        write_frozen(frozen, out, RESULTS / PROFILE)
    write_cells(read_cells(), out)
    here = _with_traces(cells)
    jobs = list(map(job_of, here))
    settings = engine_settings(device, GPU_MODEL)
    complete = measure_jobs(
        jobs, out, settings, repeats=repeats, seconds=seconds, pool_tokens=LARGEST_KV
    )
    return complete and len(here) == len(cells)


def _with_traces(cells: Sequence[Cell]) -> list[Cell]:
    """Cells whose trace is on this machine; a line for each trace that is not."""
    missing = {}
    for trace in {cell.trace for cell in cells}:
        try:
            trace_path(trace)
        except FileNotFoundError as error:
            missing[trace] = error
    for trace, error in missing.items():
        left_out = sum(cell.trace == trace for cell in cells)
        print(f"{left_out} cells are left out: {error}", flush=True)
    return [cell for cell in cells if cell.trace not in missing]


def _designed_for_this_gpu() -> Frozen:
    from pcache.gpu.device import current_gpu

    known, frozen = current_gpu(), read_frozen()
    here = "no known GPU" if known is None else known.name
    if frozen is None or known is None or frozen.gpu != here:
        designed = "nothing" if frozen is None else frozen.gpu
        raise SystemExit(
            f"the cells were designed for {designed}, here is {here}: their loads would not be what "
            f"they say; run design --gpu {here}"
        )
    if doubt := doubt_of(RESULTS, str(RESULTS / PROFILE)):
        raise SystemExit(f"{RESULTS / PROFILE}: {doubt} Run design --gpu {here}")
    return frozen
