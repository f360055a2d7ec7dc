"""A run directory: what `replay`, `simulate` and `run` write and `report` reads.

    config.json        everything resolved: command, policy, capacity, versions, trace sha256, seed
    requests.parquet   a row per request, in trace order (REQUEST_COLUMNS)
    steps.parquet      a row per step (STEP_COLUMNS); absent for `replay`, which has no clock
    decisions.parquet, instants.parquet     of `run` alone: what a replay needs (pcache.recording)
    summary.json       the numbers of the tables, and `complete`: did the run reach its end

Files are written to a temporary name and renamed, so a reader never sees half of one. An
interrupted run writes the same files with `complete: false` and `requests_finished` saying how
far it came.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pcache.errors import RunDirectoryError
from pcache.types import I8
from pcache.writable import try_writing

__all__ = [
    "NOT_REACHED",
    "REJECTED",
    "REQUEST_COLUMNS",
    "STEP_COLUMNS",
    "SUMMARY_FIELDS",
    "WORLDS",
    "Run",
    "RunDirectory",
    "check_place",
    "read_run",
    "write_run",
]

FORMAT_VERSION = 1
WORLDS = ("replayed", "simulated", "measured")
"""`summary["world"]`: cache only without a clock, discrete-event simulation, or a real GPU."""

REJECTED = -1
"""`cached_tokens` of a request that can never fit. Its miss columns hold 0."""
NOT_REACHED = -2
"""`cached_tokens` of a request that an interrupted run had not looked up."""

REQUEST_COLUMNS: dict[str, str] = {
    "request_id": "the trace's id",
    "session_id": "the trace's session, empty if none",
    "turn": "turn within the session, from 0",
    "counted": "False for warm-up requests: they fill the cache and stay out of every metric",
    "prompt_tokens": "tokens of the prompt",
    "output_tokens": "tokens generated",
    "cached_tokens": "prompt tokens from the cache at first admission; or REJECTED or NOT_REACHED",
    "miss_cold_tokens": "missed: never seen before",
    "miss_in_flight_tokens": "missed: being computed by another request at that moment",
    "miss_evicted_tokens": "missed: was cached, is gone",
    "miss_rounding_tokens": "missed: lost to block size or to the last-token rule",
    "recomputed_tokens": "tokens computed again after preemptions",
    "num_preemptions": "how often the request lost its blocks",
    "arrival_ns": "arrival",
    "admitted_at_ns": "first scheduled; -1 if never (also in the next two)",
    "first_token_at_ns": "first output token on the host",
    "finished_at_ns": "last output token on the host",
    "queue_ms": "first scheduled - arrival; NaN if it did not happen (also below)",
    "ttft_ms": "first output token - arrival",
    "tpot_ms": "(last - first token) / (output tokens - 1); NaN for one token",
    "e2e_ms": "finish - arrival",
}
"""`replay` writes the columns up to `miss_rounding_tokens`; the others write all."""

STEP_COLUMNS: dict[str, str] = {
    "planned_at_ns": "when the step was planned",
    "launched_at_ns": "when it began to run",
    "duration_ns": "how long it ran",
    "ended_at_ns": "when its tokens were on the host",
    "prefill_tokens": "prompt tokens computed",
    "decode_tokens": "requests that decoded one token",
    "context_tokens": "KV tokens read by attention, cached and new, summed over requests",
    "num_running": "requests admitted and not finished",
    "num_waiting": "requests queued",
    "pinned_blocks": "blocks held by running requests",
    "cached_blocks": "blocks matchable and not held: what eviction may take",
    "generated_blocks": "matchable blocks, pinned or not, that hold generated tokens",
    "evicted_blocks": "blocks evicted while planning this step",
    "num_preemptions": "requests preempted while planning this step",
}

SUMMARY_FIELDS: dict[str, str] = {
    "world": "one of WORLDS",
    "label": "short name of the configuration, as in tables, e.g. `radix` or `hash/16`",
    "complete": "false if interrupted",
    "num_requests": "requests in the trace slice, warm-up included",
    "requests_finished": "requests that finished",
    "requests_rejected": "requests that can never fit",
    "requests_counted": "requests in the metrics",
    "prompt_tokens": "prompt tokens looked up (rejected ones included)",
    "cached_tokens": "of them served from the cache",
    "hit_rate": "cached_tokens / prompt_tokens",
    "hit_rate_request_mean": "mean over requests of cached / prompt",
    "miss_cold": "share of prompt tokens, likewise miss_in_flight, miss_evicted, miss_rounding",
    "miss_rejected": "share of prompt tokens that belong to rejected requests",
    "ttft_mean_ms": "also ttft_p50_ms, ttft_p90_ms, ttft_p99_ms",
    "tpot_mean_ms": "also tpot_p50_ms, tpot_p90_ms, tpot_p99_ms",
    "requests_without_tpot": "finished requests of one output token, which have no TPOT",
    "queue_mean_ms": "also queue_p50_ms, queue_p90_ms, queue_p99_ms",
    "e2e_mean_ms": "also e2e_p50_ms, …",
    "throughput_tokens_per_s": "output tokens / (last finish - first arrival)",
    "throughput_requests_per_s": "finished requests / the same span",
    "goodput_requests_per_s": "of them those meeting slo_ttft_ms and slo_tpot_ms (null: no limit)",
    "slo_ttft_ms": "the target for goodput, likewise slo_tpot_ms",
    "recomputed_tokens": "tokens computed again after preemptions",
    "num_preemptions": "preemptions",
    "peak_kv_tokens": "most tokens' worth of blocks pinned and cached at once",
    "peak_pinned_tokens": "most tokens' worth of blocks pinned at once",
    "kv_capacity_tokens": "capacity (null: unlimited), likewise kv_capacity_bytes",
    "latency_source": "`roofline h100 × llama-3.1-8b`, `profile NAME`, `measured on GPU NAME`",
    "output_hit_tokens": "prompt tokens served from blocks that hold generated tokens",
    "output_cached_tokens": "mean tokens of capacity holding generated tokens",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One finished or interrupted run in memory. `events` is its decision log, int64 [n, 6] as in
    `cache.events`, if it was kept; `instants` are those of a measured run's actions."""

    config: dict[str, Any]
    summary: dict[str, Any]
    requests: pd.DataFrame
    steps: pd.DataFrame | None = None
    events: I8 | None = None
    instants: I8 | None = None

    @property
    def label(self) -> str:
        """Short name of the configuration."""
        return str(self.summary["label"])


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run as read from disk."""

    path: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    requests: pd.DataFrame
    steps: pd.DataFrame | None


def check_place(path: Path) -> None:
    """Raise RunDirectoryError where no run directories can be made below `path`; nothing stays."""
    try:
        try_writing(path)
    except OSError as error:
        raise RunDirectoryError(
            f"{path}: cannot write run directories ({error.strerror}); choose another --out"
        ) from error


def write_run(
    path: Path,
    config: dict[str, Any],
    summary: dict[str, Any],
    requests: pd.DataFrame,
    steps: pd.DataFrame | None = None,
) -> None:
    """Write one run directory, replacing the files of an earlier run at the same path."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "steps.parquet").unlink(missing_ok=True)
        _replace(path / "config.json", _json({"format_version": FORMAT_VERSION, **config}))
        for name, frame in (("requests.parquet", requests), ("steps.parquet", steps)):
            if frame is not None:
                partial = path / f".{name}.partial"
                frame.to_parquet(partial, index=False)
                partial.replace(path / name)
        _replace(path / "summary.json", _json(summary))
    except OSError as error:
        raise RunDirectoryError(
            f"{path}: cannot write the run directory ({error.strerror}); choose another --out"
        ) from error


