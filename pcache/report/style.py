"""How every chart looks: colours, lines, sizes, and how it is saved.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, without the yellow that
vanishes on white. Lines that share a colour differ in their dashes.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pcache.errors import ConfigError

__all__ = [
    "COLORS",
    "DASHES",
    "FILE_TYPES",
    "GRID",
    "INK",
    "MUTED",
    "NO_CACHE_COLOR",
    "STYLE",
    "WIDTH",
    "Dash",
    "line_style",
    "new_figure",
    "save_picture",
    "save_png",
    "svg_text",
]

Dash = tuple[float, tuple[float, ...] | None]

COLORS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000")
DASHES: tuple[Dash, ...] = (
    (0, None),
    (0, (4.5, 1.8)),
    (0, (1.2, 1.4)),
    (0, (6, 1.5, 1.2, 1.5)),
)
NO_CACHE_COLOR = "#8a8a8a"
INK, MUTED, GRID = "#1f2328", "#59636e", "#e4e7eb"
WIDTH = 10.0
"""Width of a chart in inches."""
PNG_DPI = 160
FILE_TYPES = (".png", ".svg")

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelsize": 9.0,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#b6bdc6",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "pcache",
}


def line_style(color: str, dash: Dash) -> dict[str, Any]:
    """Keywords for a line; dashes lie on top, so that a solid line never hides them."""
    return {"color": color, "linestyle": dash, "zorder": 2.0 if dash[1] is None else 2.5}


def new_figure(height: float) -> Figure:
    """An empty figure of the common width; `height` in inches. Draws without a display."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.04, hspace=0.04)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=PNG_DPI, metadata={"Software": None})


def save_picture(figure: Figure, path: Path) -> None:
    """Write a PNG or SVG file, by its name; the same figure gives the same file.

    Raises ConfigError for another kind of file and where the file cannot be written.
    """
    if path.suffix.lower() not in FILE_TYPES:
        raise ConfigError(f"--out {path} is no picture; its name must end in .png or .svg")
    try:
        if path.suffix.lower() == ".png":
            save_png(figure, path)
        else:
            figure.savefig(path, format="svg", metadata={"Date": None})
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); choose another --out"
        ) from error


def svg_text(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element to stand inside a page that holds other SVGs.

    Identifiers get `name` as a prefix, because a page has one namespace for all of them, and the
    fixed size goes, so that the drawing follows the width of the page.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=PNG_DPI, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'^<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'^<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1)
