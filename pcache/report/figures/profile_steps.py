"""How far a profile's model is off, step by step: a panel a class of steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pcache.cost.points import CLASSES
from pcache.report.figures.chart import Chart, duration_axis
from pcache.report.style import COLORS, INK, NO_CACHE_COLOR, new_figure
from pcache.report.units import difference_text

__all__ = ["draw"]


def draw(steps: pd.DataFrame, name: str) -> Chart:
    """`steps` has a row a measured step: `kind` (one of CLASSES), `measured_ms`, `error` (model −
    measured, in %) and `held_out`."""
    figure = new_figure(3.0)
    axes = figure.subplots(1, len(CLASSES), sharey=True)
    for axis, kind in zip(axes, CLASSES, strict=True):
        _panel(axis, steps[steps["kind"] == kind])
        axis.set_title(kind)
    reach = 1.08 * float(steps["error"].abs().max())
    axes[0].set_ylim(-reach, reach)
    axes[0].yaxis.set_major_locator(MaxNLocator(7))
    axes[0].yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: difference_text(value, "%", 0))
    )
    figure.supxlabel("measured duration of the step", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    reading = (
        "Each mark is a step: above the line the model says too long. Steps held out of the fit say "
        "how far to trust it elsewhere."
    )
    return Chart(name, "Errors of the model, step by step", reading, figure)


def _panel(axis: Any, steps: pd.DataFrame) -> None:
    axis.axhline(0, color=INK, linewidth=0.8, zorder=1)
    for held_out, label, color, marker in (
        (False, "fitted", NO_CACHE_COLOR, "."),
        (True, "held out of the fit", COLORS[3], "D"),
    ):
        part = steps[steps["held_out"] == held_out]
        axis.plot(part["measured_ms"], part["error"], marker, color=color, label=label, markersize=4,
                  alpha=0.8, markeredgewidth=0)  # fmt: skip
    duration_axis(axis.xaxis, [steps["measured_ms"].to_numpy(np.float64)], most_ticks=3)
