"""Tree-of-thought search: thoughts branch, the best are kept and branch again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pcache.trace.generate.contract import (
    SECONDS_PER_TOKEN,
    Draft,
    Workload,
    parameter,
    workload,
)
from pcache.trace.generate.draws import Draws

__all__ = ["TreeOfThought"]


@workload("tree-of-thought")
class TreeOfThought(Workload):
    """A problem under shared instructions. Each kept thought asks for `branches` next ones at
    once, all with the same prompt: the path of thoughts from the problem to it."""

    rate: float = parameter(0.15, "problems that start per second, on average", 1e-6, 1e6)
    instruction_tokens: int = parameter(500, "tokens of the shared instructions", 1, 10**6)
    problem_tokens: int = parameter(250, "mean tokens of a problem", 1, 1_000_000)
    depth: int = parameter(4, "levels of thoughts", 1, 100)
    branches: int = parameter(4, "thoughts asked for at each kept thought", 1, 1000)
    kept: int = parameter(2, "thoughts of a level that go on", 1, 1000)
    thought_tokens: int = parameter(120, "mean tokens of a thought", 1, 1_000_000)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One problem a session; `turn` is the level."""
        instruction = draws.text(self.instruction_tokens)
        while True:
            problem = draws.text(draws.length(self.problem_tokens))
            paths, now = [np.concatenate((instruction, problem))], 0.0
            drafts = []
            for level in range(self.depth):
                thoughts = [
                    Draft(now, path, draws.text(draws.length(self.thought_tokens)), level)
                    for path in paths
                    for _ in range(self.branches)
                ]
                drafts += thoughts
                paths = []
                while thoughts and len(paths) < self.kept:
                    best = thoughts.pop(draws.below(len(thoughts)))
                    paths.append(np.concatenate((best.prompt, best.output)))
                longest = max(len(draft.output) for draft in drafts[-self.branches :])
                now += longest * SECONDS_PER_TOKEN
            yield drafts
