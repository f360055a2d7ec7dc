"""Hit rate against capacity as a picture: LRU, the best possible, the ceiling, and what fits where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pcache.hit_curve import HitCurve
from pcache.report.figures.chart import share_axis
from pcache.report.style import COLORS, INK, MUTED, STYLE, new_figure, save_picture
from pcache.report.units import count_text, share_text

__all__ = ["draw_curve", "save_curve"]

HEIGHT = 4.6
ROW, LETTER = 11.5, 0.0068
"""Names above the chart: points from row to row, and a letter's share of the chart's width."""
LINE: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (3, 2)), "zorder": 1}
OWN_MARKS = ("largest request", "knee", "best possible at ceiling", "LRU at ceiling")
"""Marks that the curve itself gives; all others are machines."""


def save_curve(curve: HitCurve, path: Path) -> None:
    """Draw the curve into a PNG or SVG file; the same curve gives the same file.

    Raises ConfigError for another kind of file and where the file cannot be written.
    """
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "path"}):
        save_picture(draw_curve(curve), path)


def draw_curve(curve: HitCurve) -> Figure:
    """The chart; capacity is on a logarithmic scale."""
    figure = new_figure(HEIGHT)
    axes = figure.subplots()
    points = curve.points
    tokens = points["capacity_tokens"].to_numpy()
    low, high = tokens.min() / 1.1, tokens.max() * 1.1
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    _lines(axes, curve, tokens)
    top = curve.ceiling if curve.ceiling > 0 else 1.0
    share_axis(axes.yaxis, min(1.0, 1.14 * max(top, curve.ceiling_request_mean)))
    axes.plot([low, high], [curve.ceiling] * 2, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
    axes.text(low * 1.02, curve.ceiling, f" ceiling {share_text(curve.ceiling)}", color=MUTED,
              va="bottom", fontsize=8.5)  # fmt: skip
    if curve.knee_tokens is not None:
        _point(axes, curve, curve.knee_tokens, "knee")
    rows = _machines(axes, curve)
    axes.set_xlabel("KV capacity, tokens")
    axes.set_ylabel("hit rate")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=20))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    words = f"{curve.trace_name}: {curve.policy}, one request after another"
    axes.set_title(words, parse_math=False, pad=7 + ROW * rows)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _lines(axes: Any, curve: HitCurve, tokens: Any) -> None:
    points = curve.points
    feasible, bound = (points[f"{kind}_hit_rate"].to_numpy() for kind in ("feasible", "bound"))
    if not np.isnan(bound).all():
        axes.plot(tokens, bound, color=COLORS[1], label="best possible eviction")
        axes.fill_between(tokens, feasible, bound, color=COLORS[1], alpha=0.35, linewidth=0)
    axes.plot(tokens, points["hit_rate"], color=COLORS[0], label="LRU, by tokens")
    axes.plot(tokens, points["hit_rate_request_mean"], color=COLORS[2], linestyle=(0, (4.5, 1.8)),
              label="LRU, mean of requests")  # fmt: skip
    for kind, color, label in (
        ("hit_rate", COLORS[0], "95 % confidence"), ("hit_rate_request_mean", COLORS[2], None)
    ):  # fmt: skip
        rate, error = points[kind], points[f"{kind}_error"]
        if error.any():
            axes.fill_between(tokens, (rate - error).clip(lower=0), rate + error, color=color,
                              alpha=0.2, linewidth=0, label=label)  # fmt: skip


def _point(axes: Any, curve: HitCurve, tokens: int, words: str) -> None:
    """A dot on the curve by tokens, with its values beside it."""
    row = curve.points[curve.points["capacity_tokens"] == tokens].iloc[0]
    rate = float(row["hit_rate"])
    axes.plot([tokens], [rate], marker="o", markersize=5, color=COLORS[0])
    axes.annotate(f"{words}: {count_text(tokens)}, {share_text(rate)}", (tokens, rate),
                  xytext=(6, -12), textcoords="offset points", fontsize=8.5, color=INK,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})  # fmt: skip


def _machines(axes: Any, curve: HitCurve) -> int:
    """A vertical line where each machine's memory ends, with its name above the chart; returns the
    number of rows that keep the names apart.

    All names stand on the same side of their lines, the one with more room. Whoever would stand over
    the line of another goes into a higher row, so that no line passes through a name.
    """
    found = [
        (tokens, ", ".join(name for name in mark.split(", ") if name not in OWN_MARKS))
        for tokens, mark in zip(curve.points["capacity_tokens"], curve.points["mark"], strict=True)
    ]
    found = [(tokens, words) for tokens, words in found if words]
    if not found:
        return 0
    low, high = np.log(axes.get_xlim())
    places = [float((np.log(tokens) - low) / (high - low)) for tokens, _ in found]
    to_the_left = places[0] > 1 - places[-1]
    order = range(len(found)) if to_the_left else range(len(found) - 1, -1, -1)
    rows: dict[int, int] = {}
    for at in order:
        tokens, words = found[at]
        under = [rows[one] for one in rows if abs(places[one] - places[at]) < LETTER * len(words)]
        rows[at] = 1 + max(under, default=-1)
        axes.axvline(tokens, color=INK, **LINE)
        axes.annotate(
            f"{words} " if to_the_left else f" {words}", (tokens, 1),
            xycoords=("data", "axes fraction"), xytext=(0, 3 + ROW * rows[at]),
            textcoords="offset points", ha="right" if to_the_left else "left", fontsize=8,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "relpos": (float(to_the_left), 0.0), "shrinkA": 0,
                        "shrinkB": 0, **LINE},
        )  # fmt: skip
    return 1 + max(rows.values())
