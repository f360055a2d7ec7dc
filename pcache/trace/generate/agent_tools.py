"""Agents with long tool definitions: many short steps, each adding a call and its result."""

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
from pcache.trace.generate.draws import Draws, popularity

__all__ = ["AgentTools"]


@workload("agent-tools")
class AgentTools(Workload):
    """Tool definitions and instructions of an agent, a task, then calls and their results."""

    requests: int = parameter(600, "requests in the trace", 1, 1_000_000)
    rate: float = parameter(0.4, "tasks that start per second, on average", 1e-6, 1e6)
    agents: int = parameter(3, "different agents", 1, 1000)
    zipf: float = parameter(1.0, "Zipf exponent of their popularity", 0, 10)
    tool_tokens: int = parameter(3200, "mean tokens of an agent's tools", 1, 1_000_000)
    task_tokens: int = parameter(160, "mean tokens of a task", 1, 1_000_000)
    steps: float = parameter(9.0, "mean calls until a task is done", 1, 1000)
    output_tokens: int = parameter(60, "mean tokens of a call", 1, 1_000_000)
    result_tokens: int = parameter(280, "mean tokens of a result", 1, 1_000_000)
    tool_s: float = parameter(1.5, "mean seconds a tool takes", 0, 1e6)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One task a session."""
        tools = [draws.text(draws.length(self.tool_tokens, 0.3)) for _ in range(self.agents)]
        chosen = popularity(self.agents, self.zipf)
        while True:
            task = draws.text(draws.length(self.task_tokens))
            prompt, now = np.concatenate((tools[draws.choose(chosen)], task)), 0.0
            drafts = []
            for step in range(draws.geometric(self.steps)):
                output = draws.text(draws.length(self.output_tokens))
                drafts.append(Draft(now, prompt, output, step))
                result = draws.text(draws.length(self.result_tokens, 1.0))
                prompt = np.concatenate((prompt, output, result))
                now += len(output) * SECONDS_PER_TOKEN + draws.exponential(self.tool_s)
            yield drafts
