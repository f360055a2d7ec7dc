"""Axes of durations: round ticks, few enough, and never a bare decade axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache.report.figures.chart import duration_axis
from pcache.report.style import new_figure
from pcache.report.units import duration_text


def labels(low_ms: float, high_ms: float, most_ticks: int = 9) -> list[str]:
    axes = new_figure(3).subplots()
    low, high = duration_axis(
        axes.xaxis, [np.array([low_ms, high_ms])], most_ticks=most_ticks
    )  # fmt: skip
    ticks = [tick for tick in axes.xaxis.get_majorticklocs() if low <= tick <= high]
    return [duration_text(tick) for tick in ticks]


@pytest.mark.parametrize(
    ("span", "most", "expected"),
    [
        ((8, 900), 9, ["10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s"]),
        ((8, 5000), 6, ["10 ms", "30 ms", "100 ms", "300 ms", "1 s", "3 s"]),
        ((8, 30_000), 4, ["10 ms", "100 ms", "1 s", "10 s"]),
        ((900, 3_000_000), 9, ["1 s", "3 s", "10 s", "30 s", "60 s", "3 min", "10 min", "30 min"]),
        ((100, 140), 9, ["0 ms", "25 ms", "50 ms", "75 ms", "100 ms", "125 ms"]),
    ],
)
def test_ticks_are_round(span: tuple[float, float], most: int, expected: list[str]) -> None:
    assert labels(*span, most) == expected


@given(st.floats(0.01, 1e6), st.floats(1, 1e6), st.integers(4, 9))
def test_every_axis_has_some_ticks_and_not_too_many(low: float, factor: float, most: int) -> None:
    assert 1 <= len(labels(low, low * factor, most)) <= max(most, 7)
