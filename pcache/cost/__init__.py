"""How long a step takes: the interface between scheduler loop, roofline and measured profiles."""

from pcache.cost.contract import (
    CONTEXT_TILE,
    CostModel,
    StepCost,
    clear_sums,
    describe_request,
    step_record,
)
from pcache.cost.timing import commit_ns, run_step

__all__ = [
    "CONTEXT_TILE", "CostModel", "StepCost", "clear_sums", "commit_ns", "describe_request", "run_step",
    "step_record",
]  # fmt: skip
