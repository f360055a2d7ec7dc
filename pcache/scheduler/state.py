"""What the scheduler knows: requests, the waiting queue, the running list, plans in flight.

All state is arrays, so that the same compiled functions serve the simulator's fast loop and the GPU
engine's Python loop. Nothing here reads a clock or draws a random number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pcache.cache.accounting import Accounting, accounting
from pcache.cache.contract import Cache, CacheConfig, make_cache
from pcache.errors import ConfigError
from pcache.jit import records
from pcache.prefixes import PrefixForest, separate_prompts
from pcache.types import I8, Records, Trace

__all__ = [
    "BATCHINGS", "CHUNKED", "CONTINUOUS", "DFS_WEIGHT", "FCFS", "LPM", "ORDERS", "PRIORITY",
    "STATIC", "Scheduler", "SchedulerConfig", "check_order", "make_scheduler", "most_events_a_step",
]  # fmt: skip

STATIC, CONTINUOUS, CHUNKED = range(3)
BATCHINGS: Mapping[str, int] = {"static": STATIC, "continuous": CONTINUOUS, "chunked": CHUNKED}
"""static: a batch is formed, runs until its last request ends. continuous: requests join and leave
between steps, a prompt is prefilled whole, and prefill steps go before decode steps. chunked:
prefill is cut to the token budget and mixed with decodes in one step (vLLM V1)."""

FCFS, LPM, DFS_WEIGHT, PRIORITY = range(4)
ORDERS: Mapping[str, int] = {
    "fcfs": FCFS, "lpm": LPM, "dfs-weight": DFS_WEIGHT, "priority": PRIORITY,
}  # fmt: skip
"""Waiting orders: arrival; longest prefix match and heaviest subtree first (SGLang's rules, with its
in-batch rule and its fall-back to arrival beyond 128 waiting); most urgent first."""


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Limits and rules. `overlap` 1 plans step n+1 while step n runs. `jump` passes over uneventful
    decode steps in the simulator; results are the same without, only slower."""

    batching: str = "chunked"
    order: str = "fcfs"
    token_budget: int = 8192
    max_running: int = 256
    overlap: int = 1
    jump: bool = True

    def __post_init__(self) -> None:
        if self.batching not in BATCHINGS:
            known = ", ".join(BATCHINGS)
            raise ConfigError(f"unknown batching {self.batching!r}; known: {known}")
        if self.order not in ORDERS:
            raise ConfigError(f"unknown order {self.order!r}; known: {', '.join(ORDERS)}")
        if self.token_budget < 1:
            raise ConfigError(f"a token budget of {self.token_budget} cannot run; use 1 or more")
        if not 1 <= self.max_running <= 65536:
            raise ConfigError(f"--max-running {self.max_running} is not between 1 and 65536")
        if self.overlap not in (0, 1):
            raise ConfigError(f"--overlap {self.overlap} is neither 0 nor 1")


class Scheduler(NamedTuple):
    """All state of one replica.

    `requests[i]`: the trace's `prompt`, `output`, `arrival_ns`, `priority`; then `row` (-1: none),
    `target` (tokens to compute before the next sample), `planned` (tokens with KV once all plans so
    far have run), `sampled` and `delivered` (output tokens planned, and on the host), `cached`
    (tokens at first admission, -1 until then), `generated_hits` of it, `preemptions`, `lost` (tokens
    it had when last preempted), `recomputed` (of them computed again, summed over its lives),
    `progress` (tokens that the accounting has seen as computed), `rejected`, and the instants
    `admitted_at_ns`, `first_token_at_ns`, `finished_at_ns` (-1 until then). `misses[i]`: tokens by
    cause.

    `running[:num_running]` are requests in order of admission, `queue` is a ring of waiting ones.
    `plans[slot, k]`: `request`, `row`, `start`, `count`, `samples`, `decode`, `life` (preemptions of
    the request when planned), `indexed_before`. `slots[slot]`: `num_entries`, `planned_at_ns`,
    `ends_at_ns`, `pure_decode`. `state[0]` holds settings and counters.
    """

    cache: Cache
    books: Accounting
    requests: Records
    misses: I8
    running: I8
    queue: I8
    free_rows: I8
    plans: Records
    slots: Records
    scratch: I8
    state: Records


