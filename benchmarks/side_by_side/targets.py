"""How close the simulator must be, cell by cell, and whether it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchmarks.side_by_side.cells import Cell
from pcache.report.pairs import COMPARED, Pair

__all__ = ["LIMITS", "OVERLOAD", "errors_of", "summary_of"]

LIMITS = {
    "hit_rate": 0.2, "ttft_mean_ms": 5.0, "ttft_p50_ms": 5.0, "ttft_p90_ms": 8.0,
    "ttft_p99_ms": 10.0, "tpot_mean_ms": 5.0, "throughput_tokens_per_s": 5.0,
}  # fmt: skip
"""Largest difference, simulated − measured, either way: in points for the hit rate, else in %."""

OVERLOAD = 1.0
"""Above this load every number, and when thrashing the hit rate, may also be off by twice the
difference between two measured runs, if that is more."""


def errors_of(cell: Cell, name: str, pair: Pair) -> list[dict[str, Any]]:
    """A row for each number that both sides have; `name` is what charts call the cell."""
    rows = []
    for compared in COMPARED:
        difference = pair.difference(compared)
        if compared.field not in LIMITS or difference is None:
            continue
        repeats = pair.repeats(compared.field)
        ends = [pair.difference(compared, value) or 0.0 for value in (min(repeats), max(repeats))]
        spread = ends[1] - ends[0] if len(repeats) > 1 else math.nan
        limit = _limit(cell, compared.field, spread)
        rows.append({
            "cell": name, "name": cell.name, "study": cell.study, "group": cell.trace,
            "policy": cell.policy, "kv": cell.kv, "load": cell.load, "batching": cell.batching,
            "number": compared.field, "heading": compared.heading,
            "simulated": pair.predicted(compared.field), "measured": pair.observed(compared.field),
            "measured_lowest": min(repeats), "measured_highest": max(repeats),
            "num_measured": len(repeats), "difference": difference, "spread": spread,
            "limit": limit, "met": abs(difference) <= limit, "unit": compared.difference_unit,
        })  # fmt: skip
    return rows


def _limit(cell: Cell, number: str, spread: float) -> float:
    widened = cell.load > OVERLOAD or (number == "hit_rate" and cell.kv == "thrashing")
    return max(LIMITS[number], 2 * spread) if widened and spread == spread else LIMITS[number]


def summary_of(errors: pd.DataFrame, parity: Sequence[bool]) -> pd.DataFrame:
    """A row a target: how many cells it applies to, how many meet it, and how many do so without what
    OVERLOAD allows; parity is by measured run."""
    rows = [{
        "target": "parity of decisions", "limit": "every byte", "cells": len(parity),
        "met": sum(parity), "met_without_spread": sum(parity),
        "median": None, "worst": None, "unit": "", "worst_cell": "",
    }]  # fmt: skip
    for number in LIMITS:
        part = errors[errors["number"] == number]
        if part.empty:
            continue
        size = part["difference"].abs()
        worst = part.loc[size.idxmax()]
        rows.append({
            "target": worst["heading"], "limit": f"{LIMITS[number]:g} {worst['unit']}",
            "cells": len(part),
            "met": int(part["met"].sum()), "met_without_spread": int((size <= LIMITS[number]).sum()),
            "median": float(size.median()), "worst": float(worst["difference"]),
            "unit": worst["unit"], "worst_cell": worst["cell"],
        })  # fmt: skip
    return pd.DataFrame(rows)
