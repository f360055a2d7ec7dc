"""Where cache and eviction policy meet: events as numbers, and the call from compiled code.

A cache that is given a policy keeps the address of the policy's function in its own `state[0]`:
`policy`, the `policy_table` that goes with it, and `policy_events`, a bit for each kind of event that
it wants to hear of. It calls that address and does not know what is behind: another compiled function,
or Python. So a policy compiles on its own, and the caches compile once for all policies. Cost: an
indirect call an event, and nothing where there is no policy (all three 0).
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from pcache.jit import hot
from pcache.types import Records

__all__ = [
    "EVENTS", "EVICTABLE", "EVICTED", "EXPIRED", "HIT", "INSERTED", "MOMENT", "PINNED", "RELEASED",
    "SPLIT", "VICTIM", "WITHDRAWN", "hears", "notify", "notify_inserted", "notify_split",
]  # fmt: skip

EVENTS = (
    "moment", "inserted", "hit", "split", "pinned", "released", "evictable", "withdrawn", "evicted",
    "victim", "expired",
)  # fmt: skip
(MOMENT, INSERTED, HIT, SPLIT, PINNED, RELEASED, EVICTABLE, WITHDRAWN, EVICTED, VICTIM, EXPIRED) = (
    range(len(EVENTS))
)
"""What a policy hears, and the numbers that come along:

- moment: request, now_ns. What follows happens for this request at this time.
- inserted: unit, parent unit (0: none), key of its first block, position of that block, blocks, 1
  where it holds generated tokens. Pinned follows.
- hit, pinned, released, evictable, withdrawn: unit.
- split: lower unit (keeps its number), upper unit, new key of the lower, position of the cut.
- evicted: unit, 1 where it was not for room: what would have filled it never ran, or it expired.
- victim: answers with an evictable unit.
- expired: answers with an evictable unit that is to go although nobody needs room, or 0.
"""


@intrinsic
def _call(
    _context: Any, address: Any, event: Any, unit: Any, a: Any, b: Any, c: Any, d: Any, e: Any,
    table: Any,
) -> Any:  # fmt: skip
    signature = numba.types.int64(*(numba.types.int64,) * 9)

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        function = ir.FunctionType(word, [word] * 8)
        pointer = builder.inttoptr(arguments[0], function.as_pointer())
        return builder.call(pointer, arguments[1:])

    return signature, generate


@hot
def hears(state: Records, event: int) -> bool:
    """Whether there is a policy and it wants to hear of this kind of event."""
    return (state[0].policy_events >> event) & 1 == 1


@hot
def notify(state: Records, event: int, unit: int, other: int) -> int:
    """Tell the policy of the cache with this `state[0]` of an event of at most two numbers; 0 if it
    does not want to hear of it."""
    if not hears(state, event):
        return 0
    at = state[0]
    return _call(at.policy, event, unit, other, 0, 0, 0, 0, at.policy_table)


@hot
def notify_inserted(
    state: Records, unit: int, parent: int, key: int, position: int, blocks: int, generated: int
) -> None:
    """INSERTED, with its numbers."""
    if hears(state, INSERTED):
        at = state[0]
        _call(at.policy, INSERTED, unit, parent, key, position, blocks, generated, at.policy_table)


@hot
def notify_split(state: Records, lower: int, upper: int, key: int, position: int) -> None:
    """SPLIT, with its numbers."""
    if hears(state, SPLIT):
        at = state[0]
        _call(at.policy, SPLIT, lower, upper, key, position, 0, 0, at.policy_table)