def check_order(config: SchedulerConfig, cache_config: CacheConfig) -> None:
    """Raise ConfigError if the waiting order needs an index that the cache has not."""
    if config.order == "dfs-weight" and cache_config.index in ("hash", "exact"):
        raise ConfigError(
            f"--order dfs-weight walks a tree, which policy {cache_config.index!r} has not; use "
            "--policy radix or --order lpm"
        )


def make_scheduler(
    config: SchedulerConfig,
    cache_config: CacheConfig,
    trace: Trace,
    forest: PrefixForest,
    *,
    log_rows: int = 0,
) -> Scheduler:
    """A scheduler with an empty cache that has seen no arrival yet."""
    check_order(config, cache_config)
    num = len(trace)
    num_rows = min(config.max_running, max(num, 1))
    cache = make_cache(
        cache_config, trace, forest, num_rows=num_rows, log_rows=log_rows,
        chunk_tokens=config.token_budget,
    )  # fmt: skip
    keys = separate_prompts(forest) if cache_config.index == "exact" else forest
    requests = records(
        num, prompt=np.int64, output=np.int64, arrival_ns=np.int64, priority=np.int64,
        row=np.int64, target=np.int64, planned=np.int64, sampled=np.int64, delivered=np.int64,
        cached=np.int64, generated_hits=np.int64, preemptions=np.int64, recomputed=np.int64,
        lost=np.int64, progress=np.int64, admitted_at_ns=np.int64, first_token_at_ns=np.int64,
        finished_at_ns=np.int64, rejected=np.int64,
    )  # fmt: skip
    requests.prompt, requests.output = trace.prompt_tokens, trace.output_tokens
    requests.arrival_ns, requests.priority = trace.arrival_ns, trace.priority
    requests.row = requests.cached = -1
    requests.admitted_at_ns = requests.first_token_at_ns = requests.finished_at_ns = -1
    plans = records(
        2 * num_rows, request=np.int64, row=np.int64, start=np.int64, count=np.int64,
        samples=np.int64, decode=np.int64, life=np.int64, indexed_before=np.int64,
    ).reshape(2, num_rows)  # fmt: skip
    slots = records(
        2, num_entries=np.int64, planned_at_ns=np.int64, ends_at_ns=np.int64, pure_decode=np.int64
    )
    state = records(
        1, batching=np.int64, order=np.int64, token_budget=np.int64, max_running=np.int64,
        overlap=np.int64, jump=np.int64, now_ns=np.int64, num_arrived=np.int64,
        num_running=np.int64, num_waiting=np.int64, queue_head=np.int64, num_free_rows=np.int64,
        num_finished=np.int64, num_rejected=np.int64, num_preemptions=np.int64,
        plan_slot=np.int64, plan_ready=np.int64, plan_tried=np.int64, num_in_flight=np.int64,
        gpu_free_at_ns=np.int64, evicted_before=np.int64, preempted_before=np.int64,
        num_steps=np.int64, batch_left=np.int64,
    )  # fmt: skip
    settings = state[0]
    settings.batching, settings.order = BATCHINGS[config.batching], ORDERS[config.order]
    settings.token_budget, settings.max_running = config.token_budget, num_rows
    settings.overlap, settings.jump = config.overlap, int(config.jump)
    settings.num_free_rows = num_rows
    free_rows = np.arange(num_rows - 1, -1, -1, dtype=np.int64)
    # The sorting orders need a few numbers for every waiting request and tree node.
    scratch = np.zeros(3 * (num + 1) + 3 * len(cache.radix.tree.nodes), np.int64)
    return Scheduler(
        cache, accounting(forest, keys), requests, np.zeros((num, 4), np.int64),
        np.zeros(num_rows, np.int64), np.zeros(num + 1, np.int64), free_rows, plans, slots,
        scratch, state,
    )  # fmt: skip


def most_events_a_step(trace: Trace, cache: CacheConfig, scheduler: SchedulerConfig) -> int:
    """Rows that planning or committing one step can add to the log, were every block a run of its
    own: what is allocated and evicted, and the cached blocks of every request admitted at once."""
    longest = int((trace.prompt_tokens.astype(np.int64) + trace.output_tokens).max(initial=1))
    blocks = (scheduler.token_budget + longest) // cache.block_size + 4 * scheduler.max_running
    capacity = blocks if cache.kv_tokens is None else cache.kv_tokens // cache.block_size
    shared = min(scheduler.max_running, len(trace)) * (longest // cache.block_size)
    return 8 * blocks + shared + min(capacity, 1 << 22) + 1024
