"""The trace in memory: one row a request, columns as arrays, prompts as 64-bit symbols.

A *symbol* stands for `symbol_tokens` consecutive tokens. Token-id traces have one symbol a token;
hash-block traces have one symbol a block (512 tokens for Mooncake, 16 for Bailian). The token at
position t of a prompt is `symbols[t // symbol_tokens] * symbol_tokens + t % symbol_tokens`, so two
prompts share exactly the leading tokens whose symbols are equal, and a partial last block is a
prefix of the full one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["F8", "I4", "I8", "IMAGE_SYMBOL", "Bool", "Image", "Records", "Trace"]

I4 = npt.NDArray[np.int32]
I8 = npt.NDArray[np.int64]
F8 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Records = Any
"""A numpy array of records, `array[i].field`; its docstring names the fields."""

IMAGE_SYMBOL = 1 << 61
"""Token-id traces: position j of image number k has the symbol `IMAGE_SYMBOL + (k << 24) + j`."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image inside a prompt: `num_tokens` positions from `start` belong to content `hash`."""

    request: int
    start: int
    num_tokens: int
    hash: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival.

    Every array has one entry a request except `symbols`. Request i's symbols are
    `symbols[symbol_offsets[i]:symbol_offsets[i + 1]]`: first ceil(prompt_tokens / symbol_tokens) of
    the prompt, then, only where the trace knows the generated tokens (and symbol_tokens is 1), one
    for each output token. An output that is not known is unique to its request.

    `arrival_ns` is non-decreasing and starts at or after 0. `prompt_tokens` and `output_tokens` are
    at least 1. `salts` and `classes` hold names; `salt` and `workload_class` index them (0 is "" =
    none). A higher `priority` is more urgent. `workload_class` is the generator's or log's name for
    the kind of traffic. A request with sampling width n was expanded into n, `ID#0` … `ID#n-1`.
    """

    name: str
    source_format: str
    sha256: str
    symbol_tokens: int
    request_ids: list[str]
    session_ids: list[str]
    turn: I4
    arrival_ns: I8
    prompt_tokens: I4
    output_tokens: I4
    priority: I4
    salt: I4
    salts: list[str]
    workload_class: I4
    classes: list[str]
    symbols: I8
    symbol_offsets: I8
    images: list[Image] = field(default_factory=list)
    tokenizer: str = ""
    has_content: bool = True
    """False for length-only traces, whose prompts share nothing because the trace does not say."""

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    def prompt_symbols(self, request: int) -> I8:
        """Symbols of one prompt, int64 [ceil(prompt_tokens / symbol_tokens)]."""
        begin = int(self.symbol_offsets[request])
        length = int(self.prompt_tokens[request])
        return self.symbols[begin : begin + -(-length // self.symbol_tokens)]

    def known_output(self, request: int) -> I8:
        """Generated token ids the trace knows, int64 [output_tokens], or an empty array."""
        begin = int(self.symbol_offsets[request])
        length = int(self.prompt_tokens[request])
        skip = -(-length // self.symbol_tokens)
        return self.symbols[begin + skip : int(self.symbol_offsets[request + 1])]

    def prompt_token_keys(self, request: int) -> I8:
        """The prompt as one 64-bit key a token, int64 [prompt_tokens]."""
        length = int(self.prompt_tokens[request])
        symbols = self.prompt_symbols(request)
        if self.symbol_tokens == 1:
            return symbols
        within = np.arange(length, dtype=np.int64) % self.symbol_tokens
        return np.repeat(symbols, self.symbol_tokens)[:length] * self.symbol_tokens + within
