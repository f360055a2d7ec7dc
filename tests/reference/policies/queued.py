"""Plain policies that move units from queue to queue: 2q, arc, s3-fifo, sieve."""

from __future__ import annotations

from reference.policies.base import Ghosts, PlainPolicy

from pcache.cache.eviction.contract import Setting, Unit


class TwoQ(PlainPolicy):
    """`mark` is when a unit was inserted."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.a1out = Ghosts()

    def inserted(self, unit: int, facts: Unit) -> None:
        super().inserted(unit, facts)
        at = self.units[unit]
        at.queue = "Am" if facts.key in self.a1out.of else "A1in"
        at.mark = at.tick
        self.a1out.of.pop(facts.key, None)

    def victim(self) -> int:
        once = [at for at in self.choice if at.queue == "A1in"]
        again = [at for at in self.choice if at.queue == "Am"]
        full = self.blocks_of("A1in") > self.capacity // 4
        if once and (full or not again):
            return min(once, key=lambda at: at.mark).number
        return self.oldest(again).number

    def evicted(self, unit: int, unused: bool) -> None:
        if self.units[unit].queue == "A1in" and not unused:
            self.a1out.remember(self.units[unit])
            self.a1out.keep_at_most(self.capacity // 2)
        super().evicted(unit, unused)


class ARC(PlainPolicy):
    """Queues T1 and T2, ghosts B1 and B2; `target` is what T1 may have, in blocks."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.b1, self.b2, self.target = Ghosts(), Ghosts(), 0

    def inserted(self, unit: int, facts: Unit) -> None:
        super().inserted(unit, facts)
        at, b1, b2 = self.units[unit], self.b1, self.b2
        at.queue = "T2" if facts.key in b1.of or facts.key in b2.of else "T1"
        if facts.key in b1.of:
            self.target += max(1, b2.blocks // b1.blocks) * at.blocks
            self.target = min(self.target, self.capacity)
        elif facts.key in b2.of:
            self.target -= max(1, b1.blocks // b2.blocks) * at.blocks
            self.target = max(self.target, 0)
        b1.of.pop(facts.key, None)
        b2.of.pop(facts.key, None)

    def hit(self, unit: int) -> None:
        super().hit(unit)
        self.units[unit].queue = "T2"

    def victim(self) -> int:
        once = [at for at in self.choice if at.queue == "T1"]
        again = [at for at in self.choice if at.queue == "T2"]
        if once and (self.blocks_of("T1") > self.target or not again):
            return self.oldest(once).number
        return self.oldest(again or once).number

    def evicted(self, unit: int, unused: bool) -> None:
        at = self.units[unit]
        super().evicted(unit, unused)
        if unused:
            return
        self.b1.of.pop(at.key, None)
        self.b2.of.pop(at.key, None)
        (self.b1 if at.queue == "T1" else self.b2).remember(at)
        while self.b1.of and self.blocks_of("T1") + self.b1.blocks > self.capacity:
            self.b1.drop_oldest()
        cached = self.blocks_of("T1") + self.blocks_of("T2")
        while self.b2.of and cached + self.b1.blocks + self.b2.blocks > 2 * self.capacity:
            self.b2.drop_oldest()


class S3Fifo(PlainPolicy):
    """`mark` is a unit's number in its queue, `previous` the hits that it still has to use up."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.ghosts, self.entered = Ghosts(), 0
        self.tenth = self.capacity // 10

    def enter(self, unit: int, queue: str, hits: int) -> None:
        at = self.units[unit]
        self.entered += 1
        at.queue, at.mark, at.previous = queue, self.entered, hits

    def inserted(self, unit: int, facts: Unit) -> None:
        super().inserted(unit, facts)
        self.enter(unit, "main" if facts.key in self.ghosts.of else "small", 0)
        self.ghosts.of.pop(facts.key, None)

    def hit(self, unit: int) -> None:
        super().hit(unit)
        self.units[unit].previous = min(3, self.units[unit].previous + 1)

    def victim(self) -> int:
        while True:
            small = [at for at in self.choice if at.queue == "small"]
            main = [at for at in self.choice if at.queue == "main"]
            from_small = bool(small) and (self.blocks_of("small") > self.tenth or not main)
            at = min(small if from_small else main, key=lambda at: at.mark)
            if from_small and at.previous > 1:
                self.enter(at.number, "main", 0)
            elif not from_small and at.previous > 0:
                self.enter(at.number, "main", at.previous - 1)
            else:
                return at.number

    def evicted(self, unit: int, unused: bool) -> None:
        if self.units[unit].queue == "small" and not unused:
            self.ghosts.remember(self.units[unit])
            self.ghosts.keep_at_most(self.capacity - self.tenth)
        super().evicted(unit, unused)


class Sieve(PlainPolicy):
    """`mark` is when a unit was inserted, `previous` 1 where it was hit since the hand passed. The
    hand is before the units with marks of at least `hand`."""

    hand = 0

    def inserted(self, unit: int, facts: Unit) -> None:
        super().inserted(unit, facts)
        self.units[unit].mark = self.units[unit].tick

    def hit(self, unit: int) -> None:
        super().hit(unit)
        self.units[unit].previous = 1

    def victim(self) -> int:
        while True:
            ahead = [at for at in self.choice if at.mark >= self.hand]
            if not ahead:
                self.hand = 0
                continue
            at = min(ahead, key=lambda at: at.mark)
            self.hand = at.mark
            if at.previous == 0:
                return at.number
            at.previous = 0
            self.hand += 1
