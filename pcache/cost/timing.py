"""When a step is launched, runs and ends, and how long the host is busy with it.

A roofline's host takes no time: a step starts when its predecessor has ended. A profile knows what
the engine's one host thread does around a step, and so whether the GPU waits for it:

    PLAN    plan + plan_request·requests + plan_token·new tokens      until the launch
    LAUNCH  graph + graph_request·requests, or eager + eager_request·requests
    COMMIT  commit + commit_request·requests

The GPU hears of a step `submit` after its launch, and if idle begins `start` later, or `start_eager` if
it is no graph. A graph is submitted as a whole; an eager step cannot end before its launch has, and
where that takes longer the GPU idles for the rest. A synchronous device (a CPU) computes while the host
launches. How long it runs depends on what ran before (`cost.throttle`).
"""

from __future__ import annotations

from pcache.cost.contract import CostModel
from pcache.cost.profiled import busy_ns, profiled_ns, runs_in_graph
from pcache.cost.roofline import roofline_ns
from pcache.cost.throttle import rest, throttled_ns
from pcache.jit import hot
from pcache.types import Records

__all__ = ["HOST", "commit_ns", "run_step"]

HOST = (
    "plan", "plan_request", "plan_token", "submit", "start", "start_eager", "graph",
    "graph_request", "eager", "eager_request", "commit", "commit_request", "synchronous",
)  # fmt: skip
(
    _PLAN, _PLAN_REQUEST, _PLAN_TOKEN, _SUBMIT, _START, _START_EAGER, _GRAPH, _GRAPH_REQUEST,
    _EAGER, _EAGER_REQUEST, _COMMIT, _COMMIT_REQUEST, _SYNCHRONOUS,
) = range(len(HOST))  # fmt: skip


@hot
def run_step(model: CostModel, step: Records, planned_at_ns: int, gpu_free_at_ns: int) -> None:
    """Fill in the instants of a step whose planning began at `planned_at_ns`, on a GPU busy until
    `gpu_free_at_ns`."""
    at = step[0]
    if len(model.host) == 0:
        at.launched_at_ns = at.host_free_at_ns = planned_at_ns
        at.starts_at_ns = max(planned_at_ns, gpu_free_at_ns)
        at.ends_at_ns = at.starts_at_ns + roofline_ns(model, step)
        return
    host = model.host
    tokens = at.prefill_tokens + at.decode_tokens
    planning = host[_PLAN] + host[_PLAN_REQUEST] * at.num_requests + host[_PLAN_TOKEN] * tokens
    start, launching = host[_START_EAGER], host[_EAGER] + host[_EAGER_REQUEST] * at.num_requests
    graph = runs_in_graph(model, step)
    if graph:
        start, launching = host[_START], host[_GRAPH] + host[_GRAPH_REQUEST] * at.num_requests
    launched_at = planned_at_ns + planning
    submitted_at = launched_at + host[_SUBMIT]
    starts_at = max(submitted_at, float(gpu_free_at_ns))
    begins_at = max(starts_at, submitted_at + start)
    idle = begins_at - gpu_free_at_ns
    cool = profiled_ns(model, step)
    ends_at = begins_at + throttled_ns(model, step, cool, busy_ns(model, step), idle)
    if not graph and launched_at + launching > ends_at:
        rest(model, step, launched_at + launching - ends_at)
        ends_at = launched_at + launching
    at.launched_at_ns, at.starts_at_ns = int(launched_at + 0.5), int(starts_at + 0.5)
    at.ends_at_ns = int(ends_at + 0.5)
    at.host_free_at_ns = int(launched_at + launching + 0.5)
    if host[_SYNCHRONOUS] > 0:
        at.host_free_at_ns = int(ends_at + launching + 0.5)


@hot
def commit_ns(model: CostModel, num_requests: int) -> int:
    """How long the host is busy with the tokens of a step before it plans again."""
    if len(model.host) == 0:
        return 0
    return int(model.host[_COMMIT] + model.host[_COMMIT_REQUEST] * num_requests + 0.5)
