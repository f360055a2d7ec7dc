"""Every cell on this GPU, each run `repeats` times, with one loaded model."""

from __future__ import annotations

import json
import time
from pathlib import Path

from benchmarks.side_by_side.cells import (
    GPU_MODEL,
    LARGEST_KV,
    OPTIONS,
    Cell,
    cell_trace,
    trace_path,
)

__all__ = ["finished", "measure", "place"]


def place(out: Path, cell: Cell, repeat: int) -> Path:
    """Directory of one run."""
    return out / cell.name / f"measured-{repeat}"


def finished(path: Path) -> bool:
    """Whether the one run below `path` reached its end."""
    return any(json.loads(f.read_text())["complete"] for f in path.glob("*/summary.json"))


def measure(
    cells: list[Cell], out: Path, *, repeats: int, seconds: float, device: str = "cuda"
) -> bool:
    """Measure what is not finished, all cells once before any is repeated; False if time ran out.

    A run that does not end within its own limit of seconds is left out, not cut.
    """
    from pcache.gpu.api import run
    from pcache.gpu.run import EngineSettings, GpuBench, longest_context

    began = time.monotonic()
    todo = [
        (repeat, cell)
        for repeat in range(1, repeats + 1)
        for cell in cells
        if not finished(place(out, cell, repeat))
    ]
    if not todo:
        return True
    on_cpu = device == "cpu"
    settings = EngineSettings(
        model="tiny" if on_cpu else GPU_MODEL,
        device=device,
        dtype="fp32" if on_cpu else "bf16",
        kernels="reference" if on_cpu else "triton",
        graphs=not on_cpu,
        skip_idle=True,
    )
    longest = max(longest_context(cell_trace(cell.trace, 1.0)) for _, cell in todo)
    bench = GpuBench(settings, longest, LARGEST_KV)
    for number, (repeat, cell) in enumerate(todo):
        if time.monotonic() - began > seconds:
            return False
        started = time.monotonic()
        results = run(
            cell_trace(cell.trace, cell.time_scale), cell.policy, settings=settings, bench=bench,
            kv_tokens=cell.kv_tokens, batching=cell.batching, path=trace_path(cell.trace).name,
            **OPTIONS,
        )  # fmt: skip
        results.write(place(out, cell, repeat))
        row = results.summary.iloc[0]
        print(
            f"{number + 1}/{len(todo)} {cell.name} #{repeat}: hit {100 * row['hit_rate']:.2f} %, "
            f"TTFT mean {row['ttft_mean_ms']:.1f} ms, {time.monotonic() - started:.1f} s",
            flush=True,
        )
        if not results.complete:
            return False
    return True
