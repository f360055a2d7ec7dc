"""The ladder of serving: TTFT and throughput from static batching to prefix caching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from pcache.report.figures.chart import Chart, bar_axis
from pcache.report.ladder import Rung, find_ladder
from pcache.report.runs import Run
from pcache.report.style import INK, new_figure
from pcache.report.units import count_text, duration_text

__all__ = ["draw"]

_WORLDS = {"simulated": ("#56b4e9", "////"), "measured": ("#0072b2", "")}
_PANELS = (
    ("ttft_mean_ms", "Mean TTFT", duration_text),
    ("throughput_tokens_per_s", "Output tokens a second", count_text),
)
BAR_HEIGHT = 0.72


def draw(runs: Sequence[Run]) -> Chart | None:
    rungs = find_ladder(runs)
    if not rungs:
        return None
    worlds = [world for world in _WORLDS if any(world in rung.runs for rung in rungs)]
    figure = new_figure(0.75 + (0.5 + 0.22 * (len(worlds) - 1)) * len(rungs))
    axes = figure.subplots(1, 2, sharey=True)
    logarithmic = False
    for axis, (field, title, text) in zip(axes, _PANELS, strict=True):
        logarithmic |= _panel(axis, rungs, worlds, field, text)
        axis.set_title(title)
    axes[0].set_yticks(range(len(rungs)), [rung.title for rung in rungs])
    axes[0].set_ylim(len(rungs) - 0.45, -0.55)
    if len(worlds) > 1:
        handles = [
            Patch(facecolor=_WORLDS[world][0], hatch=_WORLDS[world][1], edgecolor="white")
            for world in worlds
        ]
        figure.legend(handles, worlds, loc="outside upper right", ncols=2)
    repeated = any(len(repeats) > 1 for rung in rungs for repeats in rung.runs.values())
    return Chart("ladder", "The ladder of serving", _reading(logarithmic, repeated), figure)


def _reading(logarithmic: bool, repeated: bool) -> str:
    reading = (
        "Each row adds one technique to the row above it, on the same trace; hash and radix both "
        "stand on the last row without a cache. The factor in brackets is what that step changed: "
        "÷ is good for TTFT, × for throughput."
    )
    if logarithmic:
        reading += " Where one value dwarfs the others the axis is logarithmic."
    if repeated:
        reading += " The black line on a bar spans its repeats."
    return (
        f"{reading} A cache shared by several replicas would be the next step and is not part of "
        "these runs."
    )


def _panel(axis: Any, rungs: Sequence[Rung], worlds: Sequence[str], field: str, text: Any) -> bool:
    """Draw one number of every rung; whether its axis is logarithmic."""
    height = BAR_HEIGHT / len(worlds)
    known = [v for rung in rungs for world in rung.runs for v in rung.repeats(world, field)]
    left = bar_axis(axis.xaxis, known, label_share=0.46)
    for row, rung in enumerate(rungs):
        for place, world in enumerate(worlds):
            value, repeats = rung.value(world, field), rung.repeats(world, field)
            if value is None:
                continue
            y = row + (place - (len(worlds) - 1) / 2) * height
            color, hatch = _WORLDS[world]
            axis.barh(y, max(value - left, 0), left=left, height=height * 0.92,
                      color=color if len(worlds) > 1 else "#0072b2",
                      hatch=hatch if len(worlds) > 1 else "", edgecolor="white")  # fmt: skip
            if len(repeats) > 1:
                axis.plot([min(repeats), max(repeats)], [y, y], color="black", linewidth=1.6,
                          marker="|", markersize=5)  # fmt: skip
            below = _value_below(rungs, row, world, field)
            label = text(value)
            if below:
                label += f" ({_factor(value / below)})"
            axis.annotate(label, (max(value, *repeats), y), xytext=(5, 0), va="center",
                          textcoords="offset points", fontsize=8.5)  # fmt: skip
    axis.grid(visible=False, axis="y")
    axis.spines[["left"]].set_visible(False)
    axis.tick_params(axis="y", length=0, labelcolor=INK, labelsize=9)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    return bool(axis.get_xscale() == "log")


def _factor(ratio: float) -> str:
    sign, factor = ("÷", 1 / ratio) if 0 < ratio < 1 else ("×", ratio)
    return f"{sign} {factor:.{1 if factor >= 10 else 2}f}"


def _value_below(rungs: Sequence[Rung], row: int, world: str, field: str) -> float | None:
    """The number of the nearest earlier rung that is not another cache policy beside this one."""
    for earlier in reversed(rungs[:row]):
        beside = rungs[row].uses_cache and earlier.uses_cache
        if not beside and world in earlier.runs:
            return earlier.value(world, field)
    return None
