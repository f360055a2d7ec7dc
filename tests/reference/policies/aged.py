"""Plain policies that learn from ages: lifetime."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from reference.policies.base import Kept, PlainPolicy

from pcache.cache.eviction.contract import Setting, Unit

TOP, MEMORY, PERIOD, BINS, PRIOR = 7, 8, 8, 64, 0.05
"""Classes of hits, capacities remembered, renewals a capacity, ages, chance where nothing is known."""

Cell = tuple[int, int]
"""Class of hits and bin of ages."""


@dataclass
class Content:
    """What was asked for: when last, and how often found then; `units` hold it now."""

    blocks: int
    asked_at: int
    hits: int = 0
    units: int = 0
    gone_at: int = 0


class Lifetime(PlainPolicy):
    """`score` is the index of a unit, as of when it became evictable or of the last renewal."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.known: dict[int, Content] = {}
        self.ended: dict[Cell, float] = defaultdict(float)
        self.forgotten: dict[Cell, float] = defaultdict(float)
        self.index: dict[Cell, float] = defaultdict(float)
        self.time = self.due = self.asked = self.turns = 0
        self.served = -1

    @property
    def now(self) -> int:
        """Blocks that requests asked for before the one that is served now."""
        if self.request.number != self.served:
            self.time += self.asked
            self.turns += self.asked > 0
            self.asked, self.served = 0, self.request.number
        return self.time

    def cell(self, content: Content) -> Cell:
        age = self.now - content.asked_at
        return min(content.hits, TOP), min(int(2 * math.log2(age + 1)), BINS - 1)

    def ask(self, at: Kept) -> Content:
        now, content = self.now, self.known.get(at.key)
        if content is None:
            content = self.known[at.key] = Content(at.blocks, now)
        else:
            self.ended[self.cell(content)] += min(at.blocks, content.blocks)
            content.hits += 1
            content.asked_at, content.blocks = now, at.blocks
        self.asked += at.blocks
        return content

    def inserted(self, unit: int, facts: Unit) -> None:
        super().inserted(unit, facts)
        self.ask(self.units[unit]).units += 1

    def hit(self, unit: int) -> None:
        super().hit(unit)
        self.ask(self.units[unit])

    def split(self, lower: int, upper: int, key: int, position: int) -> None:
        super().split(lower, upper, key, position)
        above, below = self.units[upper], self.units[lower]
        whole, before = self.known[above.key], self.known.get(key)
        whole.blocks = above.blocks
        part = self.known[key] = before or Content(below.blocks, 0)
        part.blocks, part.asked_at = below.blocks, whole.asked_at
        part.hits = max(part.hits, below.hits)
        part.units += 1

    def settle(self, at: Kept) -> None:
        at.score = self.index[self.cell(self.known[at.key])]

    def evictable(self, unit: int) -> None:
        super().evictable(unit)
        self.settle(self.units[unit])

    def victim(self) -> int:
        if self.now >= self.due:
            self.renew()
        return min(self.choice, key=lambda at: (at.score, at.tick)).number

    def evicted(self, unit: int, unused: bool) -> None:
        content = self.known[self.units[unit].key]
        content.units -= 1
        content.gone_at = self.now
        super().evicted(unit, unused)

    def renew(self) -> None:
        self.due = self.now + max(64, self.capacity // PERIOD)
        waiting: dict[Cell, float] = defaultdict(float)
        for content in self.known.values():
            waiting[self.cell(content)] += content.blocks
        unended = {
            (hits, age): self.forgotten[hits, age] + waiting[hits, age]
            for hits in range(TOP + 1) for age in range(BINS)
        }  # fmt: skip
        for key, content in list(self.known.items()):
            if content.units == 0 and self.now - content.gone_at > MEMORY * self.capacity:
                self.forgotten[self.cell(content)] += content.blocks
                del self.known[key]
        for hits in range(TOP + 1):
            chances = self.chances(hits, unended)
            for age in range(BINS):
                self.index[hits, age] = best_ratio(chances, age)
        for at in self.choice:
            self.settle(at)

    def chances(self, hits: int, unended: dict[Cell, float]) -> list[float]:
        """Of a hit in each bin of ages, for content of a class that has reached it."""
        weight = max(1.0, self.time / max(self.turns, 1))
        classes, ages = range(TOP + 1), range(BINS)
        all_ended = [sum(self.ended[other, age] for other in classes) for age in ages]
        all_unended = [sum(unended[other, age] for other in classes) for age in ages]
        own_later = all_later = 0.0
        result = [0.0] * BINS
        for age in reversed(ages):
            ended, all_in = self.ended[hits, age], all_ended[age]
            own_at_risk = own_later + ended + 0.5 * unended[hits, age]
            all_at_risk = all_later + all_in + 0.5 * all_unended[age]
            pooled = (all_in + weight * PRIOR) / (all_at_risk + weight)
            result[age] = (ended + weight * pooled) / (own_at_risk + weight)
            own_later += ended + unended[hits, age]
            all_later += all_in + all_unended[age]
        return result


def best_ratio(chances: list[float], first: int) -> float:
    """Most hits a block and unit of time that keeping from bin `first` on can give."""
    best = gain = cost = 0.0
    left = 1.0
    for age in range(first, BINS):
        length = 2.0 ** ((age + 1) / 2) - 2.0 ** (age / 2)
        gain += left * chances[age]
        cost += left * (1.0 - 0.5 * chances[age]) * length
        left *= 1.0 - chances[age]
        best = max(best, gain / cost)
        if left < 1e-4:
            break
    return best
