"""NAME: say here what it keeps and why.

Run it on a trace, beside others:

    pcache replay TRACE --policy "hash,hash/16/FILE:NAME" --kv-tokens 1M
    pcache simulate TRACE --policy hash,radix --evict FILE:NAME

Override what you want to hear; `pcache.EvictionPolicy` tells what there is. A unit is a block of `hash`
or a node of `radix`. As it stands this is least recently used.
"""

from pcache import EvictionPolicy, Setting, Unit


class Skeleton(EvictionPolicy):
    """Names the evictable unit that was released first."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting  # capacity_blocks, block_size_tokens, …
        self.facts: dict[int, Unit] = {}  # of every cached unit: parent, key, position, num_blocks
        self.clock = 0
        self.released_at: dict[int, int] = {}
        self.candidates: dict[int, None] = {}  # evictable units

    def inserted(self, unit: int, facts: Unit) -> None:
        # self.request says for whom: session, turn, prompt_tokens, …; self.now_ns says when.
        self.facts[unit] = facts

    def hit(self, unit: int) -> None:
        pass

    def split(self, lower: int, upper: int, key: int, position: int) -> None:
        whole = self.facts[lower]
        kept = position - whole.position
        self.facts[upper] = whole._replace(num_blocks=kept)
        self.facts[lower] = whole._replace(
            parent=upper, key=key, position=position, num_blocks=whole.num_blocks - kept
        )
        self.released_at[upper] = self.released_at.get(lower, 0)

    def released(self, unit: int) -> None:
        self.clock += 1
        self.released_at[unit] = self.clock

    def evictable(self, unit: int) -> None:
        self.candidates[unit] = None

    def withdrawn(self, unit: int) -> None:
        del self.candidates[unit]

    def evicted(self, unit: int, unused: bool) -> None:
        self.candidates.pop(unit, None)
        self.released_at.pop(unit, None)
        del self.facts[unit]

    def victim(self) -> int:
        return min(self.candidates, key=self.released_at.__getitem__)
