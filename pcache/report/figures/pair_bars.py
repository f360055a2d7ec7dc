"""Simulated against measured: paired bars, one panel a number, with the difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pcache.report.figures.chart import Chart, wrapped
from pcache.report.pairs import COMPARED, Compared, Pair, repeats_text
from pcache.report.style import INK, new_figure
from pcache.report.units import count_text, difference_text, duration_text

__all__ = ["MEASURED_COLOR", "SIMULATED_COLOR", "draw"]

SIMULATED_COLOR, MEASURED_COLOR = "#56b4e9", "#0072b2"
COLUMNS = 4
BAR_HEIGHT = 0.36


def draw(pairs: Sequence[Pair]) -> Chart | None:
    wanted = [c for c in COMPARED if any(pair.difference(c) is not None for pair in pairs)]
    if not wanted:
        return None
    rows = -(-len(wanted) // COLUMNS)
    figure = new_figure(0.5 + rows * (0.65 + 0.52 * len(pairs)))
    axes = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
    for axis, compared in zip(axes, wanted, strict=False):
        _panel(axis, compared, pairs)
    for unused in axes[len(wanted) :]:
        unused.remove()
    axes[0].set_yticks(range(len(pairs)), [wrapped(pair.name, 22) for pair in pairs])
    axes[0].set_ylim(len(pairs) - 0.4, -0.6)
    handles = [
        Patch(facecolor=SIMULATED_COLOR, hatch="////", edgecolor="white", label="simulated"),
        Patch(facecolor=MEASURED_COLOR, label=f"measured {repeats_text(pairs)}"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    reading = (
        "Two bars a configuration: what the simulator predicted, and what the GPU did. The number "
        "behind them is the difference, simulated − measured: in percentage points for the hit "
        "rate, in percent of the measured value otherwise."
    )
    if any(len(pair.measured) > 1 for pair in pairs):
        reading += " The black line on a measured bar spans its repeats."
    return Chart("side_by_side", "Simulated and measured", reading, figure)


def _panel(axis: Any, compared: Compared, pairs: Sequence[Pair]) -> None:
    most = 0.0
    for row, pair in enumerate(pairs):
        predicted, observed = pair.predicted(compared.field), pair.observed(compared.field)
        difference = pair.difference(compared)
        if predicted is None or observed is None or difference is None:
            continue
        axis.barh(row - BAR_HEIGHT / 2, predicted, BAR_HEIGHT, color=SIMULATED_COLOR, hatch="////",
                  edgecolor="white", linewidth=0.5)  # fmt: skip
        axis.barh(row + BAR_HEIGHT / 2, observed, BAR_HEIGHT, color=MEASURED_COLOR)
        repeats = pair.repeats(compared.field)
        if len(repeats) > 1:
            axis.plot([min(repeats), max(repeats)], [row + BAR_HEIGHT / 2] * 2, color="black",
                      linewidth=1.6, marker="|", markersize=5)  # fmt: skip
        text = difference_text(difference, "pt" if compared.is_share else "%")
        axis.annotate(text, (max(predicted, observed, *repeats), row), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8.5)  # fmt: skip
        most = max(most, predicted, observed, *repeats)
    axis.set_title(compared.heading)
    axis.set_xlim(0, most * 1.5 or 1.0)
    axis.xaxis.set_major_locator(MaxNLocator(3))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _text(compared, value)))
    axis.grid(visible=False, axis="y")
    axis.spines[["left"]].set_visible(False)
    axis.tick_params(axis="y", length=0, labelcolor=INK)


def _text(compared: Compared, value: float) -> str:
    if compared.unit == "ms":
        return duration_text(value)
    return f"{100 * value:g} %" if compared.is_share else f"{count_text(value)}/s"
