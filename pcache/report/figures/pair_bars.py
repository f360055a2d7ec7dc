"""Simulated against measured: paired bars, one panel a number, with the difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from pcache.report.figures.chart import Chart, bar_axis, share_axis, wrapped
from pcache.report.pairs import COMPARED, Compared, Pair, repeats_text
from pcache.report.style import INK, new_figure
from pcache.report.units import count_text, difference_text, duration_text

__all__ = ["MEASURED_COLOR", "SIMULATED_COLOR", "draw"]

SIMULATED_COLOR, MEASURED_COLOR = "#56b4e9", "#0072b2"
COLUMNS = 4
BAR_HEIGHT = 0.36


def draw(pairs: Sequence[Pair], fields: Sequence[str] = ()) -> Chart | None:
    """The numbers of COMPARED, or those that `fields` names, of all pairs."""
    wanted = [c for c in COMPARED if any(pair.difference(c) is not None for pair in pairs)]
    wanted = [compared for compared in wanted if not fields or compared.field in fields]
    if not wanted:
        return None
    columns = min(COLUMNS, len(wanted))
    rows = -(-len(wanted) // columns)
    figure = new_figure(0.5 + rows * (0.65 + 0.52 * len(pairs)))
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axis, compared in zip(axes, wanted, strict=False):
        _panel(axis, compared, pairs)
    for unused in axes[len(wanted) :]:
        unused.remove()
    axes[0].set_yticks(range(len(pairs)), [wrapped(pair.name, 22) for pair in pairs])
    axes[0].set_ylim(len(pairs) - 0.4, -0.6)
    handles: list[Any] = [
        Patch(facecolor=SIMULATED_COLOR, hatch="////", edgecolor="white", label="simulated"),
        Patch(facecolor=MEASURED_COLOR, label=f"measured {repeats_text(pairs)}"),
    ]
    if any(pair.simulated.ceiling is not None for pair in pairs) and wanted[0].is_share:
        handles.append(Line2D([], [], color="black", linewidth=0, marker="|", markersize=9,
                              markeredgewidth=2.2, label="ceiling"))  # fmt: skip
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    reading = (
        "Two bars a configuration: what the simulator predicted, and what was measured. The number "
        "behind them is the difference, simulated − measured: in percentage points for the hit "
        "rate, in percent of the measured value otherwise."
    )
    if any(len(pair.measured) > 1 for pair in pairs):
        reading += " The black line on a measured bar spans its repeats."
    if any(axis.get_xscale() == "log" for axis in figure.axes):
        reading += " Where one value dwarfs the others the axis is logarithmic."
    return Chart("side_by_side", "Simulated and measured", reading, figure)


def _panel(axis: Any, compared: Compared, pairs: Sequence[Pair]) -> None:
    known = [value for pair in pairs for value in _values(pair, compared)]
    if compared.is_share:
        share_axis(axis.xaxis, 1.45)
        axis.set_xticks([0, 0.5, 1.0])
    left = 0.0 if compared.is_share else bar_axis(axis.xaxis, known, label_share=0.5)
    for row, pair in enumerate(pairs):
        predicted, observed = pair.predicted(compared.field), pair.observed(compared.field)
        difference = pair.difference(compared)
        if predicted is None or observed is None or difference is None:
            continue
        axis.barh(row - BAR_HEIGHT / 2, max(predicted - left, 0), BAR_HEIGHT, left,
                  color=SIMULATED_COLOR, hatch="////", edgecolor="white", linewidth=0.5)  # fmt: skip
        axis.barh(row + BAR_HEIGHT / 2, max(observed - left, 0), BAR_HEIGHT, left,
                  color=MEASURED_COLOR)  # fmt: skip
        furthest = _values(pair, compared)
        if (extremes := pair.extremes(compared.field)) is not None:
            axis.plot(extremes, [row + BAR_HEIGHT / 2] * 2, color="black", linewidth=1.6, marker="|",
                      markersize=5)  # fmt: skip
        if compared.is_share and pair.simulated.ceiling is not None:
            furthest.append(pair.simulated.ceiling)
            axis.plot([pair.simulated.ceiling] * 2, [row - 0.42, row + 0.42], color="black",
                      linewidth=2.2, solid_capstyle="butt", zorder=4)  # fmt: skip
        text = difference_text(difference, "pt" if compared.is_share else "%")
        axis.annotate(text, (max(furthest), row), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=8.5)  # fmt: skip
    axis.set_title(compared.heading)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _text(compared, value)))
    axis.grid(visible=False, axis="y")
    axis.spines[["left"]].set_visible(False)
    axis.tick_params(axis="y", length=0, labelcolor=INK)


def _values(pair: Pair, compared: Compared) -> list[float]:
    predicted = pair.predicted(compared.field)
    return [*([] if predicted is None else [predicted]), *pair.repeats(compared.field)]


def _text(compared: Compared, value: float) -> str:
    if compared.unit == "ms":
        return duration_text(value)
    return f"{100 * value:g} %" if compared.is_share else f"{count_text(value)}/s"
