"""A part of a trace, at another speed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pcache.errors import ConfigError, TraceError
from pcache.types import I8, Trace

__all__ = ["check_limits", "slice_trace"]


def slice_trace(
    trace: Trace,
    *,
    limit: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    time_scale: float = 1.0,
) -> Trace:
    """Requests that arrive at `start_s` ≤ t < `end_s`, of these the first `limit`.

    Times are seconds from the start of the trace; with `start_s` the part counts from there, so a
    request at start_s + 2 arrives at 2. `time_scale` 2.0 makes everything arrive twice as fast.
    Slicing comes first. The sha256 stays that of the whole file. Raises ConfigError for limits that
    mean nothing and TraceError if no request is left.
    """
    check_limits(limit, start_s, end_s, time_scale)
    shift = round((start_s or 0.0) * 1e9)
    begin = 0 if start_s is None else int(np.searchsorted(trace.arrival_ns, shift))
    end = len(trace)
    if end_s is not None:
        end = int(np.searchsorted(trace.arrival_ns, round(end_s * 1e9)))
    if limit is not None:
        end = min(end, begin + limit)
    if end <= begin:
        last = float(trace.arrival_ns[-1]) / 1e9 if len(trace) else 0.0
        raise TraceError(
            trace.name, None, f"no request arrives in this part; the last one arrives at {last:g} s"
        )
    if (begin, end, shift, time_scale) == (0, len(trace), 0, 1.0):
        return trace
    arrival = trace.arrival_ns[begin:end] - shift
    if time_scale != 1.0:
        arrival = np.rint(arrival / time_scale).astype(np.int64)
    return _cut(trace, begin, end, arrival)


def check_limits(
    limit: int | None, start_s: float | None, end_s: float | None, time_scale: float
) -> None:
    """Raise ConfigError for limits that mean nothing, whatever the trace."""
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; expected at least 1 request")
    for name, value in (("start", start_s), ("end", end_s)):
        if value is not None and not (0 <= value < 1e9):
            raise ConfigError(f"{name} is {value} s; expected 0 to 1e9 seconds")
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise ConfigError(f"end ({end_s} s) is not after start ({start_s} s); swap them")
    if not (math.isfinite(time_scale) and 1e-6 <= time_scale <= 1e6):
        raise ConfigError(f"time scale is {time_scale}; expected 1e-6 to 1e6, 2 is twice as fast")


def _cut(trace: Trace, begin: int, end: int, arrival_ns: I8) -> Trace:
    offsets = trace.symbol_offsets[begin : end + 1]
    return replace(
        trace,
        request_ids=trace.request_ids[begin:end],
        session_ids=trace.session_ids[begin:end],
        turn=trace.turn[begin:end],
        arrival_ns=arrival_ns,
        prompt_tokens=trace.prompt_tokens[begin:end],
        output_tokens=trace.output_tokens[begin:end],
        priority=trace.priority[begin:end],
        salt=trace.salt[begin:end],
        workload_class=trace.workload_class[begin:end],
        symbols=trace.symbols[offsets[0] : offsets[-1]],
        symbol_offsets=offsets - offsets[0],
        images=[
            replace(image, request=image.request - begin)
            for image in trace.images
            if begin <= image.request < end
        ],
    )
