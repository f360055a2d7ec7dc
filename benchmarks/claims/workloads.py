"""A workload whose every length is exact: prompts that share their beginning and end on their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pcache.trace.generate.contract import Draft, Workload, parameter
from pcache.trace.generate.draws import Draws

__all__ = ["SharedStart"]


@dataclass(frozen=True, kw_only=True)
class SharedStart(Workload):
    """`shared_tokens` that all prompts begin with and `own_tokens` each, one every `gap_s` seconds."""

    name: ClassVar[str] = "shared-start"

    shared_tokens: int = parameter(1000, "tokens that all prompts begin with", 1, 1_000_000)
    own_tokens: int = parameter(100, "tokens of each prompt alone", 0, 1_000_000)
    output_tokens: int = parameter(32, "tokens of an answer", 1, 1_000_000)
    gap_s: float = parameter(2.0, "seconds between arrivals", 0, 1e6)

    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """All requests as one session, so that their arrivals are exact."""
        shared = draws.text(self.shared_tokens)
        while True:
            yield [
                Draft(
                    number * self.gap_s,
                    np.concatenate((shared, draws.text(self.own_tokens)))[: self.prompt_tokens],
                    draws.text(self.output_tokens),
                    number,
                )
                for number in range(self.requests)
            ]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of every prompt."""
        return self.shared_tokens + self.own_tokens
