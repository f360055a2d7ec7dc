"""Simulated and measured runs of the same configuration, side by side.

A pair forms by itself when trace, policy, capacity, scheduler and model are the same. A
configuration measured several times stays one pair: the mean of the repeats is what the simulation
is compared with, and their spread says how small a difference can mean anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pcache.report.runs import WORLD_SUFFIXES, Run, configuration

__all__ = [
    "CLOSE_PERCENT",
    "CLOSE_POINTS",
    "COMPARED",
    "Compared",
    "Pair",
    "device_word",
    "find_pairs",
    "repeats_text",
    "side_by_side",
]

CLOSE_PERCENT, CLOSE_POINTS = 5.0, 0.2
"""Simulated and measured are close when they differ by no more: in %, and in points for shares."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One number that both worlds give. Shares differ by points, all others by percent."""

    field: str
    heading: str
    unit: str

    @property
    def is_share(self) -> bool:
        return self.unit == "%"

    @property
    def close(self) -> float:
        """The largest difference, either way, that still counts as close."""
        return CLOSE_POINTS if self.is_share else CLOSE_PERCENT

    @property
    def difference_unit(self) -> str:
        return "points" if self.is_share else "%"


COMPARED = (
    Compared("hit_rate", "Hit rate", "%"),
    Compared("ttft_mean_ms", "TTFT mean", "ms"),
    Compared("ttft_p50_ms", "TTFT p50", "ms"),
    Compared("ttft_p90_ms", "TTFT p90", "ms"),
    Compared("ttft_p99_ms", "TTFT p99", "ms"),
    Compared("tpot_mean_ms", "TPOT mean", "ms"),
    Compared("queue_mean_ms", "Queue mean", "ms"),
    Compared("throughput_tokens_per_s", "Output throughput", "tokens/s"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One configuration in both worlds; `measured` holds its repeats, at least one."""

    name: str
    simulated: Run
    measured: tuple[Run, ...]

    @property
    def complete(self) -> bool:
        return self.simulated.complete and all(run.complete for run in self.measured)

    def predicted(self, field: str) -> float | None:
        return self.simulated.summary.get(field)

    def repeats(self, field: str) -> list[float]:
        values = (run.summary.get(field) for run in self.measured)
        return [float(value) for value in values if value is not None]

    def observed(self, field: str) -> float | None:
        """Mean of the measured repeats; None where none has the number."""
        repeats = self.repeats(field)
        return sum(repeats) / len(repeats) if repeats else None

    def extremes(self, field: str) -> tuple[float, float] | None:
        """Least and most of the measured repeats; None where there are not several."""
        repeats = self.repeats(field)
        return (min(repeats), max(repeats)) if len(repeats) > 1 else None

    def difference(self, compared: Compared, value: float | None = None) -> float | None:
        """Simulated (or `value`) − measured: in points for shares, in % of measured otherwise."""
        predicted = self.predicted(compared.field) if value is None else value
        observed = self.observed(compared.field)
        if predicted is None or observed is None:
            return None
        if compared.is_share:
            return 100 * (predicted - observed)
        return 100 * (predicted - observed) / observed if observed else None


def find_pairs(runs: Sequence[Run]) -> list[Pair]:
    """Pairs in the order of their simulated runs."""
    measured: dict[str, list[Run]] = {}
    for run in runs:
        if run.world == "measured":
            measured.setdefault(configuration(run.config), []).append(run)
    pairs = []
    for run in runs:
        repeats = measured.get(configuration(run.config), [])
        if run.world == "simulated" and repeats:
            pairs.append(
                Pair(run.name.replace(WORLD_SUFFIXES["simulated"], "", 1), run, tuple(repeats))
            )
    return pairs


def side_by_side(pairs: Sequence[Pair]) -> pd.DataFrame:
    """A row for each configuration and number: simulated, measured, difference and its unit.

    `measured_lowest` and `measured_highest` are the extremes of the repeats.
    """
    rows = []
    for pair in pairs:
        for compared in COMPARED:
            repeats = pair.repeats(compared.field)
            rows.append({
                "configuration": pair.name,
                "number": compared.field,
                "simulated": pair.predicted(compared.field),
                "measured": pair.observed(compared.field),
                "measured_lowest": min(repeats, default=None),
                "measured_highest": max(repeats, default=None),
                "difference": pair.difference(compared),
                "difference_unit": compared.difference_unit,
                "num_measured": len(pair.measured),
            })  # fmt: skip
    return pd.DataFrame(rows)


def device_word(pairs: Sequence[Pair]) -> str:
    """`GPU` or `CPU`, where the pairs were measured; `measured` where on both."""
    devices = {run.device for pair in pairs for run in pair.measured}
    return devices.pop() if len(devices) == 1 else "measured"


def repeats_text(pairs: Sequence[Pair]) -> str:
    """How often each configuration was measured, in words."""
    counts = sorted({len(pair.measured) for pair in pairs})
    words = {1: "once", 2: "twice"}
    return " or ".join(words.get(count, f"{count} times") for count in counts)
