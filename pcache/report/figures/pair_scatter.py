"""TTFT request by request: predicted against measured, a panel a configuration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pcache.report.figures.chart import Chart, duration_axis, ticks_in_panel, wrapped
from pcache.report.figures.ttft_by_share import DENSITY, FEW_POINTS, grid, panels
from pcache.report.pairs import Pair
from pcache.report.style import INK
from pcache.report.units import share_text
from pcache.types import F8

__all__ = ["draw", "matched_ttft", "repeated_ttft"]

CELLS = 60
TOLERANCE = 0.1


def repeated_ttft(pair: Pair) -> pd.DataFrame:
    """TTFT in ms of the requests that have one in every run: `simulated`, and of the repeats
    `measured` (their mean), `lowest` and `highest`."""
    columns = ["request_id", "ttft_ms"]
    names = [f"repeat_{number}" for number in range(len(pair.measured))]
    both = pair.measured[0].counted[["request_id"]]
    for name, run in zip([*names, "simulated"], [*pair.measured, pair.simulated], strict=True):
        both = both.merge(run.counted[columns].rename(columns={"ttft_ms": name}), on="request_id")
    both = both.dropna()
    repeats = both[names]
    return pd.DataFrame(
        {
            "simulated": both["simulated"],
            "measured": repeats.mean(axis=1),
            "lowest": repeats.min(axis=1),
            "highest": repeats.max(axis=1),
        }
    )


def matched_ttft(pair: Pair) -> tuple[F8, F8]:
    """Measured (mean of the repeats) and simulated TTFT, in ms, of the requests that have both."""
    both = repeated_ttft(pair)
    return both["measured"].to_numpy(np.float64), both["simulated"].to_numpy(np.float64)


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
            spread = repeated_ttft(pair)
            axis.hlines(spread["simulated"], spread["lowest"], spread["highest"], color=DENSITY(0.66),
                        linewidth=0.8, alpha=0.5)  # fmt: skip
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
    if any(len(pair.measured) > 1 for pair in shown):
        reading += f" Measured is the mean of the repeats{', which a line spans' if few else ''}."
    return Chart("ttft_scatter", "TTFT, request by request", reading, figure)
