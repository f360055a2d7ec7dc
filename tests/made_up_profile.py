"""A profile that nobody measured, with numbers of a size at which every part of it shows."""

from __future__ import annotations

import numpy as np

from pcache.cost import CostModel, StepCost
from pcache.cost.points import StepShape
from pcache.cost.profile import EngineSizes, Profile
from pcache.cost.profiled import TERMS, profiled_ns
from pcache.cost.timing import HOST
from pcache.shapes import MODELS

SIZES = EngineSizes(
    decodes=(1, 2, 4, 8), extend_tokens=(4, 8, 16, 64), mixed_decodes=(0, 2, 8), max_extends=3,
)  # fmt: skip
KNOTS = (1, 2, 4, 8, 16, 32, 64, 256, 1024)
CONTEXT_KNOTS = (0, 100, 1000, 50_000)
CONTEXT = (30_011.0, 45_000.0, 130_000.0, 5_000_000.0)
LINEAR = tuple(2_000_000.0 + 7000 * size for size in KNOTS)
TERMS_NS = {
    "eager": 90_001, "head": 150_003, "sample": 1001, "extends": 40_007, "extend": 3001,
    "extend_context": 151, "tile_context": 417, "split_extends": 30_011, "decode": 2003,
    "split_decodes": 20_011, "shared_context": 61,
}  # fmt: skip
HOST_NS = {
    "plan": 110_007, "plan_request": 2003, "plan_token": 31, "submit": 90_001, "start": 60_011,
    "start_eager": 800_021, "graph": 250_013, "graph_request": 3001, "eager": 2_600_003,
    "eager_request": 7001, "commit": 120_011, "commit_request": 1009, "synchronous": 0,
}  # fmt: skip
THROTTLE = ((0.4, 0.1, 0.2, 3e6), (0.7, 0.3, 0.5, 40e6))
POWER = (0.15, 0.5)


def made_up_profile(**changes: object) -> Profile:
    known: dict[str, object] = {
        "name": "made-up", "gpu": "h200", "device": "NVIDIA H200", "shape": MODELS["llama-3.1-8b"],
        "dtype": "bf16", "block_size_tokens": 16, "memory_bytes": 141_000_000_000,
        "synchronous": False, "measured": {"date": "2026-01-31"}, "sizes": SIZES, "linear_sizes": KNOTS,
        "context_sizes": CONTEXT_KNOTS, "context": CONTEXT,
        "points": [], "loop": [], "complete": True, "terms": TERMS_NS, "linear": LINEAR,
        "host": HOST_NS, "throttle": THROTTLE, "power": POWER,
    }  # fmt: skip
    return Profile(**known | changes)  # type: ignore[arg-type]


def made_up_cost(**host: float) -> StepCost:
    """With other numbers of the host, if given."""
    return made_up_profile(host=HOST_NS | host).cost()


def gpu_ns(model: CostModel, *requests: tuple[int, int, int]) -> float:
    """What the model says of a step by its requests: cached, new, how many such."""
    return profiled_ns(model, StepShape(requests).sums())


def random_model(rng: np.random.Generator) -> CostModel:
    linear, context = (
        np.column_stack([sizes, np.cumsum(rng.exponential(1e5, len(sizes)))]).astype(float)
        for sizes in (KNOTS, CONTEXT_KNOTS)
    )
    return CostModel(
        np.zeros(9), rng.exponential(1e4, len(TERMS)), linear, context, SIZES.table(),
        rng.exponential(1e5, len(HOST)),
    )  # fmt: skip
