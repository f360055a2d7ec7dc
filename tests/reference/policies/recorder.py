"""A policy that believes nothing: it keeps its own books of every unit and checks each event by them.

Its choices are arbitrary but repeatable, so that the cache is led where no sensible policy leads it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pcache.cache.eviction.contract import EvictionPolicy, Setting, Unit


@dataclass
class Known:
    """What the events so far say of a unit. `fresh`: inserted, and not pinned yet."""

    facts: Unit
    parent_key: int
    fresh: bool = True
    pinned: bool = False
    offered: bool = False
    released_at_ns: int = -1


class Recorder(EvictionPolicy):
    """Raises AssertionError at the first event that the contract does not allow.

    Its driver lets time pass between two operations, each of which is for one request.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.alive: dict[int, Known] = {}
        self.questions = 0
        self.named = self.expiring = 0

    def inserted(self, unit: int, facts: Unit) -> None:
        assert 0 < unit < self.setting.num_units
        assert unit not in self.alive, "a number that is taken"
        assert 0 <= facts.key < self.setting.num_keys
        assert facts.num_blocks >= 1
        above = self.alive[facts.parent] if facts.parent else None
        if above is None:
            assert facts.position == 0
        else:
            assert above.facts.position + above.facts.num_blocks == facts.position
        self.alive[unit] = Known(facts, above.facts.key if above else -1)

    def hit(self, unit: int) -> None:
        assert self.alive[unit].pinned

    def split(self, lower: int, upper: int, key: int, position: int) -> None:
        assert upper not in self.alive
        below = self.alive[lower]
        facts = below.facts
        count = position - facts.position
        assert 0 < count < facts.num_blocks
        self.alive[upper] = replace(below, facts=facts._replace(num_blocks=count), offered=False)
        below.facts = Unit(upper, key, position, facts.num_blocks - count, facts.generated)

    def pinned(self, unit: int) -> None:
        at = self.alive[unit]
        assert not at.pinned
        assert not at.offered, "withdrawn comes first"
        assert at.released_at_ns < self.now_ns, "held all the time"
        at.pinned, at.fresh = True, False

    def released(self, unit: int) -> None:
        at = self.alive[unit]
        assert at.pinned
        at.pinned, at.released_at_ns = False, self.now_ns

    def evictable(self, unit: int) -> None:
        at = self.alive[unit]
        assert not at.pinned
        assert not at.offered
        assert not at.fresh
        assert not self.continued(unit)
        at.offered = True

    def withdrawn(self, unit: int) -> None:
        assert self.alive[unit].offered
        self.alive[unit].offered = False

    def evicted(self, unit: int, unused: bool) -> None:
        at = self.alive[unit]
        assert not self.continued(unit)
        if unused:
            assert at.pinned or unit == self.expiring
        else:
            assert unit == self.named
        assert at.pinned != at.offered
        del self.alive[unit]
        self.named = self.expiring = 0

    def victim(self) -> int:
        assert self.named == 0, "the last answer was not followed"
        self.questions += 1
        self.named = self.some_offered(self.questions)
        return self.named

    def expired(self) -> int:
        """Now and then, one."""
        self.questions += 1
        if self.questions % 5 or not any(at.offered for at in self.alive.values()):
            return 0
        self.expiring = self.some_offered(self.questions // 5)
        return self.expiring

    def some_offered(self, number: int) -> int:
        offered = sorted(unit for unit, at in self.alive.items() if at.offered)
        return offered[number * 7 % len(offered)]

    def continued(self, unit: int) -> bool:
        """Whether cached content follows `unit` that nothing else cached comes before."""
        key = self.alive[unit].facts.key
        if self.setting.index_name == "radix":
            return any(at.facts.parent == unit for at in self.alive.values())
        if sum(at.facts.key == key for at in self.alive.values()) > 1:
            return False
        return any(at.parent_key == key for at in self.alive.values())
