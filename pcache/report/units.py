"""Numbers as people read them: durations, shares, token counts, aligned table columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = [
    "MINUS",
    "MISSING",
    "aligned",
    "count_text",
    "difference_text",
    "duration_text",
    "plural",
    "share_text",
]

MISSING = "–"
MINUS = "−"


def duration_text(milliseconds: float) -> str:
    """`812 ms`, `1.23 s`, `4.5 min`: three significant digits and the fitting unit."""
    for limit, scale, unit in ((1000, 1, "ms"), (120_000, 1000, "s")):
        if milliseconds < limit * 0.9995:
            return f"{_significant(milliseconds / scale)} {unit}"
    return f"{_significant(milliseconds / 60_000)} min"


def share_text(share: float, digits: int = 1) -> str:
    """`36.6 %`"""
    return f"{100 * share:.{digits}f} %"


def count_text(count: float) -> str:
    """`400 k`, `1.05 M`, `832`: three significant digits."""
    for scale, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= scale * 0.9995:
            return f"{_significant(count / scale)}{unit}"
    return _significant(count)


def difference_text(difference: float, unit: str, digits: int = 1) -> str:
    """With its sign: `+2.3 %`, `−0.1 points`; no sign when it rounds to nothing."""
    text = f"{abs(difference):.{digits}f}"
    sign = "" if float(text) == 0 else "+" if difference > 0 else MINUS
    return f"{sign}{text} {unit}"


def aligned(
    values: Sequence[float | None], scale: float = 1, digits: int | None = None
) -> list[str]:
    """One column of a table, every number with the same decimals, so that digits line up.

    Unless `digits` says how many, whole numbers stay whole, and otherwise the smallest number shows
    three significant digits, within reason.
    """
    known = [value * scale for value in values if value is not None and not math.isnan(value)]
    if digits is None and all(isinstance(value, int) for value in known):
        digits = 0
    elif digits is None:
        smallest = min((abs(value) for value in known if value), default=1.0)
        most = 0 if min(map(abs, known)) >= 1000 else 1 if max(map(abs, known)) >= 100 else 2
        digits = max(0, min(most, 2 - math.floor(math.log10(smallest))))
    return [
        MISSING if value is None or math.isnan(value) else f"{value * scale:,.{digits}f}"
        for value in values
    ]


def plural(number: int, noun: str) -> str:
    """`1 request`, `12,031 requests`"""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    rounded = float(f"{abs(value):.3g}")  # 0.9997 has the digits of 1.00
    digits = min(max(0, 2 - math.floor(math.log10(rounded))), 3)
    text = f"{value:,.{digits}f}"
    exact = math.isclose(round(value, digits), value, rel_tol=1e-9)
    return text.rstrip("0").rstrip(".") if exact and "." in text else text
