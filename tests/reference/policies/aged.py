"""Plain policies that learn from ages: lifetime."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from reference.policies.base import Kept, PlainPolicy

from pcache.cache.eviction.contract import Setting, Unit

OCTAVES, TURNS, BINS, SMOOTH, SHARE, COHORTS = 6, 3, 64, 2, 32, 512
PERIOD, EARLY, PRIOR, DOUBT = 8, 128, 0.05, 4.0
"""Octaves of hits, turns, ages, ages that speak for one, cohorts a capacity and known, renewals a
capacity and the share of growth that makes one early, chance where nothing is known; requests' worth of
hits as expected that speak against a kind being different."""

KINDS = 2 * TURNS
CLASSES = OCTAVES * KINDS

Cell = tuple[int, int]
"""Class of hits and bin of ages."""


@dataclass
class Content:
    """What was asked for: when last, and how often found then."""

    blocks: int
    asked_at: int
    hits: int = 0
    turn: int = 0
    much: bool = False
    first: int = -1
    """Request that it came with, in turn `turn`; `much` else of that was not cached."""

    @property
    def group(self) -> int:
        octave = min((self.hits + 1).bit_length() - 1, OCTAVES - 1)
        return octave * KINDS + min(self.turn, TURNS - 1) * 2 + self.much


class Lifetime(PlainPolicy):
    """A unit's `mark` is when it was asked for last, and `previous` its class, as of when it became
    evictable."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.known: dict[int, Content] = {}
        self.cohorts: dict[tuple[int, int], float] = defaultdict(float)
        self.ended: dict[Cell, float] = defaultdict(float)
        self.given_up: dict[Cell, float] = defaultdict(float)
        self.index: dict[Cell, float] = defaultdict(float)
        self.length = max(1, self.capacity // SHARE)
        self.time = self.due = self.asked = self.turns = self.newest = 0
        self.served = self.bringer = -1
        self.much = False

    @property
    def now(self) -> int:
        """Blocks that requests asked for before the one that is served now."""
        self.advance()
        return self.time

    def advance(self) -> None:
        """Time goes on when another request is served. It is looked at when a unit is inserted, hit,
        split, evictable or named."""
        if self.request.number != self.served:
            self.time += self.asked
            self.turns += self.asked > 0
            self.asked, self.served = 0, self.request.number
            while self.newest < self.time // self.length:
                self.start_cohort()

    def start_cohort(self) -> None:
        self.newest += 1
        for counts in (self.ended, self.given_up):
            for cell in counts:
                counts[cell] *= 1.0 - 0.5 / COHORTS
        for group in range(CLASSES):
            blocks = self.cohorts.pop((self.newest - COHORTS, group), 0.0)
            self.given_up[group, age_bin(COHORTS * self.length)] += blocks

    def count(self, content: Content, sign: float) -> None:
        cohort = content.asked_at // self.length
        if cohort > self.newest - COHORTS:
            self.cohorts[cohort, content.group] += sign * content.blocks

    def cell(self, at: Kept) -> Cell:
        return at.previous, age_bin(self.now - at.mark + 1)

    def note_length(self, at: Kept) -> None:
        """Whether more of this request was not cached than requests ask for on average."""
        if self.bringer != self.request.number:
            self.bringer = self.request.number
            blocks = self.request.prompt_tokens // self.setting.block_size_tokens - at.position
            self.much = blocks * self.turns > self.time

    def turn(self, parent: int) -> int:
        if parent == 0:
            return 0
        above = self.known[self.units[parent].key]
        return above.turn + (above.first != self.request.number)

    def ask(self, at: Kept, cached: bool, parent: int = 0) -> None:
        now, content = self.now, self.known.get(at.key)
        if not cached:
            self.note_length(at)
        if content is not None:
            self.count(content, -1.0)
        age = now - content.asked_at + 1 if content is not None else 0
        if content is None or (not cached and age > COHORTS * self.length):
            content = Content(
                at.blocks, now, 0, self.turn(parent), self.much, self.request.number
            )  # fmt: skip
        else:
            cell = content.group, age_bin(age)
            self.ended[cell] += min(at.blocks, content.blocks)
            content = replace(content, blocks=at.blocks, asked_at=now, hits=content.hits + 1)
        self.known[at.key] = content
        self.count(content, 1.0)
        self.asked += at.blocks

    def inserted(self, unit: int, facts: Unit) -> None:
        super().inserted(unit, facts)
        self.ask(self.units[unit], cached=False, parent=facts.parent)

    def hit(self, unit: int) -> None:
        super().hit(unit)
        self.ask(self.units[unit], cached=True)

    def split(self, lower: int, upper: int, key: int, position: int) -> None:
        super().split(lower, upper, key, position)
        self.advance()
        above, below = self.units[upper], self.units[lower]
        whole, before = self.known[above.key], self.known.get(key)
        self.count(whole, -1.0)
        if before is not None:
            self.count(before, -1.0)
        hits = max(before.hits if before is not None else 0, below.hits)
        self.known[above.key] = replace(whole, blocks=above.blocks)
        self.known[key] = replace(
            before or whole, blocks=below.blocks, asked_at=whole.asked_at, hits=hits
        )  # fmt: skip
        self.count(self.known[above.key], 1.0)
        self.count(self.known[key], 1.0)
        if below.evictable:
            self.evictable(lower)

    def evictable(self, unit: int) -> None:
        super().evictable(unit)
        self.advance()
        at = self.units[unit]
        content = self.known[at.key]
        at.mark, at.previous = content.asked_at, content.group

    def victim(self) -> int:
        if self.now >= self.due:
            self.renew()
        return min(self.choice, key=self.order).number

    def order(self, at: Kept) -> tuple[float, ...]:
        group, age = self.cell(at)
        return self.index[group, age], -age, group, at.mark, at.tick

    def renew(self) -> None:
        self.due = self.now + max(64, min(self.capacity // PERIOD, self.time // EARLY))
        unended = self.given_up.copy()
        for (cohort, group), blocks in sorted(self.cohorts.items()):
            unended[group, age_bin(self.now - cohort * self.length + 1)] += blocks
        at_risk = self.at_risk(unended)
        weight = max(1.0, self.time / max(self.turns, 1))
        for octave in range(OCTAVES):
            classes = range(octave * KINDS, (octave + 1) * KINDS)
            chances = [self.chance(classes, age, at_risk, weight) for age in range(BINS)]
            for group in classes:
                hits = expected = DOUBT * weight
                for age in range(BINS):
                    hits += self.ended[group, age]
                    expected += at_risk[group, age] * chances[age]
                own = [min(1.0, chance * (hits / expected)) for chance in chances]
                for age in range(BINS):
                    self.index[group, age] = best_ratio(own, age)

    def at_risk(self, unended: dict[Cell, float]) -> dict[Cell, float]:
        """What reached each cell; half of what ended in it without a hit."""
        result = {}
        for group in range(CLASSES):
            later = 0.0
            for age in reversed(range(BINS)):
                cell = group, age
                result[cell] = later + self.ended[cell] + 0.5 * unended[cell]
                later += self.ended[cell] + unended[cell]
        return result

    def chance(
        self, classes: range, age: int, at_risk: dict[Cell, float], weight: float
    ) -> float:  # fmt: skip
        """Of a hit in a bin of ages, for content of these classes that has reached it."""
        all_ended = all_at_risk = ended = own_at_risk = 0.0
        for near in range(max(0, age - SMOOTH), min(BINS - 1, age + SMOOTH) + 1):
            share = (SMOOTH + 1.0 - abs(near - age)) / (SMOOTH + 1.0) ** 2
            all_ended += share * sum(self.ended[other, near] for other in range(CLASSES))
            all_at_risk += share * sum(at_risk[other, near] for other in range(CLASSES))
            ended += share * sum(self.ended[other, near] for other in classes)
            own_at_risk += share * sum(at_risk[other, near] for other in classes)
        pooled = (all_ended + weight * PRIOR) / (all_at_risk + weight)
        return (ended + weight * pooled) / (own_at_risk + weight)


def age_bin(age: int) -> int:
    return min((age * age).bit_length() - 1, BINS - 1)


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
