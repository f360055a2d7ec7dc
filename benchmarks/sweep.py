"""How much a second core helps a sweep of 100 cells.

    python benchmarks/sweep.py [TRACE]

TRACE as of benchmarks/core.py. The same grid runs in one process and in two, each into an empty
directory, starting the processes included, one after the other; the ratio is what counts. The figures
are appended to reports/data/core.csv.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pandas as pd
from core import find_trace, record

import pcache
from pcache.cli.output import OutputFormat, emit

CAPACITIES = "200k,400k,600k,800k,1M,1500k,2M,2500k,3M,4M"
TARGET = 1.8


def main() -> None:
    """Time both and report."""
    path = find_trace()
    run(path, 1, "2M")  # compiles
    one, two = run(path, 1, CAPACITIES), run(path, 2, CAPACITIES)
    rows = [
        {"part": "sweep of 100 cells, one process", "median": one},
        {"part": "sweep of 100 cells, two processes", "median": two},
        {"part": "sweep of 100 cells, speed-up (at least)", "median": one / two, "target": TARGET},
    ]
    emit(pd.DataFrame(rows), title="Seconds", format=OutputFormat.table)
    record(rows)


def run(path: Path, jobs: int, capacities: str) -> float:
    """Seconds of wall time for the grid in `jobs` processes."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        found = pcache.sweep(
            [path], out, policy="radix,hash", block_size="16,32,64,128,512", kv_tokens=capacities,
            gpu="h200", tp=4, jobs=jobs,
        )  # fmt: skip
        assert found.complete
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
