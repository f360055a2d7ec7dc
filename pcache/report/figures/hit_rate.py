"""Hit rate and miss causes by policy: one stacked bar a run, with the ceiling marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pcache.report.figures.chart import Chart, share_axis, wrapped
from pcache.report.runs import Run
from pcache.report.style import INK, MUTED, new_figure
from pcache.report.units import share_text

__all__ = ["SEGMENTS", "draw"]

SEGMENTS: dict[str, tuple[str, str, str, str]] = {
    "hit_rate": ("served from cache", "#0072b2", "", "white"),
    "miss_evicted": ("evicted or not kept", "#d55e00", "//", "white"),
    "miss_in_flight": ("in flight", "#e69f00", "..", INK),
    "miss_rounding": ("rounding", "#cc79a7", r"\\", INK),
    "miss_cold": ("never seen (cold)", "#e3e6ea", "", MUTED),
    "miss_rejected": ("rejected", "#6b7280", "xx", "white"),
}
"""Summary field: words, fill, hatch, colour of a number on it. In the order of the stack."""

READABLE_FROM = 0.045
"""Segments narrower than this share carry no number."""
HALF_LABEL = 0.03
"""Half of what a number takes of the bar, and a gap."""


def draw(runs: Sequence[Run]) -> Chart | None:
    shown = [run for run in runs if run.summary.get("hit_rate") is not None]
    if not shown:
        return None
    figure = new_figure(1.05 + 0.42 * len(shown))
    axes = figure.subplots()
    for row, run in enumerate(shown):
        _bar(axes, row, run)
    axes.set_yticks(range(len(shown)), [wrapped(run.name, 34) for run in shown])
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=9)
    axes.set_ylim(len(shown) - 0.45, -0.55)
    share_axis(axes.xaxis)
    axes.set_xlabel("share of prompt tokens looked up")
    axes.grid(visible=False, axis="y")
    axes.spines[["left"]].set_visible(False)
    ceiling = any(run.ceiling is not None for run in shown)
    _columns(axes, shown, ceiling)
    _legend(figure, shown, ceiling)
    reading = (
        "Each bar holds all prompt tokens of one run: the blue part came from the cache, the rest "
        "had to be computed, for the reason its colour names."
    )
    if ceiling:
        reading += (
            " The black tick is the ceiling, the hit rate of an infinite cache with this block "
            "size."
        )
    return Chart("hit_rate", "Hit rate and miss causes", reading, figure)


def _bar(axes: Any, row: int, run: Run) -> None:
    left = 0.0
    for field, (_, color, hatch, ink) in SEGMENTS.items():
        share = run.summary.get(field) or 0.0
        if share <= 0:
            continue
        axes.barh(row, share, left=left, height=0.66, color=color, hatch=hatch,
                  edgecolor="white", linewidth=0.7)  # fmt: skip
        place = label_place(left, left + share, run.ceiling)
        if share >= READABLE_FROM and field != "hit_rate" and place is not None:
            plain = {"facecolor": color, "edgecolor": "none", "pad": 1.2}
            axes.text(place, row, f"{100 * share:.0f} %", ha="center", va="center",
                      color=ink, fontsize=8, bbox=plain, zorder=5)  # fmt: skip
        left += share
    if run.ceiling is not None:
        axes.plot([run.ceiling] * 2, [row - 0.43, row + 0.43], color="black", linewidth=2.2,
                  solid_capstyle="butt", zorder=4)  # fmt: skip


def label_place(left: float, right: float, mark: float | None) -> float | None:
    """Where the label of a segment goes: into its middle, or where it would cover the mark there, into
    the middle of the wider part beside it; None if that is too narrow."""
    middle = (left + right) / 2
    if mark is None or not left < mark < right or abs(mark - middle) > HALF_LABEL:
        return middle
    begin, end = (left, mark) if mark - left > right - mark else (mark, right)
    return (begin + end) / 2 if end - begin >= 2 * HALF_LABEL else None


def _columns(axes: Any, shown: Sequence[Run], ceiling: bool) -> None:
    """The exact hit rate, and the ceiling, as columns of text right of the bars."""
    columns = {"hit rate": 1.085}
    if ceiling:
        columns["ceiling"] = 1.165
    for heading, x in columns.items():
        axes.text(x, -0.5, heading, ha="right", va="bottom", color=MUTED, fontsize=8)
    for row, run in enumerate(shown):
        axes.text(columns["hit rate"], row, share_text(run.summary["hit_rate"]), ha="right",
                  va="center", fontweight="bold")  # fmt: skip
        if ceiling:
            known = "–" if run.ceiling is None else share_text(run.ceiling)
            axes.text(columns["ceiling"], row, known, ha="right", va="center", color=MUTED)


def _legend(figure: Any, shown: Sequence[Run], ceiling: bool) -> None:
    handles: list[Any] = [
        Patch(facecolor=color, hatch=hatch, edgecolor="white", label=words)
        for field, (words, color, hatch, _) in SEGMENTS.items()
        if any(run.summary.get(field) for run in shown)
    ]
    if ceiling:
        handles.append(Line2D([], [], color="black", linewidth=0, marker="|", markersize=9,
                              markeredgewidth=2.2, label="ceiling"))  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handlelength=1.3,
                  columnspacing=1.4, handletextpad=0.5)  # fmt: skip
