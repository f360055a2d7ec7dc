"""TTFT request by request: predicted against measured, a panel a configuration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pcache.report.figures.chart import Chart, duration_axis, ticks_in_panel, wrapped
from pcache.report.figures.ttft_by_share import DENSITY, FEW_POINTS, grid, panels
from pcache.report.pairs import Pair
from pcache.report.style import INK
from pcache.report.units import share_text
from pcache.types import F8

__all__ = ["draw", "matched_ttft"]

CELLS = 60
TOLERANCE = 0.1


def matched_ttft(pair: Pair) -> tuple[F8, F8]:
    """Measured (first repeat) and simulated TTFT, in ms, of the requests that have both."""
    columns = ["request_id", "ttft_ms"]
    both = (
        pair.measured[0]
        .counted[columns]
        .merge(
            pair.simulated.counted[columns], on="request_id", suffixes=("_measured", "_simulated")
        )
    )
    both = both.dropna()
    return (
        both["ttft_ms_measured"].to_numpy(np.float64),
        both["ttft_ms_simulated"].to_numpy(np.float64),
    )


def draw(pairs: Sequence[Pair]) -> Chart | None:
    points = {pair.name: matched_ttft(pair) for pair in pairs}
    shown = [pair for pair in pairs if len(points[pair.name][0])]
    if not shown:
        return None
    figure, axes = panels(len(shown), 2.5)
    everything = [values for pair in shown for values in points[pair.name]]
    limits = duration_axis(axes[0].xaxis, everything, most_ticks=ticks_in_panel(len(shown)))
    duration_axis(axes[0].yaxis, everything, most_ticks=ticks_in_panel(len(shown)))
    log = axes[0].get_xscale() == "log"
    edges = np.geomspace(*limits, CELLS + 1) if log else np.linspace(*limits, CELLS + 1)
    few = max(len(points[pair.name][0]) for pair in shown) <= FEW_POINTS
    tables = [np.histogram2d(*points[pair.name], (edges, edges))[0] for pair in shown]
    most = max(2.0, *(float(table.max()) for table in tables))
    for axis, pair, table in zip(axes, shown, tables, strict=True):
        axis.set_title(wrapped(pair.name, 104 // min(len(shown), 4)), fontsize=9)
        if few:
            axis.plot(*points[pair.name], "o", markersize=3, alpha=0.5, color=DENSITY(0.66),
                      markeredgewidth=0)  # fmt: skip
        else:
            grid(axis, edges, edges, table, most)
        axis.plot(edges, edges, color=INK, linewidth=1)
        for factor in (1 - TOLERANCE, 1 + TOLERANCE):
            axis.plot(edges, edges * factor, color=INK, linewidth=0.7, linestyle=(0, (2, 2)))
    figure.supxlabel("measured TTFT", fontsize=9)
    figure.supylabel("simulated TTFT", fontsize=9)
    reading = (
        f"{'Each point is a request' if few else 'Darker cells hold more requests'}. On the "
        "solid diagonal, prediction and measurement agree; above it the simulator is too slow. "
        f"The dotted lines mark ±{share_text(TOLERANCE, 0)}."
    )
    return Chart("ttft_scatter", "TTFT, request by request", reading, figure)
