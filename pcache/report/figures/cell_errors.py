"""Errors of a simulator over many cells: a panel a number, a row a cell, with the repeats' spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pcache.report.figures.chart import Chart, wrapped
from pcache.report.style import COLORS, INK, MUTED, new_figure
from pcache.report.units import MINUS, difference_text

__all__ = ["draw"]

MET, MISSED = COLORS[0], COLORS[3]
ROW_INCHES = 0.2
WIDEST = 4.0
"""Axes reach so many times the usual limit; what lies further out is written at the edge."""


def draw(errors: pd.DataFrame) -> Chart | None:
    """`errors` has a row a cell and number: `cell`, `number`, `heading`, `unit` (of the difference),
    `difference`, `spread` (of the repeats, same unit), `limit`, `met`; cells keep their order."""
    known = errors[errors["difference"].notna()]
    if known.empty:
        return None
    cells = list(dict.fromkeys(known["cell"]))
    headings = [h for h in dict.fromkeys(errors["heading"]) if h in set(known["heading"])]
    figure = new_figure(1.15 + ROW_INCHES * max(len(cells), 4))
    axes = figure.subplots(1, len(headings), sharey=True, squeeze=False).ravel()
    for axis, heading in zip(axes, headings, strict=True):
        part = known[known["heading"] == heading]
        _panel(axis, part, [cells.index(cell) for cell in part["cell"]])
        axis.set_title(wrapped(heading, 12), fontsize=8.5)
    axes[0].set_yticks(range(len(cells)), cells)
    axes[0].set_ylim(len(cells) - 0.4, -0.6)
    handles = [
        Line2D([], [], color=MET, marker="o", linewidth=0, markersize=5),
        Line2D([], [], color=MET, marker="o", linewidth=0, markersize=5, markerfacecolor="white"),
        Line2D([], [], color=MISSED, marker="D", linewidth=0, markersize=5),
        Line2D([], [], color="#9aa4af", linewidth=3),
        Patch(facecolor="#e3efe3"),
    ]
    words = ["within its limit", "within a wider one", "outside", "the repeats' spread", "limit"]
    figure.legend(handles, words, loc="outside upper right", ncols=5)
    reading = (
        "Each mark is simulated − measured of one number in one cell; right of the line the simulator "
        "says too much. The green band is what may be off, the grey bar around 0 how far the repeats "
        "lie apart: no model can be closer than that. What lies beyond the axis is written at its edge."
    )
    return Chart("cell_errors", "Errors by cell", reading, figure)


def _panel(axis: Any, part: pd.DataFrame, rows: list[int]) -> None:
    usual = float(part["limit"].min())
    reach = usual * WIDEST
    axis.axvline(0, color=MUTED, linewidth=1)
    for row, cell in zip(rows, part.to_dict("records"), strict=True):
        limit, difference = float(cell["limit"]), float(cell["difference"])
        axis.fill_betweenx([row - 0.5, row + 0.5], -limit, limit, color="#e3efe3", linewidth=0,
                           zorder=0)  # fmt: skip
        if cell["spread"] == cell["spread"]:
            half = min(float(cell["spread"]) / 2, reach)
            axis.plot([-half, half], [row, row], color="#9aa4af", linewidth=3,
                      solid_capstyle="butt", zorder=2)  # fmt: skip
        color, marker = (MET, "o") if cell["met"] else (MISSED, "D")
        if abs(difference) <= reach:
            filled = color if not cell["met"] or abs(difference) <= usual else "white"
            axis.plot(difference, row, marker, color=color, markersize=4.2, zorder=3,
                      markerfacecolor=filled)  # fmt: skip
        else:
            _beyond(axis, row, difference, reach, color)
    axis.set_xlim(-reach * 1.06, reach * 1.06)
    axis.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    axis.xaxis.set_major_formatter(FuncFormatter(_signed))
    axis.set_xlabel(str(part["unit"].iloc[0]))
    axis.tick_params(axis="y", length=0, labelcolor=INK, labelsize=7.5)
    axis.grid(visible=True, axis="y", linewidth=0.4)


def _beyond(axis: Any, row: int, difference: float, reach: float, color: str) -> None:
    side = np.sign(difference)
    axis.plot(side * reach, row, ">" if side > 0 else "<", color=color, markersize=4.2, zorder=3)
    digits = 0 if abs(difference) >= 10 else 1
    axis.annotate(difference_text(difference, "", digits).strip(), (side * reach, row),
                  xytext=(-5 * side, 0), textcoords="offset points", va="center", fontsize=7,
                  ha="right" if side > 0 else "left", color=color, zorder=4,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # fmt: skip


def _signed(value: float, _: int) -> str:
    return f"{value:+g}".replace("-", MINUS) if value else "0"
