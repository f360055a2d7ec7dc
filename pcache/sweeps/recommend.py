"""The smallest configuration that meets the targets, and the runner-up."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pcache.errors import ConfigError

__all__ = ["CONFIGURATION", "Recommendation", "recommend"]

CONFIGURATION = ["index", "block_size", "eviction", "order", "kv_tokens"]
"""Columns that name a configuration; its cells differ in their traces."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`best` and `runner_up` are rows of `configurations`, None where nothing meets the targets.

    configurations  a row each, by memory: CONFIGURATION, kv_bytes, and of the trace where it does
                    worst within_slo, ttft_p99_ms and hit_rate; `meets` says whether all traces do
    """

    configurations: pd.DataFrame
    best: pd.Series | None
    runner_up: pd.Series | None


def recommend(cells: pd.DataFrame, share: float) -> Recommendation:
    """From the table of a sweep: a configuration meets the targets when on every trace at least
    `share` of its requests are within them. Of equal memory, the one with the lower p99 of TTFT.

    Raises ConfigError for a sweep without targets, or without a finished cell.
    """
    if "within_slo" not in cells or cells["within_slo"].isna().all():
        raise ConfigError("no cell of the sweep finished, so there is nothing to recommend")
    if cells["slo_ttft_ms"].isna().all() and cells["slo_tpot_ms"].isna().all():
        raise ConfigError("--recommend needs a target: give --slo-ttft or --slo-tpot")
    num_traces = cells["trace_sha256"].nunique()
    usable = cells[cells["error"].isna()]
    grouped = usable.groupby(CONFIGURATION, dropna=False, sort=False)
    found = grouped.agg(
        kv_bytes=("kv_bytes", "max"),
        within_slo=("within_slo", "min"),
        ttft_p99_ms=("ttft_p99_ms", "max"),
        hit_rate=("hit_rate", "min"),
        traces=("trace_sha256", "nunique"),
    ).reset_index()
    found["meets"] = (found["within_slo"] >= share) & (found["traces"] == num_traces)
    found["size"] = found["kv_bytes"].fillna(float("inf"))
    found = found.sort_values(["size", "ttft_p99_ms"]).drop(columns="size").reset_index(drop=True)
    meeting = found[found["meets"]]
    return Recommendation(
        found,
        meeting.iloc[0] if len(meeting) else None,
        meeting.iloc[1] if len(meeting) > 1 else None,
    )
