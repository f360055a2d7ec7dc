"""Prompts and known outputs as symbols, line by line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from pcache.trace.records import Records
from pcache.trace.tokenize import ChatRejected, Tokenizer
from pcache.types import I8

__all__ = ["Sequences", "template_refusal"]


@dataclass(frozen=True, slots=True)
class Sequences:
    """Symbols of each line's prompt and known output (empty if not known), and their lengths.

    `tokenizer` names what made tokens of text; empty if the file has tokens.
    """

    prompts: list[I8]
    outputs: list[I8]
    prompt_tokens: I8
    output_tokens: I8
    tokenizer: str

    def interleaved(self, samples: I8) -> tuple[I8, I8]:
        """Symbols request by request, line i `samples[i]` times, and their number a request."""
        parts: list[I8] = [np.empty(0, np.int64)]
        for prompt, output, n in zip(self.prompts, self.outputs, samples, strict=True):
            parts += [prompt, output] * int(n)
        counts = np.array(
            [len(p) + len(o) for p, o in zip(self.prompts, self.outputs, strict=True)], np.int64
        )
        return np.concatenate(parts), np.repeat(counts, samples)


def template_refusal(
    records: Records, at: int, tokenizer: Tokenizer, error: ChatRejected
) -> NoReturn:
    """Raise the TraceError for a line whose messages the chat template refuses."""
    records.fail(
        at,
        f"the chat template of tokenizer '{tokenizer.name}' refuses these messages "
        f"({error.reason}); correct them or choose another tokenizer",
    )
