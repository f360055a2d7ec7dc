"""The charts of the claims: what a factor depends on, and how indexes grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from pcache.report.figures.chart import Chart, legend_beside, legend_height
from pcache.report.style import COLORS, DASHES, MUTED, line_style, new_figure
from pcache.report.units import count_text

__all__ = ["draw_factors", "draw_indexes"]

_PANELS = (
    ("nodes", "Nodes, or blocks", count_text),
    ("bytes", "Bytes of the index", lambda value: f"{count_text(value)}B"),
    ("lookup_us", "Look-up, µs", count_text),
)


def draw_factors(table: pd.DataFrame, quoted: dict[str, float]) -> Chart:
    """Throughput against no sharing by output length: columns `workload`, `output_tokens`, `radix`,
    `hash`; `quoted` has the claimed factor of some workloads."""
    names: list[str] = []
    figure = new_figure(4.4)
    axes = figure.subplots()
    handles: list[Any] = []
    for at, (workload, part) in enumerate(table.groupby("workload", sort=False)):
        for dash, policy in enumerate(("radix", "hash")):
            handles += axes.plot(
                part["output_tokens"], part[policy], marker="os"[dash], markersize=4.5,
                **line_style(COLORS[at], DASHES[dash]),
            )  # fmt: skip
            names.append(f"{workload}, {policy}")
        if workload in quoted:
            axes.axhline(quoted[workload], color=COLORS[at], linewidth=1, alpha=0.6,
                         linestyle=DASHES[2])  # fmt: skip
            axes.annotate(f"quoted: {quoted[workload]:g}×", (1, quoted[workload]), xytext=(-2, 3),
                          xycoords=("axes fraction", "data"), textcoords="offset points",
                          ha="right", color=COLORS[at], fontsize=8)  # fmt: skip
    _log(axes, table["output_tokens"])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20, 50]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.axhline(1, color=MUTED, linewidth=1)
    axes.set_xlabel("output tokens of a request, mean")
    axes.set_ylabel("throughput against no cache")
    legend_beside(figure, handles, names)
    return Chart(
        "factors", "The factor is set by the length of the answers",
        "Simulated requests a second with a cache over those without, everything else the same. Only "
        "prefill is saved: the longer the answers, the less of the time was prefill.", figure,
    )  # fmt: skip


def _log(axes: Any, values: pd.Series) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(values))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def draw_indexes(table: pd.DataFrame) -> Chart:
    """Growth of the indexes: columns `structure`, `prompts` and those of the panels."""
    names: Sequence[str] = list(dict.fromkeys(table["structure"]))
    figure = new_figure(max(3.6, legend_height(names)))
    axes = figure.subplots(1, len(_PANELS))
    handles: list[Any] = []
    for axis, (column, title, text) in zip(axes, _PANELS, strict=True):
        known = table[table[column].notna()]
        for at, name in enumerate(names):
            part = known[known["structure"] == name]
            drawn = axis.plot(part["prompts"], part[column], marker="o", markersize=3.5,
                              **line_style(COLORS[at], DASHES[at % len(DASHES)]))  # fmt: skip
            handles += drawn if axis is axes[0] else []
        axis.set_title(title)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("prompts in the cache")
        for one, words in ((axis.xaxis, count_text), (axis.yaxis, text)):
            one.set_major_locator(LogLocator(10, numticks=5))
            one.set_minor_locator(NullLocator())
            one.set_major_formatter(FuncFormatter(lambda value, _, words=words: words(value)))
    legend_beside(figure, handles, names)
    return Chart(
        "indexes", "How an index grows with the cache",
        "The same structures over the same multi-turn chats, of compiled code on one CPU core. A "
        "look-up that grew with the logarithm of the cache would rise by the same step from each "
        "decade to the next.", figure,
    )  # fmt: skip
