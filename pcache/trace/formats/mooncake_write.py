"""Writing Mooncake traces: prompts of any trace as chained ids of blocks of one size.

An id stands for a block and everything before it, so equal ids mean equal prefixes exactly: blocks
are compared, not hashed. Ids are dense, in order of first appearance. Sharing that ends inside a
block cannot be expressed and is lost, as in any trace of hash blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from pcache.errors import ConfigError, TraceError
from pcache.types import I8, Trace

__all__ = ["chained_block_ids", "mooncake_lines"]


def mooncake_lines(trace: Trace, block_tokens: int) -> Iterator[bytes]:
    """One line a request, line feed included. Raises ConfigError or TraceError."""
    for request, ids in enumerate(chained_block_ids(trace, block_tokens)):
        milliseconds, rest = divmod(int(trace.arrival_ns[request]), 1_000_000)
        fields = {
            "timestamp": milliseconds + rest / 1e6 if rest else milliseconds,
            "input_length": int(trace.prompt_tokens[request]),
            "output_length": int(trace.output_tokens[request]),
            "hash_ids": ids,
        }
        yield (json.dumps(fields) + "\n").encode()


def chained_block_ids(trace: Trace, block_tokens: int) -> Iterator[list[int]]:
    """Ids of each prompt's blocks. Requests with different salts have no id in common."""
    if not trace.has_content:
        raise TraceError(
            trace.name, None, "holds lengths but no prompts; there is nothing to make blocks of"
        )
    per_block, per_symbol = (
        divmod(block_tokens, trace.symbol_tokens),
        divmod(trace.symbol_tokens, block_tokens),
    )
    if per_block[1] and per_symbol[1]:
        raise ConfigError(
            f"blocks of {block_tokens} tokens cannot be made of the trace's blocks of "
            f"{trace.symbol_tokens}; choose a multiple or a divisor"
        )
    ids: dict[tuple[int, bytes], int] = {}
    for request in range(len(trace)):
        symbols = trace.prompt_symbols(request)
        num_blocks = -(-int(trace.prompt_tokens[request]) // block_tokens)
        if per_symbol[0] > 1:
            symbols = _subdivide(symbols, per_symbol[0])[:num_blocks]
        width = max(per_block[0], 1)
        before = -1 - int(trace.salt[request])
        chain = []
        for block in range(num_blocks):
            content = symbols[block * width : (block + 1) * width].tobytes()
            before = ids.setdefault((before, content), len(ids))
            chain.append(before)
        yield chain


def _subdivide(symbols: I8, parts: int) -> I8:
    return (symbols[:, None] * parts + np.arange(parts)).ravel()
