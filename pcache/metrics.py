"""The numbers of a run: one definition, used by whoever writes `summary.json` and by the report.

Counted requests only (warm-up stays out), and of those only the ones that were looked up or
rejected before the run ended. Tokens of rejected requests stay in the denominator, with none cached
and their own share `miss_rejected`, so that hit rate and miss shares always sum to 1. A percentile
interpolates linearly between the two nearest values (numpy's default). What did not happen is None,
never NaN, so that the result is plain JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pcache.rundir import NOT_REACHED, REJECTED
from pcache.types import F8, Bool

__all__ = [
    "LATENCIES",
    "MISS_CAUSES",
    "STATISTICS",
    "summarise",
    "summary_table",
    "summary_tables",
]

MISS_CAUSES = ("cold", "in_flight", "evicted", "rounding")
LATENCIES = ("ttft", "tpot", "queue", "e2e")
STATISTICS: dict[str, float | None] = {"mean": None, "p50": 50.0, "p90": 90.0, "p99": 99.0}


def summarise(
    requests: pd.DataFrame,
    steps: pd.DataFrame | None,
    *,
    world: str,
    label: str,
    block_size_tokens: int,
    complete: bool = True,
    slo_ttft_ms: float | None = None,
    slo_tpot_ms: float | None = None,
    kv_capacity_tokens: int | None = None,
    kv_capacity_bytes: int | None = None,
    latency_source: str | None = None,
    output_hit_tokens: int | None = None,
    output_cached_tokens: float | None = None,
) -> dict[str, Any]:
    """The content of `summary.json` (fields as in `rundir.SUMMARY_FIELDS`).

    `requests` and `steps` have the columns of REQUEST_COLUMNS and STEP_COLUMNS; a frame without
    instants (from `replay`) gives None for every latency and rate. `complete` is False when the run
    was interrupted: requests that it never reached (cached_tokens NOT_REACHED) are left out.
    """
    reached = requests["cached_tokens"].to_numpy() != NOT_REACHED
    counted = requests[requests["counted"].to_numpy(bool) & reached]
    rejected = requests["cached_tokens"].to_numpy() == REJECTED
    return {
        "world": world,
        "label": label,
        "complete": complete,
        "num_requests": len(requests),
        "requests_finished": int(_finished(requests).sum()),
        "requests_rejected": int(rejected.sum()),
        "requests_counted": len(counted),
        **_cache_numbers(counted),
        **_latency_numbers(counted),
        **_rates(counted, slo_ttft_ms, slo_tpot_ms),
        "slo_ttft_ms": slo_ttft_ms,
        "slo_tpot_ms": slo_tpot_ms,
        "recomputed_tokens": _total(counted, "recomputed_tokens"),
        "num_preemptions": _total(counted, "num_preemptions"),
        **_peaks(steps, block_size_tokens),
        "kv_capacity_tokens": kv_capacity_tokens,
        "kv_capacity_bytes": kv_capacity_bytes,
        "latency_source": latency_source,
        "output_hit_tokens": output_hit_tokens,
        "output_cached_tokens": output_cached_tokens,
    }


def _finished(requests: pd.DataFrame) -> Bool:
    """Which requests ran to their end; in a replay, a request ends with its lookup."""
    if "finished_at_ns" in requests:
        return np.asarray(requests["finished_at_ns"].to_numpy() >= 0)
    return np.asarray(requests["cached_tokens"].to_numpy() >= 0)


def _cache_numbers(counted: pd.DataFrame) -> dict[str, Any]:
    cached = np.maximum(counted["cached_tokens"].to_numpy(np.int64), 0)
    prompt = counted["prompt_tokens"].to_numpy(np.int64)
    admitted = counted["cached_tokens"].to_numpy() != REJECTED
    total = int(prompt.sum())
    shares = {
        f"miss_{cause}": _ratio(counted[f"miss_{cause}_tokens"].to_numpy()[admitted].sum(), total)
        for cause in MISS_CAUSES
    }
    return {
        "prompt_tokens": total,
        "cached_tokens": int(cached.sum()),
        "hit_rate": _ratio(cached.sum(), total),
        "hit_rate_request_mean": float((cached / prompt).mean()) if total else None,
        **shares,
        "miss_rejected": _ratio(prompt[~admitted].sum(), total),
    }


def _latency_numbers(counted: pd.DataFrame) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for latency in LATENCIES:
        column = f"{latency}_ms"
        values = counted[column].to_numpy(np.float64) if column in counted else np.empty(0)
        for statistic, value in _statistics(values[~np.isnan(values)]).items():
            numbers[f"{latency}_{statistic}_ms"] = value
    one_token = _finished(counted) & (counted["output_tokens"].to_numpy() == 1)
    numbers["requests_without_tpot"] = int(one_token.sum()) if "tpot_ms" in counted else None
    return numbers


def _statistics(values: F8) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(STATISTICS)
    return {
        name: float(values.mean() if percent is None else np.percentile(values, percent))
        for name, percent in STATISTICS.items()
    }


def _rates(
    counted: pd.DataFrame, slo_ttft_ms: float | None, slo_tpot_ms: float | None
) -> dict[str, Any]:
    """Throughput and goodput over the span from the first arrival to the last finish."""
    names = ("throughput_tokens_per_s", "throughput_requests_per_s", "goodput_requests_per_s")
    done = counted[_finished(counted)]
    if "finished_at_ns" not in counted or done.empty:
        return dict.fromkeys(names)
    seconds = (int(done["finished_at_ns"].max()) - int(counted["arrival_ns"].min())) / 1e9
    good = np.ones(len(done), bool)
    if slo_ttft_ms is not None:
        good &= done["ttft_ms"].to_numpy() <= slo_ttft_ms
    if slo_tpot_ms is not None:
        good &= ~(done["tpot_ms"].to_numpy() > slo_tpot_ms)  # one token: no TPOT to miss
    amounts = (done["output_tokens"].sum(), len(done), good.sum())
    return {name: _ratio(amount, seconds) for name, amount in zip(names, amounts, strict=True)}


def _peaks(steps: pd.DataFrame | None, block_size_tokens: int) -> dict[str, int | None]:
    if steps is None or steps.empty:
        return {"peak_kv_tokens": None, "peak_pinned_tokens": None}
    pinned = steps["pinned_blocks"].to_numpy(np.int64)
    held = pinned + steps["cached_blocks"].to_numpy(np.int64)
    return {
        "peak_kv_tokens": int(held.max()) * block_size_tokens,
        "peak_pinned_tokens": int(pinned.max()) * block_size_tokens,
    }


def _total(frame: pd.DataFrame, column: str) -> int | None:
    return int(frame[column].sum()) if column in frame else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


_TABLES: dict[str, dict[str, str]] = {
    "cache": {
        "hit %": "hit_rate",
        "of ceiling %": "hit_rate_of_ceiling",
        "cold %": "miss_cold",
        "in flight %": "miss_in_flight",
        "evicted %": "miss_evicted",
        "rounding %": "miss_rounding",
        "rejected %": "miss_rejected",
    },
    "latency": {
        "TTFT mean ms": "ttft_mean_ms",
        "TTFT p50 ms": "ttft_p50_ms",
        "TTFT p90 ms": "ttft_p90_ms",
        "TTFT p99 ms": "ttft_p99_ms",
        "TPOT mean ms": "tpot_mean_ms",
        "queue mean ms": "queue_mean_ms",
    },
    "load": {
        "output tokens/s": "throughput_tokens_per_s",
        "requests/s": "throughput_requests_per_s",
        "goodput/s": "goodput_requests_per_s",
        "preemptions": "num_preemptions",
        "peak KV tokens": "peak_kv_tokens",
    },
    "generated tokens": {
        "generated tokens hit": "output_hit_tokens",
        "of prompt %": "output_hit_rate",
        "generated KV tokens": "output_cached_tokens",
        "of capacity %": "output_capacity_share",
    },
}
_COUNTS = (
    "preemptions", "peak KV tokens", "generated tokens hit", "generated KV tokens",
)  # fmt: skip


def summary_tables(
    summaries: Sequence[Mapping[str, Any]], ceilings: Sequence[float | None] | None = None
) -> dict[str, pd.DataFrame]:
    """Narrow tables, a row a run, in the units of their headings: `cache`, `latency`, `load` and
    `generated tokens`.

    `ceilings` gives for each run the hit rate of an infinite cache at its block size, or None. A
    column that holds nothing for any run is left out, as is `rejected %` when nothing was rejected,
    and a table without columns.
    """
    known = [None] * len(summaries) if ceilings is None else ceilings
    rows = [
        {**summary, **_derived(summary, ceiling)}
        for summary, ceiling in zip(summaries, known, strict=True)
    ]
    tables = {}
    for title, fields in _TABLES.items():
        columns = {
            heading: _column(heading, [row.get(field) for row in rows])
            for heading, field in fields.items()
        }
        present = {
            heading: column
            for heading, column in columns.items()
            if column.notna().any() and (heading != "rejected %" or column.max() > 0)
        }
        if present and (title != "generated tokens" or _any_generated(rows)):
            labels = pd.Series([str(row["label"]) for row in rows])
            tables[title] = pd.DataFrame({"policy": labels, **present})
    return tables


def _any_generated(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row.get("output_hit_tokens") or row.get("output_cached_tokens") for row in rows)


def _derived(summary: Mapping[str, Any], ceiling: float | None) -> dict[str, float | None]:
    """Shares that the tables show beside the numbers of `summary.json`."""
    gained, spent = summary.get("output_hit_tokens"), summary.get("output_cached_tokens")
    known = ceiling if summary["complete"] else None  # it is that of all requests
    capacity = summary.get("kv_capacity_tokens")
    return {
        "hit_rate_of_ceiling": _ratio(summary["hit_rate"] or 0.0, known or 0.0),
        "output_hit_rate": None if gained is None else _ratio(gained, summary["prompt_tokens"]),
        "output_capacity_share": None if spent is None else _ratio(spent, capacity or 0),
    }


def summary_table(
    summaries: Sequence[Mapping[str, Any]], ceilings: Sequence[float | None] | None = None
) -> pd.DataFrame:
    """The tables of `summary_tables` as one wide table, for files and pipes."""
    wide = pd.DataFrame({"policy": [str(summary["label"]) for summary in summaries]})
    for table in summary_tables(summaries, ceilings).values():
        wide = wide.join(table.drop(columns="policy"))
    return wide


def _column(heading: str, values: list[float | None]) -> pd.Series[Any]:
    if heading in _COUNTS:
        return pd.Series([None if v is None else round(v) for v in values], dtype="Int64")
    return pd.Series(values, dtype="float64") * (100 if heading.endswith("%") else 1)
