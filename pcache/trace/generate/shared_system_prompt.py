"""Independent questions under a few long system prompts, as behind a product's assistant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pcache.trace.generate.contract import Draft, Workload, parameter, workload
from pcache.trace.generate.draws import Draws, popularity

__all__ = ["SharedSystemPrompt"]


@workload("shared-system-prompt")
class SharedSystemPrompt(Workload):
    """Each request is one of the system prompts, by popularity, and a question of its own."""

    rate: float = parameter(2.0, "requests per second, on average", 1e-6, 1e6)
    prompts: int = parameter(8, "different system prompts", 1, 10_000)
    zipf: float = parameter(1.0, "Zipf exponent of their popularity, 0 = all equal", 0, 10)
    system_tokens: int = parameter(1800, "mean tokens of a system prompt", 1, 1_000_000)
    question_tokens: int = parameter(220, "mean tokens of a question", 1, 1_000_000)
    output_tokens: int = parameter(180, "mean tokens of an answer", 1, 1_000_000)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One request a session."""
        systems = [draws.text(draws.length(self.system_tokens)) for _ in range(self.prompts)]
        chosen = popularity(self.prompts, self.zipf)
        while True:
            question = draws.text(draws.length(self.question_tokens, 0.8))
            prompt = np.concatenate((systems[draws.choose(chosen)], question))
            yield [Draft(0.0, prompt, draws.text(draws.length(self.output_tokens, 0.7)))]
