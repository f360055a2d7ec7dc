"""TTFT distributions of simulator and GPU on top of each other, a panel a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.lines import Line2D

from pcache.report.figures.chart import (
    Chart,
    duration_axis,
    share_axis,
    ticks_in_panel,
    wrapped,
)
from pcache.report.figures.pair_bars import MEASURED_COLOR
from pcache.report.figures.ttft_by_share import panels
from pcache.report.figures.ttft_cdf import cumulative
from pcache.report.pairs import Pair
from pcache.report.style import DASHES, INK

__all__ = ["draw"]


def draw(pairs: Sequence[Pair]) -> Chart | None:
    shown = [
        pair
        for pair in pairs
        if len(pair.simulated.latency("ttft")) and len(pair.measured[0].latency("ttft"))
    ]
    if not shown:
        return None
    figure, axes = panels(len(shown), 2.2)
    everything = [run.latency("ttft") for pair in shown for run in (pair.simulated, *pair.measured)]
    for axis, pair in zip(axes, shown, strict=True):
        axis.set_title(wrapped(pair.name, 104 // min(len(shown), 4)), fontsize=9)
        for run in pair.measured:
            axis.plot(*cumulative(run.latency("ttft")), color=MEASURED_COLOR, linewidth=2.2,
                      alpha=0.85)  # fmt: skip
        axis.plot(*cumulative(pair.simulated.latency("ttft")), color=INK, linewidth=1.3,
                  linestyle=DASHES[1])  # fmt: skip
    duration_axis(axes[0].xaxis, everything, most_ticks=ticks_in_panel(len(shown)))
    share_axis(axes[0].yaxis)
    axes[0].set_ylim(0, 1.01)
    figure.supxlabel("TTFT", fontsize=9)
    figure.supylabel("share of requests at or below", fontsize=9)
    handles = [
        Line2D([], [], color=INK, linewidth=1.3, linestyle=DASHES[1]),
        Line2D([], [], color=MEASURED_COLOR, linewidth=2.2),
    ]
    figure.legend(handles, ["simulated", "measured"], loc="outside upper right", ncols=2)
    reading = (
        "The dashed line is the prediction, the solid one the measurement"
        f"{', one for each repeat' if any(len(pair.measured) > 1 for pair in shown) else ''}. "
        "A horizontal gap between them is an error in TTFT for that share of requests."
    )
    return Chart("ttft_cdf_side_by_side", "TTFT, distribution over distribution", reading, figure)
