"""TTFT against the cached share of the prompt: a panel a run, density once points would merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.ticker import FuncFormatter

from pcache.report.figures.chart import Chart, duration_axis, share_axis, wrapped
from pcache.report.runs import Run
from pcache.report.style import INK, new_figure
from pcache.report.units import count_text
from pcache.types import F8

__all__ = ["DENSITY", "draw", "grid", "panels"]

FEW_POINTS = 400
"""Up to this many requests a panel shows points, from there on their density."""
CELLS = 40
FEWEST_IN_A_TENTH = 5
DENSITY = LinearSegmentedColormap.from_list("density", ["#d6e8f5", "#5aa5d6", "#0072b2", "#06283d"])


def panels(num: int, height: float = 2.35) -> tuple[Any, list[Any]]:
    """A figure with `num` small axes that share their scales, at most four side by side."""
    columns = min(num, 4) if num != 5 and num != 6 else 3
    rows = -(-num // columns)
    figure = new_figure(0.5 + rows * (height if columns > 1 else 3.4))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for unused in axes[num:]:
        unused.remove()
    for axis in axes[max(num - columns, 0) : num]:
        axis.xaxis.set_tick_params(labelbottom=True)
    return figure, list(axes[:num])


def draw(runs: Sequence[Run]) -> Chart | None:
    shown = [run for run in runs if run.summary.get("hit_rate") and len(run.latency("ttft"))]
    if not shown:
        return None
    figure, axes = panels(len(shown))
    points = [_points(run) for run in shown]
    limits = duration_axis(axes[0].yaxis, [ttft for _, ttft in points])
    log = axes[0].get_yscale() == "log"
    rows = np.geomspace(*limits, CELLS + 1) if log else np.linspace(*limits, CELLS + 1)
    few = max(len(ttft) for _, ttft in points) <= FEW_POINTS
    tables = [np.histogram2d(*pair, (np.linspace(0, 1, CELLS + 1), rows))[0] for pair in points]
    most = max(2.0, *(float(table.max()) for table in tables))
    for axis, run, pair, table in zip(axes, shown, points, tables, strict=True):
        axis.set_title(wrapped(run.name, 104 // min(len(shown), 4)), fontsize=9)
        if few:
            axis.plot(
                *pair, "o", markersize=3.2, alpha=0.55, color=DENSITY(0.66), markeredgewidth=0
            )
        else:
            grid(axis, np.linspace(0, 1, CELLS + 1), rows, table, most)
        _medians(axis, *pair)
    share_axis(axes[0].xaxis)
    axes[0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "50 %", "", "100 %"])
    axes[0].set_xlim(-0.02, 1.02)
    figure.supxlabel("cached share of the prompt", fontsize=9)
    figure.supylabel("TTFT", fontsize=9)
    if not few:
        bar = figure.colorbar(axes[0].collections[0], ax=axes, pad=0.015, aspect=30, shrink=0.9)
        bar.set_label("requests in a cell")
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
        bar.outline.set_visible(False)
    reading = (
        f"{'Each point is a request' if few else 'Darker cells hold more requests'}; the line "
        "follows the median TTFT of each tenth of the cached share. Where it falls to the right, "
        "hits buy latency; where it stays flat, requests wait for something else, usually the "
        "queue. Runs without a single hit are left out."
    )
    return Chart("ttft_by_cached_share", "TTFT against cached share", reading, figure)


def grid(axis: Any, columns: F8, rows: F8, table: F8, most: float) -> None:
    """Counts as a coloured grid on a logarithmic scale; empty cells stay blank."""
    cells = np.ma.masked_equal(table.T, 0)
    axis.pcolormesh(columns, rows, cells, cmap=DENSITY, norm=LogNorm(1, most), rasterized=True)


def _points(run: Run) -> tuple[F8, F8]:
    done = run.counted[run.counted["ttft_ms"].notna()]
    share = done["cached_tokens"].to_numpy(np.float64) / done["prompt_tokens"].to_numpy()
    return np.asarray(share), done["ttft_ms"].to_numpy(np.float64)


def _medians(axis: Any, share: F8, ttft: F8) -> None:
    tenth = np.minimum((share * 10).astype(int), 9)
    filled = [part for part in range(10) if (tenth == part).sum() >= FEWEST_IN_A_TENTH]
    middle = [float(np.median(share[tenth == part])) for part in filled]
    median = [float(np.median(ttft[tenth == part])) for part in filled]
    if not filled:  # an empty line, unclipped, would collapse the layout
        return
    casing = [patheffects.withStroke(linewidth=3.6, foreground="white")]
    axis.plot(middle, median, color=INK, linewidth=1.6, marker="o", markersize=3.6,
              path_effects=casing, zorder=5, clip_on=False)  # fmt: skip
