"""The charts of the page, one file each, in the order of the page.

A chart is a function that draws what it can from the runs (or pairs) it gets, or answers None when
they hold nothing it could show. To add one: write its file, list it here.
"""

from __future__ import annotations

from pcache.report.figures import (
    hit_rate,
    ladder,
    over_time,
    pair_bars,
    pair_cdf,
    pair_differences,
    pair_scatter,
    pair_steps,
    ttft_by_share,
    ttft_cdf,
)
from pcache.report.figures.chart import Chart

__all__ = ["PAIR_CHARTS", "RUN_CHARTS", "Chart"]

RUN_CHARTS = (hit_rate.draw, ttft_cdf.draw, ttft_by_share.draw, over_time.draw, ladder.draw)
PAIR_CHARTS = (
    pair_differences.draw,
    pair_bars.draw,
    pair_cdf.draw,
    pair_scatter.draw,
    pair_steps.draw,
)
