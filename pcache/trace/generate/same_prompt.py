"""One prompt again and again, in batches: a load test, or an evaluation that repeats itself."""

from __future__ import annotations

from collections.abc import Iterator

from pcache.trace.generate.contract import Draft, Workload, parameter, workload
from pcache.trace.generate.draws import Draws

__all__ = ["SamePrompt"]


@workload("same-prompt")
class SamePrompt(Workload):
    """Batches of `batch` requests that arrive at one instant, all with the very same prompt."""

    requests: int = parameter(320, "requests in the trace", 1, 1_000_000)
    rate: float = parameter(0.1, "batches per second, on average", 1e-6, 1e6)
    batch: int = parameter(32, "requests of a batch", 1, 100_000)
    prompt_tokens: int = parameter(2048, "tokens of the prompt", 1, 1_000_000)
    output_tokens: int = parameter(128, "mean tokens of an answer", 1, 1_000_000)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One batch a session."""
        prompt = draws.text(self.prompt_tokens)
        while True:
            yield [
                Draft(0.0, prompt, draws.text(draws.length(self.output_tokens)))
                for _ in range(self.batch)
            ]
