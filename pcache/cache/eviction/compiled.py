"""What compiled eviction policies share: the state they work on, and how they are called.

A policy is one compiled function `on_event(p, event, unit, other)` over a `PolicyState`. `note` keeps
the facts of an event before the policy hears of it, so that a policy only decides. The function that
the cache calls stands at the end of each policy's file, where numba can keep its machine code:

    @cfunc(ENTRY, cache=True)
    def entry(event, unit, a, b, c, d, e, table):
        p = state_of(table)
        note(p, event, unit, a, b, c, d, e)
        return on_event(p, event, unit, a)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numba import carray
from numba.extending import intrinsic

from pcache.cache.eviction.contract import Setting
from pcache.cache.eviction.queues import take_out
from pcache.cache.eviction.seam import (
    EVICTED,
    HIT,
    INSERTED,
    MOMENT,
    RELEASED,
    SPLIT,
    WITHDRAWN,
)  # fmt: skip
from pcache.jit import compiled, hot
from pcache.types import F8, I8, Records

__all__ = [
    "ENTRY", "FACTS", "GHOST", "REQUEST", "UNIT", "PolicyState", "note", "ordered", "policy_state",
    "state_of", "state_table",
]  # fmt: skip

ENTRY = numba.types.int64(*(numba.types.int64,) * 8)
"""Signature of a policy's entry: event, unit, five numbers of the event, the state's table."""


def _integers(names: str) -> list[tuple[str, type[np.generic]]]:
    return [(name, np.int64) for name in names.split()]


FACTS = np.dtype(_integers("now_ns request tick capacity block_size hand sequence"))
UNIT = np.dtype(
    _integers(
        "parent key position blocks generated request hits tick used_ns waited_ns queue first "
        "second below beside before group mark previous"
    )
    + [("score", np.float64)]
)
REQUEST = np.dtype(
    _integers("arrival_ns prompt_tokens session turn workload_class priority latest leaf")
)
GHOST = np.dtype(_integers("group before after blocks mark previous gone"))


class PolicyState(NamedTuple):
    """`facts[0]`: the present `request` and `now_ns`; `tick`, which grows with every event that makes a
    unit recent; `capacity` in blocks, `block_size` in tokens; `hand` and `sequence` for the policy.

    `units[u]`: what `contract.Unit` has; the `request` that used it last; `hits`; `tick` and `used_ns`
    of its last insertion, hit or release; on a hit the time `waited_ns` since then; its place in a
    queue (`queues.py`); and for the policy
    `group`, `mark`, `previous` and `score`, which are 0 in a new unit and copied when one is split.
    `roots[q]` is what queue q serves next. `requests[i]` is `contract.RequestFacts`, with `latest` and
    `leaf` for the policy.
    `ghosts` is for what outlives a unit (`ghosts.py`). `amounts` and `numbers` are the policy's.
    """

    facts: Records
    units: Records
    roots: I8
    requests: Records
    ghosts: Records
    amounts: I8
    numbers: F8


def policy_state(
    setting: Setting, requests: Records, *, queues: int, ghosts: bool, amounts: int, numbers: int
) -> PolicyState:
    """State of a policy that has heard nothing yet, with so many queues, amounts and numbers."""
    facts = np.zeros(1, FACTS).view(np.recarray)
    facts[0].capacity, facts[0].block_size = setting.capacity_blocks, setting.block_size_tokens
    return PolicyState(
        facts, np.zeros(setting.num_units, UNIT).view(np.recarray),
        np.zeros(queues + 1, np.int64), requests,
        np.zeros(setting.num_keys + 3 if ghosts else 0, GHOST).view(np.recarray),
        np.zeros(amounts, np.int64), np.zeros(numbers),
    )  # fmt: skip


def state_table(p: PolicyState) -> I8:
    """Address and length of every array, in the order in which `state_of` reads them."""
    return np.array([[array.ctypes.data, len(array)] for array in p], np.int64)


@intrinsic
def _pointer(_context: Any, address: Any) -> Any:
    signature = numba.types.voidptr(numba.types.int64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(numba.types.voidptr))

    return signature, generate


@compiled
def state_of(table: int) -> PolicyState:
    """The state whose `state_table` lies at address `table`."""
    at = carray(_pointer(table), (7, 2), np.int64)
    return PolicyState(
        carray(_pointer(at[0, 0]), (at[0, 1],), FACTS),
        carray(_pointer(at[1, 0]), (at[1, 1],), UNIT),
        carray(_pointer(at[2, 0]), (at[2, 1],), np.int64),
        carray(_pointer(at[3, 0]), (at[3, 1],), REQUEST),
        carray(_pointer(at[4, 0]), (at[4, 1],), GHOST),
        carray(_pointer(at[5, 0]), (at[5, 1],), np.int64),
        carray(_pointer(at[6, 0]), (at[6, 1],), np.float64),
    )


@hot
def note(p: PolicyState, event: int, unit: int, a: int, b: int, c: int, d: int, e: int) -> None:
    """Keep the facts of an event. What is withdrawn or evicted leaves its queue."""
    if event == MOMENT:
        p.facts[0].request, p.facts[0].now_ns = unit, a
    elif event == INSERTED:
        here = p.units[unit]
        here.parent, here.key, here.position, here.blocks, here.generated = a, b, c, d, e
        here.hits = here.group = here.mark = here.previous = 0
        here.score = 0.0
        _touch(p, unit)
    elif event == HIT:
        p.units[unit].hits += 1
        p.units[unit].waited_ns = p.facts[0].now_ns - p.units[unit].used_ns
        _touch(p, unit)
    elif event == RELEASED:
        _touch(p, unit)
    elif event == SPLIT:
        _note_split(p, unit, a, b, c)
    elif event in (WITHDRAWN, EVICTED):
        take_out(p.units, p.roots, unit)


@hot
def _touch(p: PolicyState, unit: int) -> None:
    facts, here = p.facts[0], p.units[unit]
    facts.tick += 1
    here.tick, here.used_ns, here.request = facts.tick, facts.now_ns, facts.request


@hot
def _note_split(p: PolicyState, lower: int, upper: int, key: int, position: int) -> None:
    """The upper part takes over what is known of the whole; being no leaf, it is in no queue."""
    above, below = p.units[upper], p.units[lower]
    above.parent, above.key, above.position = below.parent, below.key, below.position
    above.generated, above.request, above.hits = below.generated, below.request, below.hits
    above.tick, above.used_ns, above.group = below.tick, below.used_ns, below.group
    above.mark, above.previous, above.score = below.mark, below.previous, below.score
    above.queue = above.below = above.beside = above.before = 0
    above.blocks = position - below.position
    below.blocks -= above.blocks
    below.parent, below.key, below.position = upper, key, position


@hot
def ordered(value: float) -> int:
    """A number ≥ 0 as an integer of the same order, for queues."""
    return np.float64(value).view(np.int64)  # type: ignore[return-value]
