"""Hit rate, KV use and queue over time: small panels above each other on one time axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from pcache.report.figures.chart import (
    Chart,
    count_axis,
    legend_beside,
    legend_height,
    seconds_axis,
    share_axis,
)
from pcache.report.runs import Run
from pcache.report.series import (
    STEP_SLICES,
    hit_rate_over_requests,
    hit_rate_over_time,
    kv_over_time,
)
from pcache.report.style import MUTED, line_style, new_figure
from pcache.report.units import count_text

__all__ = ["draw"]

_PANELS = {
    "hit_rate": "Hit rate of the requests arriving then",
    "kv_tokens": "KV tokens held, running and cached",
    "pinned_tokens": "KV tokens of running requests",
    "num_waiting": "Requests waiting",
}


def draw(runs: Sequence[Run]) -> Chart | None:
    timed = [run for run in runs if hit_rate_over_time(run) is not None]
    if timed:
        return _over_time(timed)
    looked_up = [run for run in runs if len(run.counted)]
    return _over_requests(looked_up) if looked_up else None


def _over_time(runs: Sequence[Run]) -> Chart:
    hits, held = [hit_rate_over_time(run) for run in runs], [kv_over_time(run) for run in runs]
    frames = [frame for frame in (*hits, *held) if frame is not None]
    span = max(float(frame["seconds"].max()) for frame in frames)
    wanted = list(_PANELS) if any(frame is not None for frame in held) else ["hit_rate"]
    figure = new_figure(max(0.6 + 1.75 * len(wanted), legend_height([run.name for run in runs])))
    axes = figure.subplots(len(wanted), sharex=True, squeeze=False).ravel()
    divisor = seconds_axis(axes[-1].xaxis, span)
    handles = []
    for run, hit, held_by_run in zip(runs, hits, held, strict=True):
        for axis, field in zip(axes, wanted, strict=True):
            frame = hit if field == "hit_rate" else held_by_run
            if frame is not None:
                line = _line(axis, frame["seconds"] / divisor, frame[field], run)
                handles.extend(line if field == "hit_rate" else [])
    for axis, field in zip(axes, wanted, strict=True):
        axis.set_title(_PANELS[field])
        count_axis(axis.yaxis)
        axis.set_ylim(0, max(axis.get_ylim()[1], 1))
    share_axis(axes[0].yaxis)
    axes[-1].set_xlim(0, span / divisor)
    _capacity(axes[1:3], runs)
    legend_beside(figure, handles, [run.name for run in runs])
    if wanted == ["hit_rate"]:
        reading = "Each point is the hit rate of the prompt tokens arriving in one slice of time."
        return Chart("over_time", "Hit rate over time", reading, figure)
    reading = (
        "All panels share the time axis, so a dip in hit rate can be traced to a full cache or a "
        f"long queue. KV and queue are means over {STEP_SLICES} equal slices of each run; the hit "
        "rate is that of the prompt tokens arriving in each slice."
    )
    return Chart("over_time", "Hit rate, KV use and queue over time", reading, figure)


def _line(axis: Any, x: pd.Series[float], y: pd.Series[float], run: Run) -> list[Any]:
    marker = "o" if len(x) == 1 else None
    drawn: list[Any] = axis.plot(x, y, **line_style(run.color, run.dash), linewidth=1.3,
                                 marker=marker, markersize=4, clip_on=marker is None)  # fmt: skip
    return drawn


def _capacity(axes: Iterable[Any], runs: Sequence[Run]) -> None:
    """A dotted line at the capacity, where all runs have the same."""
    capacities = {run.summary.get("kv_capacity_tokens") for run in runs}
    capacity = capacities.pop() if len(capacities) == 1 else None
    if capacity is None:
        return
    for axis in axes:
        axis.axhline(capacity, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axis.set_ylim(0, capacity * 1.2)
        axis.annotate(f"capacity {count_text(capacity)} tokens", (1, capacity), xytext=(0, 3),
                      xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="right", color=MUTED, fontsize=8)  # fmt: skip


def _over_requests(runs: Sequence[Run]) -> Chart:
    figure = new_figure(max(3.4, legend_height([run.name for run in runs])))
    axes = figure.subplots()
    handles = []
    for run in runs:
        frame = hit_rate_over_requests(run)
        handles.extend(_line(axes, frame["request"], frame["hit_rate"], run))
    count_axis(axes.xaxis)
    share_axis(axes.yaxis)
    axes.set_xlim(left=0)
    axes.set_xlabel("request number in the trace")
    axes.set_ylabel("hit rate")
    legend_beside(figure, handles, [run.name for run in runs])
    reading = (
        "A replay has no clock, so its requests are counted instead: each point is the hit rate, "
        "by tokens, of one slice of the trace."
    )
    return Chart("over_time", "Hit rate along the trace", reading, figure)
