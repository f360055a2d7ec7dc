"""Step times of simulator and GPU: by how much work a step holds, and step by step where possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pcache.report.figures.chart import Chart, wrapped
from pcache.report.figures.pair_bars import MEASURED_COLOR
from pcache.report.figures.ttft_by_share import panels
from pcache.report.pairs import Pair
from pcache.report.runs import Run
from pcache.report.style import DASHES, INK, Dash
from pcache.report.units import difference_text, duration_text
from pcache.types import F8

__all__ = ["draw", "residuals", "step_medians"]

WORK = ["prefill_tokens", "decode_tokens", "context_tokens"]
EDGES = np.array([0, 1, 64, 256, 1024, 2048, 4096, 8192, 1 << 40], np.float64)
NAMES = ["0", "1+", "64+", "256+", "1k+", "2k+", "4k+", "8k+"]
FEWEST_STEPS = 3


def step_medians(*repeats: Run) -> pd.DataFrame | None:
    """Median and 10th to 90th percentile of step time in ms over all repeats of a run, a row for each
    class of EDGES."""
    known = [run.steps for run in repeats if run.steps is not None]
    if not known:
        return None
    steps = pd.concat(known, ignore_index=True)
    work = steps["prefill_tokens"].to_numpy(np.float64)
    group = np.searchsorted(EDGES, work, side="right") - 1
    milliseconds = (steps["duration_ns"] / 1e6).groupby(group)
    enough = milliseconds.size() >= FEWEST_STEPS
    if not enough.any():
        return None
    table = milliseconds.quantile(np.array([0.1, 0.5, 0.9])).unstack()
    return table[enough].set_axis(["p10", "p50", "p90"], axis=1)


def residuals(pair: Pair) -> F8 | None:
    """Simulated − measured step time, in % of measured, where both ran the very same steps."""
    simulated, measured = pair.simulated.steps, pair.measured[0].steps
    if simulated is None or measured is None or len(simulated) != len(measured):
        return None
    if not np.array_equal(simulated[WORK].to_numpy(), measured[WORK].to_numpy()):
        return None
    took = measured["duration_ns"].to_numpy(np.float64)
    return np.asarray(100 * (simulated["duration_ns"].to_numpy(np.float64) - took) / took)


def draw(pairs: Sequence[Pair]) -> Chart | None:
    shown = [
        (pair, simulated, measured)
        for pair in pairs
        if (simulated := step_medians(pair.simulated)) is not None
        and (measured := step_medians(*pair.measured)) is not None
    ]
    if not shown:
        return None
    figure, axes = panels(len(shown), 2.3)
    for axis, (pair, simulated, measured) in zip(axes, shown, strict=True):
        axis.set_title(wrapped(pair.name, 104 // min(len(shown), 4)), fontsize=9)
        _curve(axis, measured, MEASURED_COLOR, DASHES[0], -0.06)
        _curve(axis, simulated, INK, DASHES[1], 0.06)
        _residuals(axis, pair)
    last = max(int(table.index.max()) for _, *both in shown for table in both)
    axes[0].set_xticks(range(len(NAMES)), NAMES)
    axes[0].set_xlim(-0.4, last + 0.4)
    axes[0].yaxis.set_major_locator(MaxNLocator(4))
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration_text(value)))
    axes[0].set_ylim(bottom=0)
    figure.supxlabel("prompt tokens computed in the step (0: decode only)", fontsize=9)
    figure.supylabel("step time", fontsize=9)
    handles = [
        Line2D([], [], color=INK, linestyle=DASHES[1], marker="o", markersize=4),
        Line2D([], [], color=MEASURED_COLOR, marker="o", markersize=4),
    ]
    figure.legend(handles, ["simulated", "measured"], loc="outside upper right", ncols=2)
    reading = (
        "Median step time by the prompt tokens a step computes; the vertical lines run from the "
        "10th to the 90th percentile. Where the two curves part, the cost model is wrong for steps "
        "of that size."
    )
    if any(len(pair.measured) > 1 for pair, *_ in shown):
        reading += " Measured are the steps of all repeats."
    if any(residuals(pair) is not None for pair, *_ in shown):
        reading += (
            " Where both worlds ran the very same steps, the median of simulated − measured, step "
            "by step, is written in, with its 10th and 90th percentile."
        )
    return Chart("step_times", "Step times", reading, figure)


def _curve(axis: Any, table: pd.DataFrame, color: str, dash: Dash, shift: float) -> None:
    table = table.reindex(range(table.index.min(), table.index.max() + 1))  # no line over a gap
    x = table.index.to_numpy(np.float64) + shift
    axis.vlines(x, table["p10"], table["p90"], color=color, linewidth=1.1, alpha=0.7)
    axis.plot(x, table["p50"], color=color, linestyle=dash, linewidth=1.5, marker="o", markersize=4)


def _residuals(axis: Any, pair: Pair) -> None:
    same = residuals(pair)
    if same is None:
        return
    low, middle, high = (difference_text(value, "%") for value in np.percentile(same, [10, 50, 90]))
    axis.text(0.04, 0.96, f"same steps: {middle}\n({low} to {high})", transform=axis.transAxes,
              va="top", fontsize=8)  # fmt: skip
