"""Three ways to find the longest cached prefix of a prompt, over token ids and compiled alike.

A *trie* has a node a token. A *radix tree* has a node where prompts part, and keeps its tokens. *Block
hashes* are a flat table in which the key of a block is a hash over its tokens and the key before it,
so that a hit on block k means that all tokens up to it agree. All three find children or blocks in
one open-addressing table of 64-bit keys at no more than half load.

Cost of a look-up: the trie probes once a token, the radix tree compares tokens and probes once a
node, hashing mixes every token and probes once a block; none depends on how much is cached, except
through the processor's caches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import compiled
from pcache.types import I4, I8

__all__ = ["Index", "empty_index", "hash_add", "hash_find", "radix_add", "radix_find", "trie_add",
           "trie_find"]  # fmt: skip

_ROOT = 1
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Index(NamedTuple):
    """`keys` and `values` are the table, 0 is a hole. Of a radix tree `first` and `last` bound a node's
    tokens in `tokens`; `used[0]` counts nodes (of a hash table: blocks), `used[1]` stored tokens."""

    keys: I8
    values: I4
    first: I4
    last: I4
    tokens: I4
    used: I8


def empty_index(entries: int, nodes: int, tokens: int) -> Index:
    """Room for so many table entries, tree nodes and stored tokens."""
    size = 1 << (2 * entries - 1).bit_length()
    return Index(
        np.zeros(size, np.int64), np.zeros(size, np.int32), np.zeros(nodes + 2, np.int32),
        np.zeros(nodes + 2, np.int32), np.zeros(tokens, np.int32), np.array([_ROOT, 0], np.int64),
    )  # fmt: skip


@compiled
def _mixed(a: int, b: int) -> int:
    """A 64-bit key of two numbers, never 0."""
    x = (np.uint64(a) * _MULTIPLIER) ^ (np.uint64(b) + _MULTIPLIER)
    x = (x ^ (x >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.int64((x ^ (x >> np.uint64(29))) | np.uint64(1))  # type: ignore[return-value]


@compiled
def _slot(keys: I8, key: int) -> int:
    mask = len(keys) - 1
    at = (key >> 1) & mask
    while keys[at] not in (0, key):
        at = (at + 1) & mask
    return at


@compiled
def trie_add(index: Index, prompt: I4) -> None:
    """A node for every token that is not there yet."""
    node = _ROOT
    for token in prompt:
        key = (node << 32) | (token << 1) | 1
        at = _slot(index.keys, _mixed(key, 0))
        if index.keys[at] == 0:
            index.used[0] += 1
            index.keys[at], index.values[at] = _mixed(key, 0), index.used[0]
        node = index.values[at]


@compiled
def trie_find(index: Index, prompt: I4) -> tuple[int, int]:
    """Tokens found and nodes passed."""
    node, depth = _ROOT, 0
    for token in prompt:
        key = (node << 32) | (token << 1) | 1
        at = _slot(index.keys, _mixed(key, 0))
        if index.keys[at] == 0:
            break
        node = index.values[at]
        depth += 1
    return depth, depth


@compiled
def radix_add(index: Index, prompt: I4) -> None:
    """Split where the prompt parts from what is there, and hang the rest below as one node."""
    node, depth = _ROOT, 0
    while depth < len(prompt):
        key = _mixed((node << 32) | (prompt[depth] << 1) | 1, 0)
        at = _slot(index.keys, key)
        if index.keys[at] == 0:
            index.used[0] += 1
            leaf, begin = index.used[0], index.used[1]
            index.keys[at], index.values[at] = key, leaf
            index.tokens[begin : begin + len(prompt) - depth] = prompt[depth:]
            index.used[1] += len(prompt) - depth
            index.first[leaf], index.last[leaf] = begin, index.used[1]
            return
        child = index.values[at]
        begin, end = index.first[child], index.last[child]
        same = 0
        while begin + same < end and depth + same < len(prompt):
            if index.tokens[begin + same] != prompt[depth + same]:
                break
            same += 1
        if begin + same < end:
            index.used[0] += 1
            upper = index.used[0]
            index.first[upper], index.last[upper] = begin, begin + same
            index.first[child] = begin + same
            index.values[at] = upper
            below = _mixed((upper << 32) | (index.tokens[begin + same] << 1) | 1, 0)
            place = _slot(index.keys, below)
            index.keys[place], index.values[place] = below, child
            child = upper
        node, depth = child, depth + same


@compiled
def radix_find(index: Index, prompt: I4) -> tuple[int, int]:
    """Tokens found and nodes passed."""
    node, depth, passed = _ROOT, 0, 0
    while depth < len(prompt):
        key = _mixed((node << 32) | (prompt[depth] << 1) | 1, 0)
        at = _slot(index.keys, key)
        if index.keys[at] == 0:
            break
        node = index.values[at]
        passed += 1
        begin, end = index.first[node], index.last[node]
        same = 0
        while begin + same < end and depth + same < len(prompt):
            if index.tokens[begin + same] != prompt[depth + same]:
                break
            same += 1
        depth += same
        if begin + same < end:
            break
    return depth, passed


@compiled
def hash_add(index: Index, prompt: I4, block: int) -> None:
    """An entry for every full block."""
    key = 0
    for first in range(0, len(prompt) - block + 1, block):
        for token in prompt[first : first + block]:
            key = _mixed(key, token)
        at = _slot(index.keys, key)
        if index.keys[at] == 0:
            index.used[0] += 1
            index.keys[at], index.values[at] = key, index.used[0]


@compiled
def hash_find(index: Index, prompt: I4, block: int) -> tuple[int, int]:
    """Tokens found and blocks passed."""
    key, depth = 0, 0
    for first in range(0, len(prompt) - block + 1, block):
        for token in prompt[first : first + block]:
            key = _mixed(key, token)
        if index.keys[_slot(index.keys, key)] == 0:
            break
        depth += block
    return depth, depth // block
