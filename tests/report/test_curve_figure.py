"""The curve's chart: everything is on it, and no two texts overlap."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.text import Annotation, Text
from small_traces import small_trace

import pcache
from pcache.report.curve_figure import draw_curve

RAG = Path(__file__).parents[2] / "traces" / "rag.jsonl.xz"


@pytest.mark.parametrize("gpus", [None, "h100", "l40s,h100,h200,a100,rtx4090"])
def test_texts_do_not_overlap(gpus: str | None) -> None:
    models = "llama-3.1-8b,qwen2.5-7b"
    curve = pcache.curve(RAG, gpu=gpus, model=models, points=20)
    figure = draw_curve(curve)
    figure.draw_without_rendering()
    [axes] = figure.axes
    texts = [text for text in [*axes.texts, axes.title, axes._left_title] if text.get_text()]
    boxes = {text: Text.get_window_extent(text) for text in texts}
    for one, other in combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[other]), (one.get_text(), other.get_text())
    for line in [text for text in texts if isinstance(text, Annotation) and text.arrow_patch]:
        at, _ = axes.transData.transform((line.xy[0], 0))
        crossed = [
            text.get_text() for text, box in boxes.items()
            if box.x0 < at < box.x1 and axes.bbox.y1 <= box.y0 < boxes[line].y0
        ]  # fmt: skip
        assert not crossed, line.get_text()
    names = " ".join(text.get_text() for text in texts)
    assert all(card in names for card in (gpus or "").split(","))
    assert "knee" in names
    assert "hash/16" in names


def test_lines_follow_the_points() -> None:
    curve = pcache.curve(RAG, points=20, bound=False)
    [axes] = draw_curve(curve).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["LRU, by tokens"].get_ydata().tolist() == curve.points["hit_rate"].tolist()
    assert "best possible eviction" not in lines


def test_a_trace_that_never_hits() -> None:
    figure = draw_curve(pcache.curve(small_trace([[1], [2]]), block_size=1))
    figure.draw_without_rendering()
    assert not [text for text in figure.axes[0].texts if "knee" in text.get_text()]


def test_a_sample_has_a_band_on_each_line() -> None:
    curve = pcache.curve(RAG, points=20, sample=0.3)
    bands = draw_curve(curve).axes[0].collections
    for band, kind in zip(bands, ("hit_rate", "hit_rate_request_mean"), strict=True):
        [path] = band.get_paths()
        widest = curve.points[kind] + curve.points[f"{kind}_error"]
        assert path.vertices[:, 1].max() == pytest.approx(widest.max())
    assert not draw_curve(pcache.curve(RAG, points=20, bound=False)).axes[0].collections
