"""Self-consistency: n answers to one question, sampled at once; a vote follows elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pcache.trace.generate.contract import Draft, Workload, parameter, workload
from pcache.trace.generate.draws import Draws

__all__ = ["SelfConsistency"]


@workload("self-consistency")
class SelfConsistency(Workload):
    """Worked examples all questions share, a question, and `samples` requests with that prompt."""

    requests: int = parameter(480, "requests in the trace", 1, 1_000_000)
    rate: float = parameter(0.25, "questions per second, on average", 1e-6, 1e6)
    example_tokens: int = parameter(900, "tokens of the shared worked examples", 1, 10**6)
    question_tokens: int = parameter(350, "mean tokens of a question", 1, 1_000_000)
    samples: int = parameter(12, "answers sampled for a question", 1, 4096)
    output_tokens: int = parameter(220, "mean tokens of an answer", 1, 1_000_000)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One question a session."""
        examples = draws.text(self.example_tokens)
        while True:
            question = draws.text(draws.length(self.question_tokens))
            prompt = np.concatenate((examples, question))
            yield [
                Draft(0.0, prompt, draws.text(draws.length(self.output_tokens)))
                for _ in range(self.samples)
            ]
