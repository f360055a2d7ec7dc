"""Questions about shared images, as in a shop or a document viewer."""

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

__all__ = ["ImagePrompts"]


@workload("image-prompts")
class ImagePrompts(Workload):
    """A system prompt, an image, and one or more questions about it; the image is a content hash
    and a span of tokens, so equal images share and different ones part."""

    rate: float = parameter(0.8, "sessions that start per second, on average", 1e-6, 1e6)
    images: int = parameter(120, "different images", 1, 100_000)
    zipf: float = parameter(1.0, "Zipf exponent of their popularity", 0, 10)
    image_tokens: int = parameter(1024, "tokens an image stands for", 1, 1_000_000)
    system_tokens: int = parameter(200, "tokens of the system prompt all share", 1, 10**6)
    turns: float = parameter(2.0, "mean questions about an image", 1, 1000)
    question_tokens: int = parameter(40, "mean tokens of a question", 1, 1_000_000)
    output_tokens: int = parameter(150, "mean tokens of an answer", 1, 1_000_000)
    think_s: float = parameter(12.0, "mean seconds between an answer and the next question", 0, 1e6)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One image and the questions about it a session."""
        system = draws.text(self.system_tokens)
        placeholder = np.zeros(self.image_tokens, np.int64)
        chosen = popularity(self.images, self.zipf)
        while True:
            name = f"image-{draws.choose(chosen)}"
            span = [(name, len(system), self.image_tokens)]
            history, now = np.concatenate((system, placeholder)), 0.0
            drafts = []
            for turn in range(draws.geometric(self.turns)):
                question = draws.text(draws.length(self.question_tokens))
                prompt = np.concatenate((history, question))
                output = draws.text(draws.length(self.output_tokens))
                drafts.append(Draft(now, prompt, output, turn, span))
                history = np.concatenate((prompt, output))
                now += len(output) * SECONDS_PER_TOKEN + draws.exponential(self.think_s)
            yield drafts
