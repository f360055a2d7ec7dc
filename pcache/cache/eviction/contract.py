"""What an eviction policy is: it hears what happens to cached units, and names the next victim.

A *unit* is what goes or stays as a whole: a block of `hash`, a node of the tree of `radix`. Only a
unit that no running request holds and that no cached unit continues is *evictable*, so whatever a
policy does, a prefix never goes before what follows it. The life of a unit:

    inserted → pinned → released → evictable → evicted
                  ↑                    │
                  └── hit, pinned ── withdrawn

Policies written in Python subclass `EvictionPolicy` and override what they want to hear; each event
then costs about a microsecond. Policies that ship with pcache are compiled (`compiled.py`) and hear
the same.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EvictionPolicy", "RequestFacts", "Setting", "Unit"]


class Setting(NamedTuple):
    """The cache that a policy serves. `capacity_blocks` is what fits, `num_keys` the number of
    distinct blocks that the trace will ever show; units are numbered from 1 to `num_units` - 1."""

    index_name: str
    block_size_tokens: int
    capacity_blocks: int
    num_units: int
    num_keys: int


class Unit(NamedTuple):
    """A unit as it is inserted: blocks `position` ≤ k < `position` + `num_blocks` of a prompt.

    `parent` is the unit before it (0: none). `key` stands for the content of all tokens up to the end
    of its first block: the same content has the same key when it comes back. `generated` units hold
    output tokens of the request that computed them.
    """

    parent: int
    key: int
    position: int
    num_blocks: int
    generated: bool


class RequestFacts(NamedTuple):
    """What is known of a request when it arrives. `session` and `workload_class` are numbers, equal
    for the same session or class; 0 where the trace names none."""

    number: int
    arrival_ns: int
    prompt_tokens: int
    session: int
    turn: int
    workload_class: int
    priority: int


class EvictionPolicy:
    """Base of policies in Python. `now_ns` and `request` are set before every event; a policy reads no
    other clock and draws no random numbers, so that simulator and GPU decide alike."""

    now_ns: int = 0
    request: RequestFacts

    def __init__(self, setting: Setting) -> None:
        """Start with an empty cache."""

    def inserted(self, unit: int, facts: Unit) -> None:
        """`unit` is new in the cache: computed for `self.request`, which holds it."""

    def hit(self, unit: int) -> None:
        """`self.request` found `unit` and uses it; told for all its units, deepest first."""

    def split(self, lower: int, upper: int, key: int, position: int) -> None:
        """`radix`: a node was cut at block `position`. `upper` is a new unit with the blocks before it;
        `lower` keeps its number and the rest, whose first block has `key`."""

    def pinned(self, unit: int) -> None:
        """A running request holds `unit` now, and nobody did before."""

    def released(self, unit: int) -> None:
        """No running request holds `unit` any more; what is deeper is released first."""

    def evictable(self, unit: int) -> None:
        """`unit` may be named by `victim` from now on."""

    def withdrawn(self, unit: int) -> None:
        """`unit` may not be named any more: it was pinned, or a unit continues it."""

    def evicted(self, unit: int, unused: bool) -> None:
        """`unit` is gone and its number free. `unused`: not for room, but because the step that would
        have filled it never ran, or because it expired."""

    def victim(self) -> int:
        """The evictable unit that goes next. There is at least one."""
        raise NotImplementedError("write the method victim")

    def expired(self) -> int:
        """An evictable unit that goes although nobody needs room, or 0. Asked before every look-up."""
        return 0
