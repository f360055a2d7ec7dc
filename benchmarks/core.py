"""Benchmark of the core on a real trace, on one CPU core.

    python benchmarks/core.py [TRACE]

TRACE is the Mooncake conversation trace (`pcache trace fetch mooncake-conversation` downloads it);
by default it is looked for in $PCACHE_REAL_TRACES and in ../shared/traces. Every part is the median
of five after one warm-up, so imports and compilation are not in it. The figures are printed and
appended to reports/data/core.csv with machine, versions and commit.
"""

from __future__ import annotations

import csv
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay
from pcache.cli.output import OutputFormat, emit
from pcache.prefixes import build_forest
from pcache.provenance import provenance
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import gpu_shape, model_shape
from pcache.sim.curve import hit_curve
from pcache.sim.lru_curve import CurveOptions
from pcache.sim.roofline import kv_capacity_tokens, roofline
from pcache.sim.simulate import simulate_policy
from pcache.trace import read_trace
from pcache.types import Trace

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "reports" / "data" / "core.csv"
FILE_NAME = "mooncake_conversation.jsonl.xz"
REPEATS = 5
REPLAY_TOKENS = 1_000_000
REPLAYS = (("radix", 1), ("radix", 16), ("radix", 512), ("hash", 16), ("hash", 512))
SIMULATIONS = (("radix", 512), ("hash", 512), ("radix", 16), ("hash", 16))
REPLAY_TARGETS_S = {1: 3.0, 16: 3.0, 512: 1.0}
SIMULATE_TARGETS_S = {16: 8.0, 512: 4.0}
CURVE_TARGET_S = 1.0
CURVE_POINTS = 161
MEMORY_TARGET_MB = 1536.0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is timed. `target` is the most that it may take."""

    name: str
    target: float | None
    work: Callable[[], object]


def main() -> None:
    """Time every part and report."""
    path = find_trace()
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    trace = read_trace(path)
    parts = [
        Part("load (xz, JSON)", None, lambda: read_trace(path)),
        Part("prefix forest", None, lambda: build_forest(trace)),
        *replays(trace),
        *curves(trace),
        *simulations(trace),
    ]
    rows: list[dict[str, Any]] = [
        {"part": part.name, **seconds(part.work), "target": part.target} for part in parts
    ]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows.append({"part": "peak memory (MB)", "median": memory, "target": MEMORY_TARGET_MB})
    table = pd.DataFrame(rows)
    emit(table, title=f"{trace.name}: seconds on one core", format=OutputFormat.table)
    record(rows)


def find_trace() -> Path:
    """The trace named on the command line, or where it is usually kept."""
    folder = Path(os.environ.get("PCACHE_REAL_TRACES", ROOT.parent / "shared" / "traces"))
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / FILE_NAME
    if not path.is_file():
        sys.exit(f"{path}: no such file; give the Mooncake conversation trace as an argument")
    return path


def replays(trace: Trace) -> list[Part]:
    """Serial replays; the forest, which they share, is timed apart."""
    forest = build_forest(trace)

    def one(index: str, size: int) -> Part:
        config = CacheConfig(index, size, REPLAY_TOKENS)
        name = f"replay {config.label}, 1 M tokens"
        return Part(name, REPLAY_TARGETS_S[size], lambda: replay(trace, config, forest=forest))

    return [one(*cell) for cell in REPLAYS]


def curves(trace: Trace) -> list[Part]:
    """Hit rate against capacity, without the forest: all capacities of LRU, and with the bound."""
    forest = build_forest(trace)

    def one(name: str, size: int, bound: bool) -> Part:
        options = CurveOptions(size, bound=bound)
        return Part(
            name,
            CURVE_TARGET_S,
            lambda: hit_curve(
                trace, forest, options, capacities=CURVE_POINTS, marks={}, kv_bytes_per_token=1
            ),
        )

    return [
        one("curve hash/16, all capacities", 16, False),
        one("curve hash/1, all capacities", 1, False),
        one(f"curve hash/16, bound at {CURVE_POINTS} capacities", 16, True),
    ]


def simulations(trace: Trace) -> list[Part]:
    """Whole simulations, run summary included."""
    forest = build_forest(trace)
    model, gpu = model_shape("llama-3.1-8b"), gpu_shape("h100")
    capacity = kv_capacity_tokens(model, gpu)
    cost = roofline(model, gpu)

    def one(index: str, size: int) -> Part:
        config = CacheConfig(index, size, capacity)
        return Part(
            f"simulate {config.label}, {model.name} on {gpu.name}",
            SIMULATE_TARGETS_S[size],
            lambda: simulate_policy(trace, config, SchedulerConfig(), cost, forest=forest),
        )

    return [one(*cell) for cell in SIMULATIONS]


def seconds(work: Callable[[], object]) -> dict[str, float]:
    """Wall time: the median and the fastest of REPEATS, after one that does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return {"median": statistics.median(times), "fastest": min(times)}


def cpu_name() -> str:
    """The processor as the system calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def record(rows: Sequence[Mapping[str, Any]]) -> None:
    """Append the rows to RESULTS."""
    where = provenance()
    versions = where["versions"]
    new = not RESULTS.is_file()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(
                ["part", "median", "fastest", "target", "cpu", "python", "numba", "numpy", "commit"]
            )
        for row in rows:
            figures = [row.get(name) for name in ("median", "fastest", "target")]
            writer.writerow(
                [row["part"], *("" if value is None else round(value, 4) for value in figures),
                 cpu_name(), versions["python"], versions["numba"], versions["numpy"],
                 where["commit"]]
            )  # fmt: skip


if __name__ == "__main__":
    main()
