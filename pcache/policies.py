"""Policies as people name them: `radix`, `hash/16`, `radix/1/lfu`, `hash/16/my.py:Mine`."""

from __future__ import annotations

from pcache.cache.contract import CacheConfig
from pcache.errors import ConfigError

__all__ = ["parse_policies"]


def parse_policies(
    text: str,
    *,
    block_size: int = 16,
    eviction: str = "lru",
    kv_tokens: int | None = None,
    append_unkeyed: bool = False,
) -> list[CacheConfig]:
    """A comma-separated list of `index[/block size[/eviction]]`.

    What an entry leaves out comes from `block_size` and `eviction`; `append_unkeyed` concerns `hash`
    only. Raises ConfigError for unknown names, sizes and duplicates.
    """
    configs = []
    for entry in (part.strip() for part in text.split(",")):
        index, *rest = entry.split("/", 2)  # a path may follow
        if not index:
            raise ConfigError(
                f"policy {entry!r} is not understood; write it like radix, hash/16 or radix/1/lfu"
            )
        if rest and not rest[0].isdecimal():
            raise ConfigError(f"policy {entry!r}: {rest[0]!r} is not a block size in tokens")
        config = CacheConfig(
            index,
            int(rest[0]) if rest else block_size,
            kv_tokens,
            rest[1] if len(rest) > 1 else eviction,
            append_unkeyed and index == "hash",
        )
        if config in configs:
            raise ConfigError(f"policy {entry!r} is named twice")
        configs.append(config)
    return configs
