"""Which cells: a few dozen that show every level of each factor with every level of the others."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pcache
from benchmarks.side_by_side.cells import (
    EXCERPTS,
    GPU_MODEL,
    LARGEST_KV,
    OPTIONS,
    Cell,
    cell_trace,
)

__all__ = ["covering_rows", "design"]

INDEXES = ("radix", "hash", "none")
CAPACITIES = {"roomy": 1.0, "tight": 0.35, "thrashing": 0.12}
"""Share of the tokens that the trace ever holds."""
LOADS = (0.3, 0.6, 0.8, 1.2)
LADDER = (("none", "static"), ("none", "continuous"), ("none", "chunked"), ("hash", "chunked"),
          ("radix", "chunked"))  # fmt: skip
LONGEST_S, FEWEST = 12.0, 10
"""Most seconds of steps in a cell, and fewest requests."""
AT_ONCE = 1e6
"""Time scale at which everything is there from the start."""
SHOWCASES = (("few-shot", 0.6), ("conversation", 0.6))
"""A trace with much sharing and one with little."""


def covering_rows(*factors: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Rows of one level each such that every pair of levels of two factors meets in one; greedy."""

    def pairs(row: tuple[Any, ...]) -> set[tuple[Any, ...]]:
        return {(i, row[i], j, row[j]) for i, j in combinations(range(len(row)), 2)}

    candidates = list(product(*factors))
    missing = set().union(*map(pairs, candidates))
    rows = []
    while missing:
        best = max(candidates, key=lambda row: len(pairs(row) & missing))
        missing -= pairs(best)
        rows.append(best)
    return rows


def design(gpu: str) -> list[Cell]:
    """All cells; capacities and paces come from simulations of `gpu`."""
    held = {trace: _held_tokens(trace, gpu) for trace in EXCERPTS}
    rows = covering_rows(tuple(EXCERPTS), INDEXES, tuple(CAPACITIES), LOADS)
    cells = [_cell("cells", trace, index, kv, load, held, gpu) for trace, index, kv, load in rows]
    for trace, load in SHOWCASES:
        first = _cell("showcase", trace, "none", "roomy", load, held, gpu)
        for index in INDEXES:
            cells.append(_served(first, gpu, name=f"showcase-{trace}-{index}", policy=index))
    first = _cell("ladder", "chat", "none", "roomy", 0.6, held, gpu)
    for index, batching in LADDER:
        name = f"ladder-{first.trace}-{index}-{batching}"
        cells.append(_served(first, gpu, name=name, policy=index, batching=batching))
    return sorted(cells, key=lambda cell: cell.trace)


def _cell(
    study: str, trace: str, index: str, kv: str, load: float, held: dict[str, int], gpu: str
) -> Cell:
    """Arrivals take the time that the configuration would need for them at once, over `load`. Of the
    excerpt as many requests as keep the GPU busy for LONGEST_S."""
    whole = cell_trace(trace, 1.0)
    largest = int(whole.prompt_tokens.max()) + 1024
    tokens = max(int(CAPACITIES[kv] * held[trace]), 2 * largest) if kv != "roomy" else LARGEST_KV
    tokens = -(-tokens // 1000) * 1000
    requests, name = len(whole), f"{study}-{trace}-{index}-{kv}-{load}"
    while True:
        at_once = _sustained_s(trace, requests, index, tokens, gpu)
        arrivals = whole.arrival_ns[:requests]
        scale = float(f"{float(arrivals[-1] - arrivals[0]) / 1e9 * load / at_once:.4g}")
        busy = _busy_s(_simulated(trace, requests, scale, index, tokens, gpu))
        if busy <= LONGEST_S or requests <= FEWEST:
            break
        requests = max(FEWEST, min(requests - 1, int(requests * LONGEST_S / busy)))
    return Cell(
        name, study, trace, index, kv, load, "chunked", tokens, requests, scale, round(at_once, 3),
        round(busy, 3),
    )  # fmt: skip


def _served(cell: Cell, gpu: str, **changed: Any) -> Cell:
    """The cell with another policy or batching, and how long that takes."""
    other = replace(cell, **changed)
    results = _simulated(
        other.trace, other.requests, other.time_scale, other.policy, other.kv_tokens, gpu,
        other.batching,
    )  # fmt: skip
    return replace(other, busy_s=round(_busy_s(results), 3))


def _simulated(
    trace: str, requests: int | None, time_scale: float, index: str, kv_tokens: int, gpu: str,
    batching: str = "chunked",
) -> pcache.Results:  # fmt: skip
    return pcache.simulate(
        cell_trace(trace, time_scale, requests), index, gpu=gpu, model=GPU_MODEL,
        kv_tokens=kv_tokens, batching=batching, **OPTIONS,
    )  # fmt: skip


def _busy_s(results: pcache.Results) -> float:
    """Seconds that the GPU is busy; between them the engine sets its clock forward."""
    (run,) = results.runs
    assert run.steps is not None
    return float(run.steps["duration_ns"].sum()) / 1e9


def _held_tokens(trace: str, gpu: str) -> int:
    results = _simulated(trace, None, AT_ONCE, "radix", LARGEST_KV, gpu)
    return int(results.summary["peak_kv_tokens"][0])


def _sustained_s(trace: str, requests: int, index: str, kv_tokens: int, gpu: str) -> float:
    results = _simulated(trace, requests, AT_ONCE, index, kv_tokens, gpu)
    return float(results.requests["finished_at_ns"].max()) / 1e9
