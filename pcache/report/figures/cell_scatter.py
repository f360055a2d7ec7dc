"""Simulated over measured for many cells: a panel a number, a point a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from pcache.report.figures.chart import Chart, duration_axis, share_axis
from pcache.report.style import COLORS, INK, new_figure
from pcache.report.units import count_text

__all__ = ["draw"]

COLUMNS = 4
MARKERS = "osD^vPX"


def draw(errors: pd.DataFrame, name: str = "cell_scatter") -> Chart | None:
    """`errors` as of `cell_errors`, with `group` (a colour each), `simulated`, `measured`,
    `measured_lowest` and `measured_highest`."""
    known = errors[errors["difference"].notna() & (errors["measured"] > 0)]
    headings = [h for h in dict.fromkeys(errors["heading"]) if h in set(known["heading"])]
    groups = list(dict.fromkeys(errors["group"]))
    if not headings:
        return None
    rows = -(-len(headings) // COLUMNS)
    figure = new_figure(0.6 + 2.5 * rows)
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis, heading in zip(axes, headings, strict=False):
        _panel(axis, known[known["heading"] == heading], groups)
        axis.set_title(heading)
    for unused in axes[len(headings) :]:
        unused.remove()
    figure.supxlabel("measured", fontsize=9)
    figure.supylabel("simulated", fontsize=9)
    handles = [
        Line2D(
            [], [], color=_color(at), marker=MARKERS[at % len(MARKERS)], linewidth=0, markersize=5
        )
        for at in range(len(groups))
    ]
    figure.legend(handles, groups, loc="outside upper right", ncols=len(groups),
                  handletextpad=0.2, columnspacing=1.2)  # fmt: skip
    reading = (
        "Each point is a cell: on the diagonal, prediction and measurement agree; above it the "
        "simulator says too much. Horizontal lines span the measured repeats. Cells without a hit are "
        "not in the panel of the hit rate."
    )
    return Chart(name, "Simulated over measured", reading, figure)


def _color(at: int) -> str:
    return COLORS[at % len(COLORS)]


def _panel(axis: Any, part: pd.DataFrame, groups: list[str]) -> None:
    for row in part.to_dict("records"):
        at = groups.index(row["group"])
        axis.plot([row["measured_lowest"], row["measured_highest"]], [row["simulated"]] * 2,
                  color=_color(at), linewidth=1.2)  # fmt: skip
        axis.plot(row["measured"], row["simulated"], MARKERS[at % len(MARKERS)], color=_color(at),
                  markersize=4.5, alpha=0.8, markeredgewidth=0)  # fmt: skip
    values = part[["simulated", "measured", "measured_lowest", "measured_highest"]].to_numpy(float)
    low, high = _scale(axis, str(part["number"].iloc[0]), values)
    axis.plot([low, high], [low, high], color=INK, linewidth=0.8, zorder=1)


def _scale(axis: Any, number: str, values: Any) -> tuple[float, float]:
    """The same scale on both axes, in the number's own unit; its limits."""
    if number == "hit_rate":
        for one in (axis.xaxis, axis.yaxis):
            share_axis(one)
            one.set_major_locator(FixedLocator([0, 0.5, 1]))
        return 0.0, 1.0
    if number.endswith("_ms"):
        limits = duration_axis(axis.xaxis, [values.ravel()], most_ticks=3)
        duration_axis(axis.yaxis, [values.ravel()], most_ticks=5)
        return limits
    limits = float(np.min(values)) / 1.3, float(np.max(values)) * 1.3
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(*limits)
    axis.set_ylim(*limits)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(LogLocator(10, subs=(1.0, 3.0), numticks=4))
        one.set_minor_locator(NullLocator())
        one.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    return limits
