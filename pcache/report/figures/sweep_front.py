"""A sweep's Pareto front: what KV memory buys in requests served within the targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from pcache.report.figures.chart import Chart, legend_beside, legend_height
from pcache.report.figures.sweep_curves import lines_of
from pcache.report.style import COLORS, INK, new_figure
from pcache.report.units import count_text

__all__ = ["draw", "front"]

MARKERS = ("o", "s", "^", "D")
HEIGHT = 3.8


def front(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells that none beats: less memory and as much goodput, or more of it for as much memory."""
    ordered = cells.sort_values(["kv_bytes", "goodput_requests_per_s"], ascending=[True, False])
    before = ordered["goodput_requests_per_s"].cummax().shift(fill_value=-np.inf)
    return ordered[ordered["goodput_requests_per_s"] > before]


def draw(cells: pd.DataFrame) -> Chart | None:
    """Goodput against KV memory, with the front as a stair; None without two sizes of memory."""
    known = cells[cells["kv_bytes"].notna()]
    if known["kv_bytes"].nunique() < 2:
        return None
    lines = lines_of(known)
    figure = new_figure(max(HEIGHT, legend_height(list(lines))))
    axes = figure.subplots()
    handles = []
    for at, part in enumerate(lines.values()):
        handles += axes.plot(
            part["kv_bytes"] / 2**30, part["goodput_requests_per_s"], linestyle="none",
            marker=MARKERS[at % len(MARKERS)], color=COLORS[at % len(COLORS)], markersize=7,
            markerfacecolor="none", markeredgewidth=1.6,
        )  # fmt: skip
    best = front(known)
    axes.step(best["kv_bytes"] / 2**30, best["goodput_requests_per_s"], where="post", color=INK,
              linewidth=1.2, zorder=1)  # fmt: skip
    _memory_axis(axes)
    axes.set_ylabel("goodput, requests/s")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    legend_beside(figure, handles, list(lines))
    return Chart(
        "sweep_front", "KV memory against goodput",
        "Requests a second that meet the targets (all finished ones where there are none). Points on "
        "the black stair are beaten by none: less memory is worse there, and more buys something.",
        figure,
    )  # fmt: skip


def _memory_axis(axes: Any) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("KV memory, GiB")
