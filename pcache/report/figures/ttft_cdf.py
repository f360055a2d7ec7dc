"""Distribution of TTFT: one cumulative curve a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pcache.report.figures.chart import (
    Chart,
    duration_axis,
    legend_beside,
    legend_height,
    share_axis,
)
from pcache.report.runs import Run
from pcache.report.style import MUTED, line_style, new_figure
from pcache.report.units import duration_text
from pcache.types import F8

__all__ = ["cumulative", "draw"]

POINTS = 500


def cumulative(values: F8) -> tuple[F8, F8]:
    """The curve's points: at most POINTS quantiles of `values`, and their shares."""
    share = np.linspace(0, 1, min(max(len(values), 2), POINTS))
    return np.asarray(np.quantile(values, share)), share


def draw(runs: Sequence[Run]) -> Chart | None:
    shown = [run for run in runs if len(run.latency("ttft"))]
    if not shown:
        return None
    figure = new_figure(max(4.2, legend_height([run.name for run in shown])))
    axes = figure.subplots()
    fastest_first = sorted(shown, key=lambda run: float(np.median(run.latency("ttft"))))
    duration_axis(axes.xaxis, [run.latency("ttft") for run in shown])
    lines = []
    for run in fastest_first:
        line = axes.plot(*cumulative(run.latency("ttft")), **line_style(run.color, run.dash))
        lines.extend(line)
    share_axis(axes.yaxis)
    axes.set_yticks(
        [0, 0.25, 0.5, 0.75, 0.9, 0.99], ["0 %", "25 %", "50 %", "75 %", "90 %", "99 %"]
    )
    axes.set_ylim(0, 1.005)
    axes.set_xlabel("TTFT (first output token − arrival, queueing included)")
    axes.set_ylabel("share of requests at or below")
    targets = (run.summary.get("slo_ttft_ms") for run in shown)
    for target in sorted({target for target in targets if target is not None}):
        axes.axvline(target, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(f"target {duration_text(target)}", (target, 0.02), xytext=(4, 0),
                      textcoords="offset points", color=MUTED, fontsize=8)  # fmt: skip
    legend_beside(figure, lines, [run.name for run in fastest_first])
    reading = (
        "Read across at 50 %, 90 % or 99 % to find the TTFT that this share of requests stays "
        "below: a curve further left and steeper is better. The legend lists the lowest median "
        "first."
    )
    return Chart("ttft_cdf", "Distribution of TTFT", reading, figure)
