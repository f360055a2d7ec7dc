"""Where the simulator is wrong, at a glance: every difference on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from pcache.report.figures.chart import Chart, legend_beside, legend_height
from pcache.report.pairs import CLOSE_PERCENT, CLOSE_POINTS, COMPARED, Compared, Pair
from pcache.report.style import INK, MUTED, new_figure
from pcache.report.units import MINUS

__all__ = ["draw"]

MARKERS = "osD^vP*X"


def draw(pairs: Sequence[Pair]) -> Chart | None:
    wanted = [c for c in COMPARED if any(pair.difference(c) is not None for pair in pairs)]
    shares = [compared for compared in wanted if compared.is_share]
    others = [compared for compared in wanted if not compared.is_share]
    groups = [group for group in (shares, others) if group]
    if not groups:
        return None
    heights = [len(group) * max(0.34, 0.1 * len(pairs)) + 0.25 for group in groups]
    needed = 0.75 + 0.4 * len(groups) + sum(heights)
    figure = new_figure(max(needed, legend_height([pair.name for pair in pairs])))
    axes = figure.subplots(len(groups), height_ratios=heights, squeeze=False).ravel()
    handles = []
    for axis, group in zip(axes, groups, strict=True):
        handles = _rows(axis, group, pairs)
    legend_beside(figure, handles, [pair.name for pair in pairs])
    reading = (
        "Each mark is one configuration's difference, simulated − measured; right of the line the "
        f"simulator says too much. The shaded band is ±{CLOSE_PERCENT:g} % of the measured value, "
        f"±{CLOSE_POINTS:g} percentage points for the hit rate."
    )
    if any(len(pair.measured) > 1 for pair in pairs):
        reading += " A short bar around 0 spans the measured repeats: no model can be closer."
    return Chart("differences", "Where the simulator is wrong", reading, figure)


def _rows(axis: Any, group: Sequence[Compared], pairs: Sequence[Pair]) -> list[Any]:
    band = group[0].close
    axis.axvspan(-band, band, color="#eef4ee", zorder=0)
    axis.axvline(0, color=MUTED, linewidth=1)
    handles, furthest = [], band * 1.6
    for place, pair in enumerate(pairs):
        offset = 0.64 * ((place + 0.5) / len(pairs) - 0.5)
        rows = [row for row, c in enumerate(group) if pair.difference(c) is not None]
        values = [pair.difference(group[row]) or 0.0 for row in rows]
        furthest = max(furthest, *map(abs, values))
        for row in rows:
            repeats = [pair.difference(group[row], value) or 0.0
                       for value in pair.repeats(group[row].field)]  # fmt: skip
            if len(repeats) > 1:
                axis.plot([min(repeats), max(repeats)], [row + offset] * 2, color="#b6bdc6",
                          linewidth=3, solid_capstyle="butt", zorder=2)  # fmt: skip
        handles += axis.plot(
            values, [row + offset for row in rows], MARKERS[place % len(MARKERS)], markersize=6,
            color=pair.simulated.color, markeredgecolor="white", markeredgewidth=0.6, zorder=3,
        )  # fmt: skip
    axis.set_yticks(range(len(group)), [compared.heading for compared in group])
    axis.set_ylim(len(group) - 0.5, -0.5)
    axis.set_xlim(-furthest * 1.12, furthest * 1.12)
    axis.xaxis.set_major_locator(MaxNLocator(8, symmetric=True))
    axis.xaxis.set_major_formatter(FuncFormatter(_signed))
    axis.set_xlabel(f"simulated − measured, {group[0].difference_unit}")
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    return handles


def _signed(value: float, _: int) -> str:
    return f"{value:+g}".replace("-", MINUS) if value else "0"
