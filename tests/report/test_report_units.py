"""Numbers as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache.report.units import aligned, count_text, difference_text, duration_text, plural


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"), (0.0456, "0.046 ms"), (1, "1 ms"), (12.34, "12.3 ms"), (812, "812 ms"),
        (999.7, "1.00 s"), (1000, "1 s"), (5098, "5.10 s"), (27_844, "27.8 s"),
        (150_000, "2.5 min"),
    ],
)  # fmt: skip
def test_durations(milliseconds: float, text: str) -> None:
    assert duration_text(milliseconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (547.296, "547"), (832, "832"), (1000, "1 k"), (400_000, "400 k"),
        (1_048_576, "1.05 M"), (144.8e6, "145 M"),
    ],
)  # fmt: skip
def test_counts(count: float, text: str) -> None:
    assert count_text(count) == text


def test_signs_and_plurals() -> None:
    texts = [difference_text(value, "%") for value in (2.34, -0.11, 0.04, -0.04)]
    assert texts == ["+2.3 %", "−0.1 %", "0.0 %", "0.0 %"]
    assert (plural(1, "run"), plural(12031, "request")) == ("1 run", "12,031 requests")


def test_columns() -> None:
    assert aligned([12, 1234, None]) == ["12", "1,234", "–"]
    assert aligned([239.1, 5098.2]) == ["239", "5,098"]
    assert aligned([23.91, 509.82]) == ["23.9", "509.8"]
    assert aligned([0.5, 23.91]) == ["0.50", "23.91"]
    assert aligned([1529.4, 27844.0]) == ["1,529", "27,844"]
    assert aligned([0.467, 0.0], 100, 1) == ["46.7", "0.0"]
    assert aligned([None, math.nan]) == ["–", "–"]


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=8))
def test_a_column_has_the_same_decimals_throughout(values: list[float]) -> None:
    texts = aligned(values)
    assert len({len(text.partition(".")[2]) for text in texts}) == 1
    shown = [float(text.replace(",", "")) for text in texts]
    assert shown == pytest.approx(values, abs=0.5)
