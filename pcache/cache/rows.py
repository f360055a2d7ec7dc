"""Rows: the places of admitted requests, and what the cache keeps for each of them.

A request that is admitted gets a row and gives it back when it finishes or is preempted. One extra
row at the end serves look-ups of requests that wait.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.cache.keys import BlockKeys, fill_path
from pcache.jit import hot, records, wide
from pcache.types import I4, I8, Records

__all__ = ["Rows", "bind_row", "make_rows"]


class Rows(NamedTuple):
    """`at[row]` has these fields, `path[row, :path_length]` the key nodes of its request.

    `num_blocks` blocks are held, the first `indexed_blocks` of them through the index: shared, or
    matchable by others. `hash`: `table[row, k]` is the block id. `radix`: blocks from
    `indexed_blocks` on are private, as the linked runs `first_run` … `last_run`; `locked_node` is the
    tree node that pins the shared ones; `inserted_tokens` is what this request inserted before.
    """

    at: Records
    path: I8
    table: I4


def make_rows(keys: BlockKeys, num_rows: int, max_blocks: int) -> Rows:
    """Room for `num_rows` admitted requests and one look-up; `max_blocks` 0 where no table is kept."""
    at = records(
        num_rows + 1, request=np.int64, path_length=np.int64, num_blocks=np.int64,
        indexed_blocks=np.int64, first_run=np.int64, last_run=np.int64, locked_node=np.int64,
        inserted_tokens=np.int64,
    )  # fmt: skip
    path = np.zeros((num_rows + 1, int(keys.sizes[2]) + 1), np.int64)
    return Rows(at, path, np.zeros((num_rows + 1, max_blocks), np.int32))


@hot
def bind_row(keys: BlockKeys, rows: Rows, row: int, request: int) -> None:
    """Give `row` to `request`: nothing held yet."""
    at = rows.at[row]
    at.request = request
    at.path_length = fill_path(keys.nodes, wide(keys.leaf[request]), rows.path[row])
    at.num_blocks = at.indexed_blocks = 0
    at.first_run = at.last_run = 0
    at.locked_node = at.inserted_tokens = 0
