"""What a chart module gives, and the axes that several of them share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pcache.report.units import count_text, duration_text
from pcache.types import F8

__all__ = [
    "Chart",
    "bar_axis",
    "count_axis",
    "duration_axis",
    "legend_beside",
    "legend_height",
    "seconds_axis",
    "share_axis",
    "ticks_in_panel",
    "wrapped",
]

LEGEND_WIDTH = 26
"""Characters on a line of the legend beside a chart."""
MINUTE, LAST_SECONDS = 60_000.0, 40_000.0
"""Milliseconds; from the latter on, ticks are at round minutes."""
LOG_FROM = 20.0
"""Durations that span a factor of more than this get a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart of the page: `name` is its file name, `reading` says in a sentence how to read it."""

    name: str
    title: str
    reading: str
    figure: Figure


def wrapped(name: str, width: int = 30) -> str:
    """A long name on several lines, cut only where a single word is longer than a line."""
    return fill(name, width)


def duration_axis(axis: Any, values: Sequence[F8], *, most_ticks: int = 9) -> tuple[float, float]:
    """Scale one axis (`axes.xaxis` or `.yaxis`) to all values, in ms; returns its limits.

    Logarithmic, with ticks at round durations, where the middle 98 % span a factor of LOG_FROM.
    `most_ticks` is how many labels fit beside each other.
    """
    everything = np.concatenate([value[value > 0] for value in values])
    if not len(everything):
        everything = np.ones(1)
    low, high = np.percentile(everything, [1, 99])
    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    limit = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    if high / low > LOG_FROM:
        scale("log")
        limits = float(everything.min()) / 1.15, float(everything.max()) * 1.15
        axis.set_major_locator(FixedLocator(_round_durations(*limits, most_ticks)))
        axis.set_minor_locator(NullLocator())
    else:
        limits = 0.0, float(everything.max()) * 1.05
        axis.set_major_locator(MaxNLocator(min(most_ticks, 7) - 1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: duration_text(value)))
    limit(*limits)
    return limits


def bar_axis(axis: Any, values: Sequence[float], *, label_share: float = 0.38) -> float:
    """Scale the axis along which bars with labels behind them lie; returns where the bars begin.

    Logarithmic where the largest value is more than LOG_FROM times the smallest above 0, since bars
    would vanish otherwise; bars then begin below the smallest value, and only ratios can be read.
    `label_share` of the longest bar's length stays free for its label.
    """
    known = [value for value in values if value > 0]
    most, least = max(known, default=1.0), min(known, default=1.0)
    if most / least <= LOG_FROM:
        axis.axes.set_xlim(0, most * (1 + label_share))
        axis.set_major_locator(MaxNLocator(4))
        return 0.0
    left = least / 2
    axis.axes.set_xscale("log")
    axis.axes.set_xlim(left, most * (most / left) ** label_share)
    axis.set_major_locator(LogLocator(10, numticks=4))
    axis.set_minor_locator(NullLocator())
    return left


def ticks_in_panel(num_panels: int) -> int:
    """Tick labels that fit below one of `num_panels` small axes beside each other."""
    return {1: 9, 2: 6}.get(num_panels, 4)


def _round_durations(low: float, high: float, most_ticks: int) -> list[float]:
    """The densest of a few regular sets of round durations that has at most `most_ticks`."""
    for steps, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2)):
        ticks = _round_numbers(low, min(high, LAST_SECONDS), steps, every)
        minutes = _round_numbers(max(low / MINUTE, 1.0), high / MINUTE, steps, every)
        ticks += [MINUTE * number for number in minutes]
        if len(ticks) <= most_ticks:
            break
    return ticks


def _round_numbers(low: float, high: float, steps: tuple[int, ...], every: int) -> list[float]:
    """Numbers from `low` to `high`: a step times a power of ten, of which every n-th."""
    if high < low:
        return []
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1, every)
    numbers = [step * 10.0**decade for decade in decades for step in steps]
    return [number for number in numbers if low <= number <= high]


def share_axis(axis: Any, high: float = 1.0) -> None:
    """An axis of shares from 0 to `high`, labelled in percent."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(0, high)
    axis.set_major_locator(MaxNLocator(5))


def count_axis(axis: Any) -> None:
    """An axis of counts from 0, labelled `400 k`, whole numbers only."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    axis.set_major_locator(MaxNLocator(4, integer=True))


def seconds_axis(axis: Any, span: float) -> float:
    """Label a time axis in seconds, minutes or hours; returns the divisor for seconds."""
    for unit, divisor in (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0)):
        if span >= 3 * divisor or divisor == 1.0:
            axis.set_label_text(f"time since the first arrival, {unit}")
            return divisor
    return 1.0


def legend_height(names: Sequence[str]) -> float:
    """Inches that `legend_beside` needs for these names; a figure must not be lower."""
    lines = sum(wrapped(name, LEGEND_WIDTH).count("\n") + 1 for name in names)
    return 0.3 + 0.145 * lines + 0.085 * len(names)


def legend_beside(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """A legend to the right of all axes, with long names on several lines."""
    figure.legend(
        handles, [wrapped(name, LEGEND_WIDTH) for name in names], loc="outside right upper",
        handlelength=2.4, labelspacing=0.7,
    )  # fmt: skip
