"""Plain policies whose order is one of uses: lru, ttl, lru-2, session."""

from __future__ import annotations

from reference.policies.base import Ghosts, Kept, PlainPolicy

from pcache.cache.eviction.contract import EvictionPolicy, Setting, Unit


class LRU(EvictionPolicy):
    """What was released first goes first, and of a request its tail."""

    def __init__(self, setting: Setting) -> None:
        self.order: list[int] = []
        self.free: set[int] = set()

    def released(self, unit: int) -> None:
        self.order = [other for other in self.order if other != unit] + [unit]

    def evictable(self, unit: int) -> None:
        self.free.add(unit)

    def withdrawn(self, unit: int) -> None:
        self.free.remove(unit)

    def evicted(self, unit: int, unused: bool) -> None:
        self.free.discard(unit)
        if unit in self.order:
            self.order.remove(unit)

    def victim(self) -> int:
        return next(unit for unit in self.order if unit in self.free)


class TTL5m(PlainPolicy):
    """The least recently used goes; what was not used for more than five minutes goes anyway."""

    seconds = 300

    def victim(self) -> int:
        return self.oldest(self.choice).number

    def expired(self) -> int:
        over = [at for at in self.choice if self.now_ns - at.used_ns > self.seconds * 10**9]
        return self.oldest(over).number if over else 0


class TTL1h(TTL5m):
    """The same with an hour."""

    seconds = 3600


class LRU2(PlainPolicy):
    """`mark` is the last reference, `previous` the one before (0: none is known)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.ghosts = Ghosts()

    def inserted(self, unit: int, facts: Unit) -> None:
        super().inserted(unit, facts)
        at = self.units[unit]
        _, at.previous = self.ghosts.of.pop(facts.key, (0, 0))
        at.mark = at.tick

    def hit(self, unit: int) -> None:
        super().hit(unit)
        at = self.units[unit]
        at.previous, at.mark = at.mark, at.tick

    def victim(self) -> int:
        return min(self.choice, key=lambda at: (at.previous, at.tick)).number

    def evicted(self, unit: int, unused: bool) -> None:
        if not unused:
            self.ghosts.remember(self.units[unit])
            self.ghosts.keep_at_most(self.capacity)
        super().evicted(unit, unused)


class Session(PlainPolicy):
    """What an ended request of a session has superseded goes first."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.latest: dict[int, int] = {}

    def released(self, unit: int) -> None:
        super().released(unit)
        session, number = self.request.session, self.request.number
        self.latest[session] = max(self.latest.get(session, -1), number)

    def superseded(self, at: Kept) -> bool:
        request = at.request
        return request.session > 0 and self.latest.get(request.session, -1) > request.number

    def victim(self) -> int:
        return min(self.choice, key=lambda at: (not self.superseded(at), at.tick)).number
