"""Plain policies that give every unit a value: gdsf, flop-aware, reuse."""

from __future__ import annotations

import math
from collections import defaultdict

from reference.policies.base import Kept, PlainPolicy

from pcache.cache.eviction.contract import Setting, Unit


class GDSF(PlainPolicy):
    """`score` is H."""

    level = 0.0

    def value(self, unit: int) -> None:
        at = self.units[unit]
        at.score = self.level + (at.hits + 1) * self.cost(at)

    def inserted(self, unit: int, facts: Unit) -> None:
        super().inserted(unit, facts)
        self.value(unit)

    def hit(self, unit: int) -> None:
        super().hit(unit)
        self.value(unit)

    def victim(self) -> int:
        return min(self.choice, key=lambda at: (at.score, at.tick)).number

    def evicted(self, unit: int, unused: bool) -> None:
        if not unused:
            self.level = max(self.level, self.units[unit].score)
        super().evicted(unit, unused)


class FlopAware(PlainPolicy):
    """`score` is the utility times the last victim's age in ticks, up to a constant."""

    deepest, span = 0.0, 0.0

    def settle(self, at: Kept) -> None:
        cost = self.cost(at)
        self.deepest = max(self.deepest, cost)
        saved = (cost - 1.0) / max(self.deepest - 1.0, 1e-9)
        at.score = at.tick + self.span * saved

    def evictable(self, unit: int) -> None:
        super().evictable(unit)
        self.settle(self.units[unit])

    def least(self) -> Kept:
        return min(self.choice, key=lambda at: (at.score, at.tick))

    def victim(self) -> int:
        at = self.least()
        before = at.score
        self.settle(at)
        return self.least().number if at.score > before else at.number

    def evicted(self, unit: int, unused: bool) -> None:
        if not unused:
            self.span = float(self.tick - self.units[unit].tick)
        super().evicted(unit, unused)


class Reuse(PlainPolicy):
    """A kind is (class, turn) of the request that released a unit last; `mark` is 1 while idle.

    All numbers are weighed by blocks.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.hits: dict[tuple[int, int], float] = defaultdict(float)
        self.evictions: dict[tuple[int, int], float] = defaultdict(float)
        self.waited_ns: dict[tuple[int, int], float] = defaultdict(float)
        self.kinds: dict[int, tuple[int, int]] = {}
        self.stay_ns = self.num_stays = 0.0

    def released(self, unit: int) -> None:
        super().released(unit)
        request = self.request
        self.kinds[unit] = (request.workload_class % 16, min(max(request.turn, 0), 3))
        self.units[unit].mark = 1

    def split(self, lower: int, upper: int, key: int, position: int) -> None:
        super().split(lower, upper, key, position)
        self.kinds[upper] = self.kinds.get(lower, (0, 0))

    def hit(self, unit: int) -> None:
        at = self.units[unit]
        if at.mark == 1:
            self.hits[self.kinds[unit]] += at.blocks
            self.waited_ns[self.kinds[unit]] += at.blocks * (self.now_ns - at.used_ns)
        at.mark = 0
        super().hit(unit)

    def evicted(self, unit: int, unused: bool) -> None:
        at = self.units[unit]
        if not unused:
            self.evictions[self.kinds[unit]] += at.blocks
            self.stay_ns += at.blocks * (self.now_ns - at.used_ns)
            self.num_stays += at.blocks
        super().evicted(unit, unused)

    def probability(self, at: Kept) -> float:
        """Of a hit while the unit could stay, given how long it has waited."""
        kind = self.kinds[at.number]
        hits, evictions = self.hits[kind], self.evictions[kind]
        share = (hits + 1) / (hits + evictions + 2)
        mean_ns = max((self.waited_ns[kind] + 1e9) / (hits + 1), 1.0)
        stay_ns = (self.stay_ns + 1e9) / (self.num_stays + 1)
        to_come = share * math.exp(-(self.now_ns - at.used_ns) / mean_ns)
        return to_come * (1 - math.exp(-stay_ns / mean_ns)) / (1 - share + to_come)

    def victim(self) -> int:
        heads: dict[tuple[int, int], Kept] = {}
        for at in sorted(self.choice, key=lambda at: at.tick):
            heads.setdefault(self.kinds[at.number], at)
        order = [heads[kind] for kind in sorted(heads)]
        return min(order, key=lambda at: (self.probability(at), -at.position)).number
