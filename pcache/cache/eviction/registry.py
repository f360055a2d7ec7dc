"""Eviction policies by name, and one made ready for a cache.

A name is one of SGLang's orders (for `radix`), one of the policies below, or `path/to/file.py:Class`
for a subclass of `EvictionPolicy` outside the package. A compiled policy is a module with `needs`, the
sizes of its state, and `entry`; it is loaded, and on first use compiled, only when it is asked for.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np

from pcache.cache.eviction.contract import Setting
from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.eviction.seam import EVENTS, EXPIRED
from pcache.errors import ConfigError
from pcache.types import I8, Records, Trace

__all__ = ["POLICIES", "attach_policy", "check_eviction", "policy_failures", "short_name"]

POLICIES: Mapping[str, str] = {
    "lifetime": "lifetime",
    "2q": "two_q",
    "arc": "arc",
    "s3-fifo": "s3_fifo",
    "sieve": "sieve",
    "lru-2": "lru_k",
    "gdsf": "gdsf",
    "flop-aware": "flop_aware",
    "reuse": "reuse",
    "session": "session",
    "ttl-5m": "ttl_5m",
    "ttl-1h": "ttl_1h",
}
"""Name on the command line → module of this package."""


class Hearing(NamedTuple):
    """A policy made ready: what the cache calls, with what, for which events (a bit each)."""

    address: int
    table: int
    events: int


class Attached(Protocol):
    """What must live as long as the cache that calls it. `failure` is what a policy in Python raised,
    None while all is well."""

    name: str
    failure: BaseException | None
    hearing: Hearing


def check_eviction(index: str, eviction: str) -> None:
    """Raise ConfigError if an index does not know an eviction of this name."""
    if eviction == "lru" or (index == "radix" and eviction in EVICTION_ORDERS):
        return
    if eviction in EVICTION_ORDERS:
        has = ", ".join(["lru", *(POLICIES if index == "hash" else [])])
        raise ConfigError(f"--evict {eviction} needs --policy radix; {index} has: {has}")
    if eviction not in POLICIES and ".py:" not in eviction:
        known = ", ".join([*EVICTION_ORDERS, *POLICIES])
        raise ConfigError(
            f"unknown eviction {eviction!r}; known: {known}, or path/to/file.py:Class"
        )
    if index not in ("radix", "hash"):
        raise ConfigError(
            f"policy {index!r} evicts by its free queue (lru); --evict {eviction} needs --policy "
            "radix or hash"
        )


def short_name(eviction: str) -> str:
    """The name for labels: the class where a file is named."""
    return eviction.rpartition(":")[2]


def attach_policy(eviction: str, setting: Setting, trace: Trace, state: Records) -> None:
    """Make a policy ready and let the cache whose `state` this is call it, as long as `state` lives."""
    attached = _make(eviction, setting, trace)
    at = state[0]
    at.policy, at.policy_table, at.policy_events = attached.hearing
    _attached[id(state)] = attached
    weakref.finalize(state, _attached.pop, id(state))


_attached: dict[int, Attached] = {}


@contextmanager
def policy_failures(*states: Records) -> Iterator[None]:
    """Around calls of caches with these states: raise what their policies raised meanwhile, and
    ConfigError where one named a unit that may not go."""
    try:
        yield
    except ValueError as error:
        for attached in _policies_of(states):
            raise attached.failure or ConfigError(f"--evict {attached.name}: {error}") from error
        raise
    for attached in _policies_of(states):
        if attached.failure is not None:
            raise attached.failure


def _policies_of(states: Iterable[Records]) -> list[Attached]:
    return [_attached[id(state)] for state in states if id(state) in _attached]


class _Compiled:
    """A compiled policy with its state."""

    def __init__(self, name: str, setting: Setting, requests: Records) -> None:
        self.name = name
        self.failure: BaseException | None = None
        from pcache.cache.eviction.compiled import policy_state, state_table

        module = import_module(f"pcache.cache.eviction.{POLICIES[name]}")
        sizes = {"queues": 1, "ghosts": False, "amounts": 0, "numbers": 0, **module.needs}
        expires = sizes.pop("expires", False)
        self._state = policy_state(setting, requests, **sizes)
        self._table: I8 = state_table(self._state)
        events = (1 << len(EVENTS)) - 1
        self.hearing = Hearing(
            module.entry.address, self._table.ctypes.data,
            events if expires else events & ~(1 << EXPIRED),
        )  # fmt: skip


def _make(eviction: str, setting: Setting, trace: Trace) -> Attached:
    from pcache.cache.eviction.compiled import REQUEST

    requests: Records = np.zeros(len(trace), REQUEST).view(np.recarray)
    requests.arrival_ns, requests.prompt_tokens = trace.arrival_ns, trace.prompt_tokens
    requests.session, requests.turn = _numbered(trace.session_ids), trace.turn
    requests.workload_class, requests.priority = trace.workload_class, trace.priority
    if eviction in POLICIES:
        return _Compiled(eviction, setting, requests)
    from pcache.cache.eviction.user_file import PythonPolicy

    return PythonPolicy(eviction, setting, requests)


def _numbered(names: list[str]) -> Any:
    """Equal names → equal numbers from 1; 0 for no name."""
    numbers = {"": 0}
    return [numbers.setdefault(name, len(numbers)) for name in names]
