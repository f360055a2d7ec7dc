"""The radix tree as a picture: one panel a snapshot, one box a node, children indented below it.

Everything is placed in inches from the top left corner, so texts are cut to the room they have and
nothing overlaps, however large the tree is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle

from pcache.cache.snapshot import NodeState, TreeNode, TreeSnapshot
from pcache.errors import ConfigError
from pcache.report.style import INK, MUTED, STYLE, save_picture
from pcache.report.tree_words import (
    DEEP_NOTE,
    flow_words,
    headline,
    hidden_words,
    node_words,
    use_words,
)

__all__ = ["draw_trees", "save_trees"]

MONO, SANS = "DejaVu Sans Mono", "DejaVu Sans"
TEXT_SIZE, WORDS_SIZE, HEAD_SIZE, SMALL_SIZE, LEGEND_SIZE = 7.6, 6.3, 9.0, 7.4, 8.0
ROW, BOX, INDENT, BAR = 0.375, 0.315, 0.15, 0.16
"""Inches: from node to node, height of a box, a level of the tree, the coloured bar of a box."""
HEAD, GAP, MARGIN, LEGEND = 0.53, 0.3, 0.2, 0.22
"""Inches: a panel's heading, space between panels, around everything, and for a line of the legend."""
COLUMNS, PANEL, WIDE_PANEL = 3, 4.6, 8.5
MAX_HEIGHT = 390.0
"""Inches; beyond that a PNG has more rows than can be drawn."""


@dataclass(frozen=True, slots=True)
class _Look:
    strong: str
    light: str


LOOKS = {
    NodeState.added: _Look("#009e73", "#d9f0e8"),
    NodeState.hit: _Look("#0072b2", "#d9eaf6"),
    NodeState.evicted: _Look("#d55e00", "#ffffff"),
    NodeState.kept: _Look("#8a8a8a", "#f3f4f6"),
}


def save_trees(snapshots: Sequence[TreeSnapshot], path: Path) -> None:
    """Draw the snapshots side by side, at most three in a row, into a PNG or SVG file.

    The same snapshots give the same file. Raises ConfigError for another kind of file, for more than
    fits a picture, and where the file cannot be written.
    """
    with matplotlib.rc_context({**STYLE, "svg.fonttype": "path"}):
        save_picture(draw_trees(snapshots), path)


def draw_trees(snapshots: Sequence[TreeSnapshot]) -> Figure:
    """The snapshots side by side, at most three in a row. Raises ConfigError for too many nodes."""
    columns = min(COLUMNS, len(snapshots))
    panel = PANEL if columns > 1 else WIDE_PANEL
    bands = [snapshots[at : at + columns] for at in range(0, len(snapshots), columns)]
    heights = [max(map(_panel_height, band)) for band in bands]
    width = 2 * MARGIN + columns * panel + (columns - 1) * GAP
    deep = any(node.depth > _deepest(panel) for one in snapshots for node in one.nodes)
    height = 2 * MARGIN + sum(heights) + len(bands) * GAP + LEGEND * (1 + deep)
    if height > MAX_HEIGHT:
        raise ConfigError(
            f"{sum(len(one.nodes) for one in snapshots):,} nodes do not fit a picture; lower "
            "--max-nodes or give fewer numbers to --at"
        )
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    top, number = MARGIN, 0
    for band, band_height in zip(bands, heights, strict=True):
        for column, snapshot in enumerate(band):
            number += 1
            label = f"{number}   " if len(snapshots) > 1 else ""
            _panel(axes, snapshot, label, MARGIN + column * (panel + GAP), top, panel)
        top += band_height + GAP
    _legend(axes, top + LEGEND / 2)
    if deep:
        _text(axes, MARGIN, top + 1.6 * LEGEND, DEEP_NOTE, LEGEND_SIZE, color=MUTED)
    return figure


def _panel_height(snapshot: TreeSnapshot) -> float:
    return HEAD + (len(snapshot.nodes) + (snapshot.hidden_nodes > 0)) * ROW


def _deepest(width: float) -> int:
    """The last level that is indented, so that half of a panel is left for texts."""
    return int(width / 2 / INDENT)


def _panel(
    axes: Any, snapshot: TreeSnapshot, label: str, left: float, top: float, width: float
) -> None:
    used = use_words(snapshot)
    room = width - _width(used, SMALL_SIZE, SANS) - 0.15
    heading = _fitted(label + headline(snapshot), room, HEAD_SIZE, SANS, bold=True)
    _text(axes, left, top + 0.1, heading, HEAD_SIZE, fontweight="bold")
    _text(axes, left + width, top + 0.1, used, SMALL_SIZE, color=MUTED, ha="right")
    flow = _fitted(flow_words(snapshot), width, SMALL_SIZE, SANS)
    _text(axes, left, top + 0.28, flow, SMALL_SIZE, color=MUTED)
    axes.plot([left, left + width], [top + 0.42] * 2, color="#b6bdc6", linewidth=0.8)
    top += HEAD
    places: list[tuple[float, float]] = []
    for row, node in enumerate(snapshot.nodes):
        x = left + min(node.depth, _deepest(width)) * INDENT
        y = top + row * ROW
        if node.parent >= 0:
            _connect(axes, *places[node.parent], x, y)
        places.append((x, y))
        _box(axes, node, x, y, left + width - x)
    after = top + len(snapshot.nodes) * ROW + 0.1
    if snapshot.hidden_nodes:
        _text(axes, left, after, hidden_words(snapshot), SMALL_SIZE, color=MUTED)


