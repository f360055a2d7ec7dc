"""Tasks given by examples: the examples of a task are always the same, the question is new."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pcache.trace.generate.contract import Draft, Workload, parameter, workload
from pcache.trace.generate.draws import Draws, popularity

__all__ = ["FewShot"]


@workload("few-shot")
class FewShot(Workload):
    """Instruction, then a task's examples, then one question; short answers."""

    rate: float = parameter(4.0, "requests per second, on average", 1e-6, 1e6)
    tasks: int = parameter(24, "different tasks", 1, 10_000)
    zipf: float = parameter(0.9, "Zipf exponent of the tasks' popularity", 0, 10)
    instruction_tokens: int = parameter(120, "tokens of the instruction all tasks share", 1, 10**6)
    shots: int = parameter(6, "examples of a task", 1, 1000)
    shot_tokens: int = parameter(150, "mean tokens of an example", 1, 1_000_000)
    question_tokens: int = parameter(90, "mean tokens of a question", 1, 1_000_000)
    output_tokens: int = parameter(24, "mean tokens of an answer", 1, 1_000_000)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One request a session."""
        instruction = draws.text(self.instruction_tokens)
        examples = [
            np.concatenate([draws.text(draws.length(self.shot_tokens)) for _ in range(self.shots)])
            for _ in range(self.tasks)
        ]
        chosen = popularity(self.tasks, self.zipf)
        while True:
            question = draws.text(draws.length(self.question_tokens))
            prompt = np.concatenate((instruction, examples[draws.choose(chosen)], question))
            yield [Draft(0.0, prompt, draws.text(draws.length(self.output_tokens)))]
