"""How steps get slower under load, measured and in a profile's model: a panel a sequence of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pcache.cost.contract import CostModel
from pcache.cost.fit_throttle import MOST_SLOWED, predicted_ns
from pcache.cost.points import LoadSequence, StepShape
from pcache.cost.profiled import profiled_ns
from pcache.report.figures.chart import Chart
from pcache.report.style import COLORS, INK, new_figure
from pcache.report.units import duration_text

__all__ = ["draw"]

COLUMNS = 4


def draw(sequences: Sequence[LoadSequence], model: CostModel, name: str) -> Chart | None:
    """The prefills of each sequence; None where the model knows of no slowing down."""
    if len(model.throttle) == 0:
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
        "Prefills one after the other, alone or with so many steps of decodes between them, and "
        "traffic: prefills of all sizes, some in one step with decodes, and so many steps of decodes "
        "for each, on a GPU that comes to its power limit. 1 is what the model says of the step at "
        "full clock."
    )
    return Chart(name, "Steps under load", reading, figure)


def _panel(axis: Any, sequence: LoadSequence, model: CostModel) -> None:
    table = np.array(sequence.steps, float)
    of_shape = np.array([profiled_ns(model, shape.sums()) for shape in sequence.shapes])
    full_clock = of_shape[table[:, 0].astype(int)]
    extends = [number for number, shape in enumerate(sequence.shapes) if _is_prefill(shape)]
    shown = np.isin(table[:, 0], extends) & (table[:, 2] <= MOST_SLOWED * full_clock)
    began = np.cumsum(table[:, 1] + table[:, 2]) - table[:, 2]
    at_ms = began[shown] / 1e6
    axis.plot(at_ms, (table[:, 2] / full_clock)[shown], ".", color=COLORS[0], markersize=4,
              label="measured", markeredgewidth=0)  # fmt: skip
    axis.plot(at_ms, (predicted_ns(sequence, model) / full_clock)[shown], color=INK, linewidth=1.2,
              label="the model")  # fmt: skip
    axis.xaxis.set_major_locator(MaxNLocator(3))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration_text(value)))


def _is_prefill(shape: StepShape) -> bool:
    return shape.new_tokens > shape.num_requests


def _title(sequence: LoadSequence) -> str:
    prefills = [shape for shape in sequence.shapes if _is_prefill(shape)]
    decodes = [shape for shape in sequence.shapes if not _is_prefill(shape)]
    sizes = [shape.new_tokens for shape in prefills]
    several = len(sizes) > 1
    title = f"{min(sizes):,} to {max(sizes):,} new" if several else f"{sizes[0]:,} new"
    if not decodes:
        return title
    prefill_steps = sum(_is_prefill(sequence.shapes[number]) for number, *_ in sequence.steps)
    title += f", {len(sequence.steps) / prefill_steps - 1:.0f} × "
    return title + ("decodes" if several else f"batch of {decodes[0].new_tokens}")
