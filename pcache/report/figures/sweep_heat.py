"""A sweep as a map: policies against capacities, coloured by the share of requests in target."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pcache.report.figures.chart import Chart, wrapped
from pcache.report.figures.sweep_curves import lines_of
from pcache.report.style import INK, new_figure
from pcache.report.units import count_text

__all__ = ["draw"]

DARK_FROM = 0.6
"""Share of the scale from which text is white."""


def draw(cells: pd.DataFrame) -> Chart | None:
    """Shares of requests within the targets, or hit rates where the sweep had none."""
    targets = cells[["slo_ttft_ms", "slo_tpot_ms"]].notna().any(axis=None)
    column, words = ("within_slo", "requests within the targets") if targets else (
        "hit_rate", "hit rate",
    )  # fmt: skip
    lines = lines_of(cells)
    capacities = sorted(cells["kv_tokens"].fillna(np.inf).unique())
    if len(lines) * len(capacities) < 2:
        return None
    shares = np.full((len(lines), len(capacities)), np.nan)
    for row, part in enumerate(lines.values()):
        for capacity, share in zip(part["kv_tokens"].fillna(np.inf), part[column], strict=True):
            shares[row, capacities.index(capacity)] = share
    figure = new_figure(1.3 + 0.36 * len(lines))
    axes = figure.subplots()
    high = max(float(np.nanmax(shares)), 1e-9)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=high, aspect="auto")
    for (row, at), share in np.ndenumerate(shares):
        if not np.isnan(share):
            axes.text(
                at, row, f"{100 * share:.1f}", ha="center", va="center", fontsize=8,
                color="white" if share > DARK_FROM * high else INK,
            )  # fmt: skip
    axes.set_yticks(range(len(lines)), [wrapped(name, 34) for name in lines])
    axes.set_xticks(
        range(len(capacities)),
        ["unlimited" if np.isinf(c) else count_text(c) for c in capacities],
        rotation=0 if len(capacities) <= 10 else 45,
    )
    axes.set_xlabel("capacity, KV tokens")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return Chart(
        "sweep_map", f"Every cell: {words}", f"The numbers are percent; darker is more {words}.",
        figure,
    )  # fmt: skip
