"""The prefix forest: every distinct prefix of a trace as one static tree, built once at load.

Each node is a run of tokens that the same requests share; nodes split wherever two requests part or
one ends. A request is then just the node where its prompt ends, two requests share the tokens down
to their lowest common ancestor, and caches work on whole runs instead of tokens. Distinct salts get
distinct zero-length roots, so that tenants never share. Building costs one comparison a symbol.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import compiled
from pcache.types import I4, I8, Trace

__all__ = ["PrefixForest", "build_forest", "separate_prompts"]

ROOT = 0
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class PrefixForest(NamedTuple):
    """Static nodes, parents before children; node 0 is the root of everything.

    Node n holds the tokens at depths `start[n]` ≤ t < `end[n]` of every path through it, counted
    from the beginning of the prompt. Request i's prompt is the path to `prompt_node[i]`; its prompt
    plus all but the last of its output tokens is the path to `output_node[i]`.
    """

    parent: I4
    start: I4
    end: I4
    prompt_node: I4
    output_node: I4


def build_forest(trace: Trace) -> PrefixForest:
    """The forest of all prompts and, where requests generate more than one token, their outputs."""
    num = len(trace)
    capacity = 2 + len(trace.salts) + 5 * num
    parent, start, end = (np.zeros(capacity, np.int32) for _ in range(3))
    prompt_node, output_node = np.zeros(num, np.int32), np.zeros(num, np.int32)
    table_size = 1 << int(4 * capacity).bit_length()
    used = _insert_all(
        trace.symbols, trace.symbol_offsets, trace.symbol_tokens, trace.prompt_tokens,
        trace.output_tokens, trace.salt, len(trace.salts), parent, start, end,
        np.zeros(capacity, np.int64), np.full(table_size, -1, np.int64),
        np.zeros(table_size, np.int64), np.zeros(table_size, np.int32), prompt_node, output_node,
    )  # fmt: skip
    return _top_down(
        PrefixForest(parent[:used], start[:used], end[:used], prompt_node, output_node)
    )


def separate_prompts(forest: PrefixForest) -> PrefixForest:
    """The forest in which two prompts share nothing unless they are the same from end to end."""
    prompts, prompt_of = np.unique(forest.prompt_node, return_inverse=True)
    outputs = np.flatnonzero(forest.output_node != forest.prompt_node)
    first_output = 1 + len(prompts)
    total = first_output + len(outputs)
    parent, start, end = (np.zeros(total, np.int32) for _ in range(3))
    end[1:first_output] = forest.end[prompts]
    prompt_node = (1 + prompt_of).astype(np.int32)
    parent[first_output:] = prompt_node[outputs]
    start[first_output:] = forest.end[forest.prompt_node[outputs]]
    end[first_output:] = forest.end[forest.output_node[outputs]]
    output_node = prompt_node.copy()
    output_node[outputs] = np.arange(first_output, total, dtype=np.int32)
    return PrefixForest(parent, start, end, prompt_node, output_node)


def _top_down(forest: PrefixForest) -> PrefixForest:
    """Renumber so that a parent's number is smaller than its children's."""
    order = np.lexsort((forest.end, forest.start))
    # The sort is stable: zero-length nodes come first, the root before the salts' roots.
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return PrefixForest(
        rank[forest.parent[order]], forest.start[order], forest.end[order],
        rank[forest.prompt_node], rank[forest.output_node],
    )  # fmt: skip


@compiled
def _slot(keys_node: I8, keys_symbol: I8, node: int, symbol: int) -> int:
    """Place of (node, symbol) in the open-addressing table, or of the hole where it belongs."""
    mask = np.uint64(len(keys_node) - 1)
    mixed = (np.uint64(symbol) ^ (np.uint64(node) * _MULTIPLIER)) * _MULTIPLIER
    at = (mixed ^ (mixed >> np.uint64(29))) & mask
    while keys_node[at] != -1 and (keys_node[at] != node or keys_symbol[at] != symbol):
        at = (at + np.uint64(1)) & mask
    return at  # type: ignore[return-value]


@compiled
def _insert(
    symbols: I8, begin: int, symbol_tokens: int, length: int, node: int, used: int,
    parent: I4, start: I4, end: I4, source: I8, keys_node: I8, keys_symbol: I8, child_at: I4,
) -> tuple[int, int]:  # fmt: skip
    """Add `length` tokens below `node` (a salt's root); the node where they end, and nodes used."""
    depth = 0
    while depth < length:
        symbol = symbols[begin + depth // symbol_tokens]
        at = _slot(keys_node, keys_symbol, node, symbol)
        if keys_node[at] == -1:
            keys_node[at], keys_symbol[at], child_at[at] = node, symbol, used
            parent[used], start[used], end[used], source[used] = node, depth, length, begin
            return used, used + 1
        child = child_at[at]
        limit = min(end[child], length)
        index = depth // symbol_tokens
        last = (limit - 1) // symbol_tokens
        while index <= last and symbols[source[child] + index] == symbols[begin + index]:
            index += 1
        shared = min(limit, index * symbol_tokens)
        if shared < end[child]:
            upper = used
            used += 1
            parent[upper], start[upper], end[upper], source[upper] = (
                node,
                depth,
                shared,
                source[child],
            )
            child_at[at] = upper
            parent[child], start[child] = upper, shared
            lower_symbol = symbols[source[child] + shared // symbol_tokens]
            at = _slot(keys_node, keys_symbol, upper, lower_symbol)
            keys_node[at], keys_symbol[at], child_at[at] = upper, lower_symbol, child
            child = upper
        node, depth = child, shared
    return node, used


@compiled
def _insert_all(
    symbols: I8, offsets: I8, symbol_tokens: int, prompt_tokens: I4, output_tokens: I4, salt: I4,
    num_salts: int, parent: I4, start: I4, end: I4, source: I8, keys_node: I8, keys_symbol: I8,
    child_at: I4, prompt_node: I4, output_node: I4,
) -> int:  # fmt: skip
    used = 1 + num_salts  # node 1 + s is the root of salt s
    for request in range(len(prompt_tokens)):
        begin, length = offsets[request], int(prompt_tokens[request])
        generated = max(int(output_tokens[request]) - 1, 0)  # the last sampled token has no KV
        num_symbols = offsets[request + 1] - begin
        known = num_symbols > (length + symbol_tokens - 1) // symbol_tokens
        node = 0
        for part in range(2):
            total = length if part == 0 or not known else length + generated
            node, used = _insert(
                symbols, begin, symbol_tokens, total, 1 + salt[request], used,
                parent, start, end, source, keys_node, keys_symbol, child_at,
            )  # fmt: skip
            if part == 0:
                prompt_node[request] = node
        if generated > 0 and not known:
            parent[used], start[used], end[used] = node, length, length + generated
            node, used = used, used + 1
        output_node[request] = node
    return used
