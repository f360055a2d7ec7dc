"""What the plain policies share: a record of every cached unit, and ghosts as plain dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pcache.cache.eviction.contract import EvictionPolicy, RequestFacts, Setting, Unit


@dataclass
class Kept:
    """A cached unit. `tick` and `used_ns`: when it was last inserted, hit or released, and `request`
    for whom; the rest below `hits` is the policy's."""

    number: int
    position: int
    blocks: int
    key: int
    request: RequestFacts
    tick: int = 0
    used_ns: int = 0
    hits: int = 0
    evictable: bool = False
    queue: str = ""
    mark: int = 0
    previous: int = 0
    score: float = 0.0


class PlainPolicy(EvictionPolicy):
    """Keeps `units`, by number. Every insertion, hit and release is a tick of its own."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.capacity = setting.capacity_blocks
        self.units: dict[int, Kept] = {}
        self.tick = 0

    def use(self, unit: int) -> Kept:
        at = self.units[unit]
        self.tick += 1
        at.tick, at.used_ns, at.request = self.tick, self.now_ns, self.request
        return at

    def inserted(self, unit: int, facts: Unit) -> None:
        self.units[unit] = Kept(unit, facts.position, facts.num_blocks, facts.key, self.request)
        self.use(unit)

    def hit(self, unit: int) -> None:
        self.use(unit).hits += 1

    def released(self, unit: int) -> None:
        self.use(unit)

    def split(self, lower: int, upper: int, key: int, position: int) -> None:
        below = self.units[lower]
        count = position - below.position
        self.units[upper] = replace(below, number=upper, blocks=count, evictable=False)
        below.key, below.position, below.blocks = key, position, below.blocks - count

    def evictable(self, unit: int) -> None:
        self.units[unit].evictable = True

    def withdrawn(self, unit: int) -> None:
        self.units[unit].evictable = False

    def evicted(self, unit: int, unused: bool) -> None:
        del self.units[unit]

    @property
    def choice(self) -> list[Kept]:
        """What may be named."""
        return [at for at in self.units.values() if at.evictable]

    def oldest(self, units: list[Kept]) -> Kept:
        return min(units, key=lambda at: at.tick)

    def blocks_of(self, queue: str) -> int:
        return sum(at.blocks for at in self.units.values() if at.queue == queue)

    def cost(self, at: Kept) -> float:
        """FLOPs to compute a block of the unit again; 1 at the prompt's start, 2 where attention over
        26,623 tokens doubles it."""
        middle = (at.position + 0.5 * at.blocks) * self.setting.block_size_tokens
        return 1.0 + middle / 26_623


class Ghosts:
    """Evicted content by key, oldest first: its blocks and its `mark`."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[int, int]] = {}

    @property
    def blocks(self) -> int:
        return sum(blocks for blocks, _ in self.of.values())

    def remember(self, at: Kept) -> None:
        self.of.pop(at.key, None)
        self.of[at.key] = (at.blocks, at.mark)

    def drop_oldest(self) -> None:
        del self.of[next(iter(self.of))]

    def keep_at_most(self, blocks: int) -> None:
        while self.blocks > blocks:
            self.drop_oldest()
