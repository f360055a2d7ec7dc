"""Every eviction policy on traces that no policy was made or tuned with.

    python benchmarks/policies_held_out.py [TRACE ...]

As `policies.py`, at six capacities, on generated traces with parameters and seeds that nothing else
here uses, and on the two halves of the traces named, each replayed alone. Writes
reports/data/policies_held_out.csv anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import pandas as pd
from policies import BLOCK_SIZE, ROOT, replays, verdict

from pcache.prefixes import build_forest
from pcache.trace import generate, read_trace, slice_trace
from pcache.types import Trace

RESULTS = ROOT / "reports" / "data" / "policies_held_out.csv"
NUM_CAPACITIES = 6
GENERATED: dict[str, tuple[str, int, dict[str, Any]]] = {
    "bursty chat, long answers": (
        "multi-turn-chat", 9001,
        {"requests": 900, "arrivals": "bursty", "turns": 8.0, "output_tokens": 500, "think_s": 45.0},
    ),
    "many agents, slow tools": (
        "agent-tools", 9002,
        {"requests": 800, "agents": 12, "rate": 0.8, "steps": 5.0, "tool_s": 9.0},
    ),
    "large store, flat popularity": (
        "rag", 9003, {"requests": 900, "documents": 1200, "zipf": 0.6, "retrieved": 3},
    ),
    "long prompts, equal popularity": (
        "shared-system-prompt", 9004,
        {"requests": 900, "prompts": 40, "zipf": 0.0, "system_tokens": 3000},
    ),
    "many tasks, bursty": (
        "few-shot", 9005,
        {"requests": 900, "tasks": 90, "zipf": 1.2, "shots": 12, "arrivals": "bursty"},
    ),
    "wide search": (
        "tree-of-thought", 9006,
        {"requests": 900, "rate": 1.0, "branches": 6, "kept": 3, "problem_tokens": 600},
    ),
    "few images, many questions": (
        "image-prompts", 9007,
        {"requests": 900, "images": 40, "zipf": 0.5, "turns": 5.0, "think_s": 30.0},
    ),
}  # fmt: skip
"""Name: workload, seed, parameters."""


def main() -> None:
    """Replay everything, write the table, print what matters."""
    with Pool(2) as pool:
        parts = pool.imap(compared, traces(), chunksize=1)
        table = pd.concat(parts, ignore_index=True)
    table.to_csv(RESULTS, index=False, float_format="%.6f", lineterminator="\n")
    print(verdict(table).to_string(float_format="%.2f"))
    rates = table.pivot_table(
        index=["trace", "index", "capacity_tokens"], columns="eviction", values="hit_rate"
    )
    over = (100 * rates.sub(rates["lru"], axis=0)).groupby(["index", "trace"])
    summary = pd.concat(
        {
            "mean": over.mean().groupby("index").mean().T,
            "worst": over.min().groupby("index").min().T,
        },
        axis=1,
    )
    print(summary.sort_values(("mean", "hash"), ascending=False).to_string(float_format="%.2f"))


def traces() -> Iterator[Trace]:
    """Both halves of every trace named, and what is generated."""
    for path in map(Path, sys.argv[1:]):
        trace = read_trace(path)
        middle_s = float(trace.arrival_ns[len(trace) // 2]) / 1e9
        yield replace(slice_trace(trace, end_s=middle_s), name=f"{trace.name}, first half")
        yield replace(slice_trace(trace, start_s=middle_s), name=f"{trace.name}, second half")
    for name, (workload, seed, parameters) in GENERATED.items():
        yield replace(generate(workload, seed=seed, **parameters), name=name)


def compared(trace: Trace) -> pd.DataFrame:
    """All policies on one trace; a row for each index, eviction and capacity."""
    block_size = max(BLOCK_SIZE, trace.symbol_tokens)
    rows = list(replays(trace, build_forest(trace), block_size, NUM_CAPACITIES))
    print(f"{trace.name}: {len(rows)} replays", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
