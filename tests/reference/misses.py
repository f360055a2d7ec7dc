"""Why tokens were missed, token by token, by comparing with everything that ever happened."""

from __future__ import annotations

from typing import Any

from reference.hash_cache import Row

from pcache.cache.contract import CacheConfig


def shared(left: list[Any], right: list[Any]) -> int:
    """Length of the longest common prefix."""
    length = 0
    while length < min(len(left), len(right)) and left[length] == right[length]:
        length += 1
    return length


class Ledger:
    """Remembers what was presented, what became matchable, and what is being prefilled."""

    def __init__(self, cache: CacheConfig) -> None:
        self.size, self.index = cache.block_size, cache.index
        self.presented: list[tuple[int, list[Any]]] = []
        self.reached: list[tuple[int, list[Any], list[Any]]] = []
        self.prefilling: dict[int, tuple[Row, int, int]] = {}

    def present(self, row: Row, depth: int) -> None:
        self.presented.append((row.salt, row.tokens[:depth]))

    def start(self, row: Row, matched: int, target: int) -> None:
        self.prefilling[row.request] = (row, matched, target)

    def stop(self, row: Row) -> None:
        self.prefilling.pop(row.request, None)

    def computed(self, row: Row, depth: int) -> None:
        if row.request in self.prefilling:
            _, _, target = self.prefilling.pop(row.request)
            if depth < target:
                self.prefilling[row.request] = (row, depth, target)
        if self.index == "exact" and depth < row.prompt:
            return
        reach = depth if self.index == "none" else depth // self.size * self.size
        self.reached.append((row.salt, row.tokens[:reach], row.tokens[: row.prompt]))

    def same_kind(self, row: Row, prompt: list[Any]) -> bool:
        """Under `exact` only equal prompts have anything to share."""
        return self.index != "exact" or row.tokens[: row.prompt] == prompt

    def misses(self, row: Row, cached: int) -> list[int]:
        """Tokens by cause: cold, in flight, evicted, rounding."""
        prompt = row.tokens[: row.prompt]
        seen = max(
            (shared(prompt, other) for s, other in self.presented if s == row.salt), default=0
        )
        was = max((shared(prompt, other) for s, other, whole in self.reached
                   if s == row.salt and self.same_kind(row, whole)), default=0)  # fmt: skip
        was = min(was, row.prompt - 1) // self.size * self.size
        causes = [0, 0, 0, 0]
        for token in range(cached, row.prompt):
            flying = any(
                begin <= token < min(target, shared(prompt, other.tokens))
                for other, begin, target in self.prefilling.values()
                if other.salt == row.salt and self.same_kind(row, other.tokens[: other.prompt])
            )
            cause = 0 if token >= seen else 1 if flying else 2 if token < was else 3
            causes[cause] += 1
        return causes
