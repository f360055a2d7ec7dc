"""What a cell is, its table on disk, and the trace that it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from pcache.trace import read_trace
from pcache.trace.slice import slice_trace
from pcache.types import I8, Trace

__all__ = ["BLOCK_SIZE", "CELLS", "GPU_MODEL", "LARGEST_KV", "OPTIONS", "RESULTS", "Cell", "cell_trace",
           "has_ticks", "read_cells", "spread_ticks", "trace_path", "write_cells"]  # fmt: skip

RESULTS = Path(__file__).parents[2] / "reports" / "side-by-side"
CELLS = "cells.csv"

GPU_MODEL = "llama-3.1-8b"
BLOCK_SIZE = 16
LARGEST_KV = 300_000
"""Tokens of the pool on the GPU, which every smaller capacity uses a part of."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One configuration. `kv` and `load` name the levels; `kv_tokens` and `time_scale` are what the
    runs get. `study` is `cells` (every pair of levels), `ladder` or `showcase`. `sustained_s` is how
    long the simulator takes for the cell's requests when all are there at once; `load` is that over the
    time their arrivals take. `busy_s` is the time of all steps, in simulation. In ladder and showcase
    all policies get the pace of `none`."""

    name: str
    study: str
    trace: str
    policy: str
    kv: str
    load: float
    batching: str
    kv_tokens: int
    requests: int
    time_scale: float
    sustained_s: float
    busy_s: float


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The part of a trace that cells take the first requests of. `ticks`: the trace's clock ticks
    every few seconds, and the requests of a tick are taken to arrive evenly until the next one."""

    file: str
    start_s: float | None
    limit: int
    ticks: bool = False


EXCERPTS = {
    "chat": Excerpt("multi-turn-chat.jsonl.xz", None, 80),
    "agent": Excerpt("agent-tools.jsonl.xz", None, 200),
    "few-shot": Excerpt("few-shot.jsonl.xz", None, 400),
    "rag": Excerpt("rag.jsonl.xz", None, 70),
    "tree": Excerpt("tree-of-thought.jsonl.xz", None, 300),
    "conversation": Excerpt("mooncake_conversation.jsonl.xz", 2354.0, 16, ticks=True),
}
_EARLIER_EXCERPTS = {"mooncake": Excerpt("mooncake_conversation.jsonl.xz", 1800.0, 12)}
"""Of cells measured before, and designed no more."""


def trace_path(name: str) -> Path:
    """Where a study's trace lies: with the repository, or below PCACHE_TRACES. FileNotFoundError."""
    file = _excerpt(name).file
    places = [Path(__file__).parents[2] / "traces", Path(os.environ.get("PCACHE_TRACES", "."))]
    found = [place / file for place in places if (place / file).is_file()]
    if not found:
        raise FileNotFoundError(f"no {file} in {places[0]}; name its directory in PCACHE_TRACES")
    return found[0]


def cell_trace(name: str, time_scale: float, requests: int | None = None) -> Trace:
    """The first requests (None: all) of the excerpt `name`, arriving `time_scale` times as fast."""
    return slice_trace(_whole(name), limit=requests, time_scale=time_scale)


def has_ticks(name: str) -> bool:
    """Whether arrivals of the excerpt `name` are spread within the ticks of its trace's clock."""
    return _excerpt(name).ticks


def _excerpt(name: str) -> Excerpt:
    return (EXCERPTS | _EARLIER_EXCERPTS)[name]


@lru_cache(maxsize=len(EXCERPTS))
def _whole(name: str) -> Trace:
    part = _excerpt(name)
    trace = read_trace(trace_path(name), start_s=part.start_s, limit=part.limit)
    return replace(trace, arrival_ns=spread_ticks(trace.arrival_ns)) if part.ticks else trace


def spread_ticks(arrival_ns: I8) -> I8:
    """Equal arrivals [requests], ascending, spread evenly until the next ones."""
    ticks, first, counts = np.unique(arrival_ns, return_index=True, return_counts=True)
    if len(ticks) < 2:
        return arrival_ns
    gaps = np.diff(ticks, append=2 * ticks[-1] - ticks[-2])
    place = np.arange(len(arrival_ns)) - np.repeat(first, counts)
    return arrival_ns + place * np.repeat(gaps, counts) // np.repeat(counts, counts)


OPTIONS = {"block_size": BLOCK_SIZE, "slo_ttft": "1s"}
"""Of every run of both sides, beside what the cell says."""


def write_cells(cells: Sequence[Cell], place: Path = RESULTS) -> None:
    """Write the table of cells to `place`."""
    place.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([asdict(cell) for cell in cells]).to_csv(place / CELLS, index=False)


def read_cells(place: Path = RESULTS) -> list[Cell]:
    """The cells of the table in `place`, in its order. SystemExit where there is none."""
    if not (place / CELLS).is_file():
        raise SystemExit(f"no {CELLS} in {place}: `measure` puts the one it used there")
    names = [field.name for field in fields(Cell)]
    table = pd.read_csv(place / CELLS)[names]
    return [Cell(*row) for row in table.itertuples(index=False, name=None)]