def _connect(axes: Any, parent_x: float, parent_y: float, x: float, y: float) -> None:
    trunk = parent_x + BAR / 2
    if x > trunk:
        middle = y + BOX / 2
        axes.plot([trunk, trunk, x], [parent_y + BOX, middle, middle], color="#9aa3ad",
                  linewidth=0.8, zorder=0, solid_joinstyle="miter")  # fmt: skip


def _box(axes: Any, node: TreeNode, x: float, y: float, width: float) -> None:
    look = LOOKS[node.state]
    gone, pinned = node.state is NodeState.evicted, node.locks > 0
    edge = look.strong if gone else INK if pinned else "#c4cad1"
    axes.add_patch(
        Rectangle((x, y), width, BOX, facecolor=look.light, edgecolor=edge,
                  linewidth=1.3 if pinned else 0.8, linestyle=(0, (3, 2)) if gone else "-")
    )  # fmt: skip
    axes.add_patch(Rectangle((x, y), BAR, BOX, facecolor=look.strong, edgecolor="none", zorder=1.5))
    _text(axes, x + BAR / 2, y + BOX / 2, node.state.sign, 8.5, color="white", ha="center",
          fontweight="bold")  # fmt: skip
    room = width - BAR - 0.12
    ink = MUTED if gone else INK
    text = _fitted(node.text, room, TEXT_SIZE, MONO)
    _text(axes, x + BAR + 0.06, y + 0.095, text, TEXT_SIZE, color=ink, family=MONO)
    words = _fitted(node_words(node), room, WORDS_SIZE, SANS)
    _text(axes, x + BAR + 0.06, y + 0.235, words, WORDS_SIZE, color=MUTED)


def _legend(axes: Any, y: float) -> None:
    x = MARGIN
    for state, look in LOOKS.items():
        axes.add_patch(Rectangle((x, y - 0.08), BAR, 0.16, facecolor=look.strong, linewidth=0))
        _text(axes, x + BAR / 2, y, state.sign, 8.5, color="white", ha="center", fontweight="bold")
        _text(axes, x + BAR + 0.07, y, state.meaning, LEGEND_SIZE)
        x += BAR + 0.3 + _width(state.meaning, LEGEND_SIZE, SANS)
    pinned = "pinned by a request"
    axes.add_patch(Rectangle((x, y - 0.08), 0.3, 0.16, facecolor="white", edgecolor=INK,
                             linewidth=1.3))  # fmt: skip
    _text(axes, x + 0.37, y, pinned, LEGEND_SIZE)
    x += 0.6 + _width(pinned, LEGEND_SIZE, SANS)
    _text(axes, x, y, "recency 1: touched last", LEGEND_SIZE, color=MUTED)


def _text(axes: Any, x: float, y: float, text: str, size: float, **style: Any) -> None:
    style = {"family": SANS, "color": INK, "va": "center", **style}
    axes.text(x, y, text, fontsize=size, parse_math=False, clip_on=False, **style)


def _fitted(text: str, room: float, size: float, family: str, *, bold: bool = False) -> str:
    """The text, cut with … where it is wider than `room` inches; glyphs the font lacks as ▯."""
    text = "".join(one if _font(family, bold).get_char_index(ord(one)) else "▯" for one in text)
    if _width(text, size, family, bold=bold) <= room:
        return text
    room -= _width("…", size, family, bold=bold)
    shown = ""
    for one in text:
        room -= _width(one, size, family, bold=bold)
        if room < 0:
            break
        shown += one
    return shown + "…"


def _width(text: str, size: float, family: str, *, bold: bool = False) -> float:
    """Width in inches, without kerning."""
    return sum(_advance(one, family, bold) for one in text) * size / 72


@cache
def _advance(character: str, family: str, bold: bool) -> float:
    """How far a glyph moves the pen, in units of the font size."""
    return float(_font(family, bold).load_char(ord(character)).linearHoriAdvance / 65536 / 72)


@cache
def _font(family: str, bold: bool) -> FT2Font:
    """A font that comes with matplotlib, at 72 pixels."""
    weight = "bold" if bold else "normal"
    font = FT2Font(findfont(FontProperties(family=family, weight=weight)))
    font.set_size(72, 72)
    return font
