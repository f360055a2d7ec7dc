"""Which cells: first a few dozen that show every level of each factor with every level of the others,
then the other combinations, for as long as there is time."""

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
SHOWCASES = (("few-shot", 0.6), ("mooncake", 0.6))
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
            cells.append(replace(first, name=f"showcase-{trace}-{index}", policy=index))
    first = _cell("ladder", "chat", "none", "roomy", 0.6, held, gpu)
    for index, batching in LADDER:
        name = f"ladder-{first.trace}-{index}-{batching}"
        cells.append(replace(first, name=name, policy=index, batching=batching))
    others = [row for row in product(EXCERPTS, INDEXES, CAPACITIES, LOADS) if row not in rows]
    others_cells = [_cell("grid", *row[:3], row[3], held, gpu) for row in others]
    return sorted(cells, key=lambda cell: cell.trace) + _distinct(others_cells, cells)


def _distinct(cells: list[Cell], known: list[Cell]) -> list[Cell]:
    """Without configurations that are there already: in small traces tight and thrashing are one."""

    def configuration(cell: Cell) -> tuple[object, ...]:
        return cell.trace, cell.policy, cell.batching, cell.kv_tokens, cell.load

    seen = {configuration(cell) for cell in known}
    kept = []
    for cell in cells:
        if configuration(cell) not in seen:
            seen.add(configuration(cell))
            kept.append(cell)
    return kept


def _cell(
    study: str, trace: str, index: str, kv: str, load: float, held: dict[str, int], gpu: str
) -> Cell:
    """Arrivals take the time that the configuration would need for them at once, over `load`."""
    largest = int(cell_trace(trace, 1.0).prompt_tokens.max()) + 1024
    tokens = max(int(CAPACITIES[kv] * held[trace]), 2 * largest) if kv != "roomy" else LARGEST_KV
    tokens = -(-tokens // 1000) * 1000
    at_once = _sustained_s(trace, index, tokens, gpu)
    arrivals = cell_trace(trace, 1.0).arrival_ns
    span_s = float(arrivals[-1] - arrivals[0]) / 1e9
    name = f"{study}-{trace}-{index}-{kv}-{load}"
    scale = float(f"{span_s * load / at_once:.4g}")
    return Cell(name, study, trace, index, kv, load, "chunked", tokens, scale, round(at_once, 3))


def _simulated(trace: str, index: str, kv_tokens: int, gpu: str) -> pcache.Results:
    at_once = cell_trace(trace, 1e6)
    return pcache.simulate(at_once, index, gpu=gpu, model=GPU_MODEL, kv_tokens=kv_tokens, **OPTIONS)


def _held_tokens(trace: str, gpu: str) -> int:
    results = _simulated(trace, "radix", LARGEST_KV, gpu)
    return int(results.summary["peak_kv_tokens"][0])


def _sustained_s(trace: str, index: str, kv_tokens: int, gpu: str) -> float:
    results = _simulated(trace, index, kv_tokens, gpu)
    return float(results.requests["finished_at_ns"].max()) / 1e9
