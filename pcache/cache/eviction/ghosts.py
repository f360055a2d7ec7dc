"""Ghosts: what compiled policies remember of evicted content, by key.

A ghost belongs to group 1 or 2. Each group is a list in order of eviction, oldest first; a policy
drops the oldest when it remembers too many. `amounts[group]` counts a group's blocks. Cost: constant.
"""

from __future__ import annotations

from pcache.cache.eviction.compiled import PolicyState
from pcache.jit import hot

__all__ = ["drop_oldest_ghost", "forget_ghost", "ghost_group", "ghost_mark", "remember_ghost"]

_FIRST = 3
"""Entries 1 and 2 of `ghosts` close the groups' rings; key k is entry k + 3."""


@hot
def ghost_group(p: PolicyState, key: int) -> int:
    """The group of the ghost with this key, 0 if there is none."""
    return p.ghosts[key + _FIRST].group


@hot
def ghost_mark(p: PolicyState, key: int) -> int:
    """The `mark` that the unit with this key had when it became a ghost."""
    return p.ghosts[key + _FIRST].mark


@hot
def remember_ghost(p: PolicyState, group: int, unit: int) -> None:
    """Make a ghost of the first block's content of a unit that is evicted, standing for all of it."""
    here = p.units[unit]
    forget_ghost(p, here.key)
    ring, at = p.ghosts[group], here.key + _FIRST
    ghost = p.ghosts[at]
    ghost.group, ghost.blocks, ghost.mark, ghost.previous = (
        group,
        here.blocks,
        here.mark,
        here.previous,
    )
    last = ring.before if ring.before != 0 else group
    ghost.before, ghost.after = last, group
    p.ghosts[last].after = ring.before = at
    p.amounts[group] += here.blocks


@hot
def forget_ghost(p: PolicyState, key: int) -> None:
    """Drop the ghost with this key, if there is one."""
    _drop(p, key + _FIRST)


@hot
def drop_oldest_ghost(p: PolicyState, group: int) -> None:
    """Drop the group's oldest ghost; there must be one."""
    _drop(p, p.ghosts[group].after)


@hot
def _drop(p: PolicyState, at: int) -> None:
    ghost = p.ghosts[at]
    if ghost.group == 0:
        return
    p.ghosts[ghost.before].after = ghost.after
    p.ghosts[ghost.after].before = ghost.before
    p.amounts[ghost.group] -= ghost.blocks
    ghost.group = 0
