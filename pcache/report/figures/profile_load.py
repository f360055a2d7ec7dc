"""How steps get slower under load, measured and in a profile's model: a panel a sequence of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pcache.cost.contract import CostModel
from pcache.cost.fit_throttle import predicted_ns
from pcache.cost.points import LoadSequence
from pcache.cost.profiled import profiled_ns
from pcache.report.figures.chart import Chart
from pcache.report.style import COLORS, INK, new_figure
from pcache.report.units import duration_text

__all__ = ["draw"]

COLUMNS = 4


def draw(sequences: Sequence[LoadSequence], model: CostModel, name: str) -> Chart | None:
    """Of each sequence its first shape, the prefill; None without sequences."""
    if not sequences:
        return None
    rows = -(-len(sequences) // COLUMNS)
    figure = new_figure(0.7 + 2.0 * rows)
    axes = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
    for axis, sequence in zip(axes, sequences, strict=False):
        _panel(axis, sequence, model)
        axis.set_title(_title(sequence), fontsize=8.5)
    for unused in axes[len(sequences) :]:
        unused.remove()
    axes[0].yaxis.set_major_locator(MaxNLocator(5))
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
    figure.supxlabel("time since a rest of a second", fontsize=9)
    figure.supylabel("step time over that at full clock", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    reading = (
        "Prefills one after the other, alone or with so many steps of decodes between them, on a GPU "
        "that comes to its power limit. 1 is what the model says of the step at full clock."
    )
    return Chart(name, "Steps under load", reading, figure)


def _panel(axis: Any, sequence: LoadSequence, model: CostModel) -> None:
    full_clock = profiled_ns(model, sequence.shapes[0].sums())
    table = np.array(sequence.steps, float)
    is_prefill = table[:, 0] == 0
    began = np.cumsum(table[:, 1] + table[:, 2]) - table[:, 2]
    at_ms = began[is_prefill] / 1e6
    axis.plot(at_ms, table[is_prefill, 2] / full_clock, ".", color=COLORS[0], markersize=4,
              label="measured", markeredgewidth=0)  # fmt: skip
    axis.plot(at_ms, predicted_ns(sequence, model)[is_prefill] / full_clock, color=INK, linewidth=1.2,
              label="the model")  # fmt: skip
    axis.xaxis.set_major_locator(MaxNLocator(3))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration_text(value)))


def _title(sequence: LoadSequence) -> str:
    prefill, *others = sequence.shapes
    title = f"{prefill.new_tokens:,} new"
    if not others:
        return title
    numbers = [number for number, *_ in sequence.steps]
    turn = numbers[1:].index(0) if 0 in numbers[1:] else len(numbers) - 1
    return f"{title}, {turn} × batch of {others[0].new_tokens}"