def read_run(path: Path) -> RunDirectory:
    """Read a run directory. Raises RunDirectoryError with what is missing or damaged."""
    if not (path / "summary.json").is_file():
        raise RunDirectoryError(
            f"{path}: no summary.json here; give a directory that simulate, run or replay wrote"
        )
    for name in ("config.json", "requests.parquet"):
        if not (path / name).is_file():
            raise RunDirectoryError(f"{path}: damaged run directory (no {name}); run it again")
    try:
        config = _object(path / "config.json")
        summary = _object(path / "summary.json")
        version = config.get("format_version")
        if version != FORMAT_VERSION:
            raise RunDirectoryError(
                f"{path}: format version {version!r}, this pcache reads {FORMAT_VERSION}; run it "
                "again"
            )
        requests = pd.read_parquet(path / "requests.parquet")
        steps_path = path / "steps.parquet"
        steps = pd.read_parquet(steps_path) if steps_path.is_file() else None
        _check_fields(summary, requests)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RunDirectoryError(
            f"{path}: damaged run directory ({reason}); run it again"
        ) from error
    return RunDirectory(path, config, summary, requests, steps)


def _object(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text())
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} is not an object")
    return value


def _check_fields(summary: dict[str, Any], requests: pd.DataFrame) -> None:
    """Raise ValueError if something is absent that every command writes."""
    fields = ("world", "label", "complete", "num_requests", "prompt_tokens", "hit_rate")
    columns = list(REQUEST_COLUMNS)
    columns = columns[: columns.index("miss_rounding_tokens") + 1]
    absent = [f"{name} in summary.json" for name in fields if name not in summary]
    absent += [f"{name} in requests.parquet" for name in columns if name not in requests]
    if absent:
        raise ValueError(f"no {absent[0]}")


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
