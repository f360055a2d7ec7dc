"""A sweep's curves: hit rate and TTFT against capacity, a line a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from pcache.report.figures.chart import (
    Chart,
    duration_axis,
    legend_beside,
    legend_height,
    share_axis,
)
from pcache.report.style import COLORS, DASHES, MUTED, line_style, new_figure
from pcache.report.units import count_text

__all__ = ["draw_hit_rate", "draw_ttft", "lines_of"]

HEIGHT = 3.8


def lines_of(cells: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Cells that differ in capacity alone, by name, in order of capacity; unlimited ones last."""
    named = cells.assign(
        name=cells["label"] + cells["order"].map(lambda o: f" {o}" * (o != "fcfs"))
    )
    return {
        str(name): part.sort_values("kv_tokens", na_position="last")
        for name, part in named.groupby("name", sort=False)
    }


def draw_hit_rate(cells: pd.DataFrame) -> Chart | None:
    """Hit rate against capacity, None where there is but one."""
    return _curves(
        cells, "hit_rate", "sweep_hit_rate", "Hit rate against capacity",
        "Share of prompt tokens served from the cache; the grey line is the ceiling, an infinite "
        "cache.",
    )  # fmt: skip


def draw_ttft(cells: pd.DataFrame) -> Chart | None:
    """The 99th percentile of TTFT against capacity, None where there is but one."""
    return _curves(
        cells, "ttft_p99_ms", "sweep_ttft", "TTFT p99 against capacity",
        "One in a hundred requests waits longer for its first token. Lines that lie on each other are "
        "told apart by their dashes.",
    )  # fmt: skip


def _curves(cells: pd.DataFrame, column: str, name: str, title: str, reading: str) -> Chart | None:
    capacities = sorted(cells["kv_tokens"].dropna().unique())
    if len(capacities) < 2:
        return None
    lines = lines_of(cells[cells["kv_tokens"].notna()])
    figure = new_figure(max(HEIGHT, legend_height(list(lines))))
    axes = figure.subplots()
    handles = [_line(axes, part, column, at) for at, part in enumerate(lines.values())]
    _capacity_axis(axes, capacities)
    if column == "hit_rate":
        ceiling = cells["ceiling"].max()
        share_axis(axes.yaxis, min(1.0, 1.15 * max(float(cells[column].max()), ceiling or 0, 0.02)))
        if ceiling and not np.isnan(ceiling):
            axes.axhline(ceiling, color=MUTED, linewidth=1.2)
        axes.set_ylabel("hit rate")
    else:
        duration_axis(axes.yaxis, [cells[column].to_numpy(float)])
        axes.set_ylabel("TTFT p99")
    legend_beside(figure, handles, list(lines))
    return Chart(name, title, reading, figure)


def _line(axes: Any, part: pd.DataFrame, column: str, at: int) -> Line2D:
    style = line_style(COLORS[at % len(COLORS)], DASHES[at % len(DASHES)])
    (line,) = axes.plot(part["kv_tokens"], part[column], marker="o", markersize=4, **style)
    assert isinstance(line, Line2D)
    return line


def _capacity_axis(axes: Any, capacities: list[float]) -> None:
    """Logarithmic; labelled at the capacities of the sweep, as far as their labels fit."""
    axes.set_xscale("log")
    low, high = np.log(capacities[0]), np.log(capacities[-1])
    labelled = [capacities[0]]
    for capacity in capacities[1:]:
        if np.log(capacity) - np.log(labelled[-1]) >= (high - low) / 12:
            labelled.append(capacity)
    axes.xaxis.set_major_locator(FixedLocator(labelled))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    axes.set_xlabel("capacity, KV tokens")
