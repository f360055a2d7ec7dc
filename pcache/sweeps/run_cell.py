"""One cell, in whatever process or machine it lands on."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import Any

from pcache import api
from pcache.errors import ConfigError
from pcache.results import Results
from pcache.sweeps.grid import Cell, TraceFile
from pcache.trace import read_trace
from pcache.types import Trace

__all__ = ["read_file", "run_cell"]


def read_file(file: TraceFile) -> Trace:
    """The trace of a file, whatever its content. Raises TraceError where it cannot be read."""
    options = asdict(file)
    del options["sha256"]
    return read_trace(options.pop("path"), **options)


@lru_cache(maxsize=2)
def _cell_trace(file: TraceFile) -> Trace:
    """The trace of a cell; a process keeps the last two."""
    trace = read_file(file)
    if trace.sha256 != file.sha256:
        raise ConfigError(f"{file.path} has changed since the sweep began; start it again")
    return trace


def run_cell(cell: Cell) -> dict[str, Any]:
    """The cell's row: its axes, its summary, and the shares of requests within the targets.

    A configuration that cannot hold a single request has `error` and no summary.
    """
    cache, rules = cell.cache, cell.scheduler
    axes: dict[str, Any] = {
        "key": cell.key, "trace": "", "trace_sha256": cell.trace.sha256,
        "index": cache.index, "block_size": cache.block_size, "eviction": cache.eviction,
        "kv_tokens": cache.kv_tokens, "order": rules.order,
    }  # fmt: skip
    trace = _cell_trace(cell.trace)
    axes["trace"] = trace.name
    try:
        results = api.simulate(
            trace,
            cache.index,
            block_size=cache.block_size,
            evict=cache.eviction,
            kv_tokens="inf" if cache.kv_tokens is None else cache.kv_tokens,
            batching=rules.batching,
            order=rules.order,
            token_budget=rules.token_budget,
            max_running=rules.max_running,
            overlap=rules.overlap,
            model=cell.model,
            gpu=cell.gpu,
            tp=cell.tp,
            profile=cell.profile,
            slo_ttft=cell.slo_ttft_ms,
            slo_tpot=cell.slo_tpot_ms,
            warm_up=cell.warm_up,
            path=cell.trace.path,
        )
    except ConfigError as error:
        return axes | {"error": str(error)}
    return axes | {"error": None} | _outcome(results, cell)


def _outcome(results: Results, cell: Cell) -> dict[str, Any]:
    run = results.runs[0]
    if not run.summary["complete"]:
        raise KeyboardInterrupt
    counted = run.requests[run.requests["counted"]]
    within = counted["ttft_ms"].notna()
    if cell.slo_ttft_ms is not None:
        within &= counted["ttft_ms"] <= cell.slo_ttft_ms
    if cell.slo_tpot_ms is not None:
        within &= ~(counted["tpot_ms"] > cell.slo_tpot_ms)
    bytes_used = run.summary["kv_capacity_bytes"]
    return dict(run.summary) | {
        "ceiling": results.ceilings[0],
        "kv_bytes": bytes_used,
        "within_slo": float(within.mean()),
    }
