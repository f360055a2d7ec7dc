"""Time device work: CUDA graph replays between events, with a cold L2 cache, by percentile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["Work", "time_work"]

_FLUSH_BYTES = 256 << 20  # several times the L2 cache of any GPU of today
_REPLAYS = 30


@dataclass(frozen=True, slots=True)
class Work:
    """`run` launches `passes` equal passes, each over its own buffers so that none finds L2 warm."""

    run: Callable[[], None]
    passes: int


def time_work(work: Work) -> tuple[float, float, float]:
    """Microseconds a pass: the 20th, 50th and 80th percentile of 30 replays of one CUDA graph."""
    work.run()  # compiles and warms up
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work.run()
    graph.replay()
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(_REPLAYS)]
    for start, end in events:
        flush.zero_()
        start.record()
        graph.replay()
        end.record()
    torch.cuda.synchronize()
    times = torch.tensor([start.elapsed_time(end) for start, end in events], dtype=torch.float64)
    p20, p50, p80 = (times.quantile(q).item() * 1e3 / work.passes for q in (0.2, 0.5, 0.8))
    return p20, p50, p80
