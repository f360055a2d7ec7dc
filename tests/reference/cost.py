"""Cost models in plain Python, from the formulas that pcache.cost states."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from pcache.cost import CostModel
from pcache.cost.profiled import TERMS
from pcache.cost.timing import HOST

Part = tuple[int, int, int]
"""Tokens cached, tokens computed, tokens sampled, of a request in a step."""


@dataclass
class Instants:
    launched: int
    starts: int
    ends: int
    host_free: int


@dataclass
class Gpu:
    """Until when it is busy, and the load that each stage of its throttle sees."""

    free: int = 0
    loads: list[float] = field(default_factory=lambda: [0.0, 0.0])


def run_step(model: CostModel, parts: list[Part], shared: int, planned: int, gpu: Gpu) -> Instants:
    """`shared`: KV tokens that several of the requests read from the same blocks."""
    if len(model.host) == 0:
        starts = max(planned, gpu.free)
        gpu.free = starts + roofline(model, parts)
        return Instants(planned, starts, gpu.free, planned)
    host = dict(zip(HOST, model.host.tolist(), strict=True))
    num, tokens = len(parts), sum(count for _, count, _ in parts)
    launched = planned + host["plan"] + host["plan_request"] * num + host["plan_token"] * tokens
    kind = "graph" if graph_of(model, parts) else "eager"
    launching = host[kind] + host[f"{kind}_request"] * num
    heard = launched + host["submit"]
    starts = max(heard, gpu.free)
    begins = max(starts, heard + host["start" if kind == "graph" else "start_eager"])
    ends = begins + throttled(model, parts, shared, begins, gpu)
    if kind == "eager" and launched + launching > ends:
        for number, (*_, tau) in enumerate(model.throttle.tolist()):
            gpu.loads[number] *= math.exp(-(launched + launching - ends) / tau)
        ends = launched + launching
    free = (ends if host["synchronous"] else launched) + launching
    gpu.free = int(ends + 0.5)
    return Instants(*(int(at + 0.5) for at in (launched, starts, ends, free)))


def throttled(model: CostModel, parts: list[Part], shared: int, begins: float, gpu: Gpu) -> float:
    """Duration of a step; brings the loads to its end."""
    cool = profiled(model, parts, shared)
    draw, of_shared = model.power.tolist()
    term = dict(zip(TERMS, model.terms.tolist(), strict=True))
    last = model.linear[-1].tolist()
    computing = sum(count for _, count, _ in parts) * (last[1] / last[0])
    computing += term["tile_context"] * sum(map(tile_context, parts))
    of_decodes = sum(max(128, start + 1) for start, count, _ in parts if count == 1)
    computing += of_shared * term["shared_context"] * min(shared, of_decodes)
    share = min(1.0, computing / cool)
    power = share + draw * (1 - share)
    duration = cool
    stages = model.throttle.tolist()
    for number, (of_compute, of_memory, threshold, tau) in enumerate(stages):
        load = gpu.loads[number] * math.exp(-(begins - gpu.free) / tau)
        gpu.loads[number] = load
        slowdown = of_compute * share + of_memory * (1 - share)
        duration += slowdown * excess(load, power, cool / tau, threshold) * cool
    for number, (*_, tau) in enumerate(stages):
        gpu.loads[number] = power + (gpu.loads[number] - power) * math.exp(-duration / tau)
    return duration


def excess(load: float, share: float, elapsed: float, threshold: float) -> float:
    """Mean of max(0, share + (load - share)·exp(-t) - threshold) for t from 0 to `elapsed`."""

    def integral(t: float) -> float:
        return (share - threshold) * t - (load - share) * math.exp(-t)

    cuts = [0.0, elapsed]
    if (load > threshold) != (share > threshold):
        cuts.insert(1, min(elapsed, math.log((load - share) / (threshold - share))))
    parts = [integral(b) - integral(a) for a, b in pairwise(cuts)]
    return sum(max(0.0, part) for part in parts) / elapsed


def tile_context(part: Part) -> int:
    """Context of all tiles of 32 new tokens; none for a single token."""
    start, count, _ = part
    return sum(start + end for end in range(32, count + 32, 32)) if count > 1 else 0


def commit_ns(model: CostModel, num_requests: int) -> int:
    if len(model.host) == 0:
        return 0
    host = dict(zip(HOST, model.host.tolist(), strict=True))
    return int(host["commit"] + host["commit_request"] * num_requests + 0.5)


def roofline(model: CostModel, parts: list[Part]) -> int:
    """Nanoseconds of a step."""
    linear, head, pair, fixed_bytes, kv_bytes, flops, bandwidth, link, fixed = model.rates.tolist()
    tokens = sum(count for _, count, _ in parts)
    context = sum(start + count for start, count, _ in parts)
    work = linear * tokens + head * sum(part[2] for part in parts) + pair * pairs_of(parts)
    moved = fixed_bytes + kv_bytes * (context + tokens)
    return int(max(work / flops, moved / bandwidth) * 1e9 + link * tokens + fixed + 0.5)


def pairs_of(parts: list[Part]) -> int:
    return sum(sum(range(start + 1, start + count + 1)) for start, count, _ in parts)


def graph_of(model: CostModel, parts: list[Part]) -> tuple[int, int] | None:
    """Extend tokens and decodes of the smallest graph that holds the step."""
    decodes, tokens, beside, (most,) = (
        [size for size in row if size >= 0] for row in model.sizes.tolist()
    )
    extends = [count for _, count, _ in parts if count > 1]
    ones = len(parts) - len(extends)
    if not extends:
        fits = [(0, size) for size in decodes if size >= ones]
    elif len(extends) > most:
        return None
    else:
        fits = [(a, b) for a in tokens for b in beside if a >= sum(extends) and b >= ones]
    return min(fits, default=None)


def profiled(model: CostModel, parts: list[Part], shared: int) -> float:
    term = dict(zip(TERMS, model.terms.tolist(), strict=True))
    extends = [part for part in parts if part[1] > 1]
    ones = [part for part in parts if part[1] == 1]
    graph = graph_of(model, parts)
    if graph:
        padded, samples = sum(graph), graph[1] + (int(model.sizes[3, 0]) if graph[0] else 0)
    else:
        padded = sum(-(-size // 16) * 16 for size in (sum(p[1] for p in extends), len(ones)))
        if extends and padded > 512:
            padded = -(-padded // 128) * 128
        samples = sum(part[2] for part in parts)
    padded = 512 if padded == 448 and extends else padded
    ns = interpolated(model.linear.tolist(), padded) + (0 if graph else term["eager"])
    if samples:
        ns += term["head"] + term["sample"] * samples
    if extends:
        context = sum(start + count for start, count, _ in extends)
        ns += term["extends"] + term["extend"] * len(extends)
        ns += term["extend_context"] * context
        ns += term["tile_context"] * sum(map(tile_context, extends))
        ns += term["split_extends"] * any(start + count > 128 for start, count, _ in extends)
    if ones:
        context = sum(max(128, start + 1) for start, _, _ in ones)
        shared = min(shared, context)
        ns += term["decode"] * len(ones) + term["shared_context"] * shared
        ns += interpolated(model.context.tolist(), context - shared)
        ns += term["split_decodes"] * any(start + 1 > 128 for start, *_ in ones)
    return ns


def interpolated(knots: list[list[float]], tokens: int) -> float:
    tokens = max(tokens, int(knots[0][0]))
    segments = [(a, b) for a, b in pairwise(knots) if tokens > a[0]]
    (x0, y0), (x1, y1) = segments[-1] if segments else (knots[0], knots[1])
    return y0 + (y1 - y0) / (x1 - x0) * (tokens - x0)
