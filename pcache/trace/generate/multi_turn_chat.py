"""Conversations: every turn's prompt is all that was said before and a new message."""

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

__all__ = ["MultiTurnChat"]


@workload("multi-turn-chat")
class MultiTurnChat(Workload):
    """A shared system prompt, then turns of message and answer; people think between turns."""

    requests: int = parameter(600, "requests in the trace", 1, 1_000_000)
    rate: float = parameter(0.5, "conversations that start per second, on average", 1e-6, 1e6)
    system_tokens: int = parameter(400, "tokens of the system prompt all chats share", 1, 10**6)
    turns: float = parameter(5.0, "mean turns of a conversation", 1, 1000)
    message_tokens: int = parameter(90, "mean tokens of a message", 1, 1_000_000)
    output_tokens: int = parameter(240, "mean tokens of an answer", 1, 1_000_000)
    think_s: float = parameter(20.0, "mean seconds between an answer and the next message", 0, 1e6)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """One conversation a session."""
        system = draws.text(self.system_tokens)
        while True:
            history, now = system, 0.0
            drafts = []
            for turn in range(draws.geometric(self.turns)):
                message = draws.text(draws.length(self.message_tokens, 0.9))
                prompt = np.concatenate((history, message))
                output = draws.text(draws.length(self.output_tokens, 0.7))
                drafts.append(Draft(now, prompt, output, turn))
                history = np.concatenate((prompt, output))
                now += len(output) * SECONDS_PER_TOKEN + draws.exponential(self.think_s)
            yield drafts
