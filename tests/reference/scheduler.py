"""Scheduler and simulator in plain Python: lists, one step at a time, every rule spelled out."""

from __future__ import annotations

from dataclasses import dataclass, field

from reference.cost import Gpu, commit_ns, run_step
from reference.hash_cache import HashCache, Row
from reference.misses import Ledger
from reference.orders import sorted_by_longest_match, sorted_by_subtree_weight
from reference.radix_cache import RadixCache
from reference.replay import plain_cache, plain_row

from pcache.cache.contract import CacheConfig
from pcache.cost import CostModel
from pcache.scheduler.state import SchedulerConfig
from pcache.types import Trace


@dataclass
class Request:
    number: int
    row: Row
    output: int
    arrival: int
    priority: int
    target: int = 0
    planned: int = 0
    sampled: int = 0
    delivered: int = 0
    cached: int = -2
    preemptions: int = 0
    times: dict[str, int] = field(default_factory=dict)
    misses: list[int] = field(default_factory=lambda: [0, 0, 0, 0])

    @property
    def tokens_so_far(self) -> int:
        return self.row.prompt + self.sampled


@dataclass
class Entry:
    """A request's part of a step. `life`: its preemptions when planned."""

    request: Request
    start: int
    count: int
    decode: bool
    samples: bool
    life: int
    indexed_before: int


class Simulation:
    """`run()` fills `requests`, `steps` (dicts) and `decisions` (step, kind, request, lives, count)."""

    def __init__(
        self, trace: Trace, cache: CacheConfig, config: SchedulerConfig, model: CostModel
    ) -> None:
        self.config, self.model, self.size = config, model, cache.block_size
        self.cache: HashCache | RadixCache = plain_cache(cache)
        self.index = cache.index
        self.requests = [
            Request(
                i, plain_row(trace, i), int(trace.output_tokens[i]), int(trace.arrival_ns[i]),
                int(trace.priority[i]),
            )
            for i in range(len(trace))
        ]  # fmt: skip
        self.coming = list(self.requests)
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self.plan: list[Entry] = []
        self.ledger = Ledger(cache)
        self.now, self.batch_left, self.step = 0, 0, 0
        self.steps: list[dict[str, int]] = []
        self.decisions: list[tuple[int, str, int, int, int]] = []
        self.num_preemptions = 0

    def run(self) -> Simulation:
        flying: list[tuple[list[Entry], int]] = []
        gpu = Gpu()
        while True:
            if len(flying) < 1 + self.config.overlap:
                preempted = self.num_preemptions
                if self.make_plan():
                    parts = [(entry.start, entry.count, int(entry.samples)) for entry in self.plan]
                    context = sum(entry.start + entry.count for entry in self.plan)
                    shared = max(0, context - self.cache.pinned_blocks * self.size)
                    at = run_step(self.model, parts, shared, self.now, gpu)
                    self.record(at.starts, at.ends - at.starts)
                    self.now = at.host_free
                    flying.append((self.plan, gpu.free))
                    continue
                if self.num_preemptions > preempted:
                    continue
            if flying:
                plan, ended = flying.pop(0)
                self.commit(plan, ended)
                self.now = max(self.now, ended) + commit_ns(self.model, len(plan))
            elif self.coming:
                self.now = self.coming[0].arrival
            else:
                return self

    def evicted(self) -> int:
        if isinstance(self.cache, HashCache):
            return len(self.cache.evictions)
        return self.cache.evicted_blocks

    def decide(self, kind: str, request: Request, lives: int = 0, count: int = 0) -> None:
        self.decisions.append((self.step, kind, request.number, lives, count))

    def record(self, start: int, duration: int) -> None:
        """A row a step; evictions and preemptions since the last one."""
        self.steps.append(
            {
                "planned_at_ns": self.now,
                "launched_at_ns": start,
                "duration_ns": duration,
                "ended_at_ns": start + duration,
                "prefill_tokens": sum(entry.count for entry in self.plan if not entry.decode),
                "decode_tokens": sum(entry.count for entry in self.plan if entry.decode),
                "context_tokens": sum(entry.start + entry.count for entry in self.plan),
                "num_running": len(self.running),
                "num_waiting": len(self.waiting),
                "pinned_blocks": self.cache.pinned_blocks,
                "cached_blocks": self.cache.cached_blocks,
                "evicted_blocks": self.evicted()
                - sum(step["evicted_blocks"] for step in self.steps),
                "num_preemptions": self.num_preemptions
                - sum(step["num_preemptions"] for step in self.steps),
            }
        )

    # Planning

    def make_plan(self) -> bool:
        self.step = len(self.steps)
        self.plan = []
        while self.coming and self.coming[0].arrival <= self.now:
            request = self.coming.pop(0)
            if self.cache.rejects(request.row.prompt + request.output - 1):
                request.cached = -1
            else:
                self.waiting.append(request)
        if self.config.order == "priority":
            self.waiting.sort(key=lambda r: (-r.priority, r.number))
        if self.config.batching == "chunked":
            preempted_before = self.num_preemptions
            stuck, budget = self.plan_running(self.config.token_budget)
            if self.num_preemptions == preempted_before and not stuck:
                self.admit_waiting(budget)
        elif self.config.batching == "continuous":
            self.admit_waiting(self.config.token_budget)
        else:
            if not self.running:
                self.batch_left = min(len(self.waiting), self.config.max_running)
            if self.batch_left > 0:
                self.admit_waiting(self.config.token_budget)
        if self.config.batching != "chunked" and not self.plan:
            self.batch_left = 0
            self.plan_running(self.config.max_running)
        return bool(self.plan)

    def plan_running(self, budget: int) -> tuple[bool, int]:
        """Whether somebody got no block and nobody could be preempted; the budget left."""
        for request in list(self.running):
            if request not in self.running or request.sampled == request.output or budget == 0:
                continue
            decode = request.planned >= request.target
            count = 1 if decode else min(request.target - request.planned, budget)
            end = request.planned + count
            while not self.cache.extend(request.row, end, 0 if decode else count):
                planned = {entry.request.number for entry in self.plan}
                victims = [other for other in self.running
                           if other.sampled < other.output or other.number in planned]  # fmt: skip
                if not victims:
                    return True, budget
                victim = victims[-1]
                if self.config.order == "priority":
                    victim = min(reversed(victims), key=lambda r: r.priority)
                budget += self.preempt(victim)
                if victim is request:
                    break
            else:
                self.schedule(request, count, decode)
                budget -= count
        return False, budget

    def schedule(self, request: Request, count: int, decode: bool) -> None:
        start, request.planned = request.planned, request.planned + count
        samples = request.planned >= request.target
        indexed_before = request.row.indexed
        request.sampled += samples
        self.plan.append(
            Entry(request, start, count, decode, samples, request.preemptions, indexed_before)
        )
        self.cache.planned(request.row, request.planned)
        if self.index in ("hash", "exact"):
            self.ledger.computed(request.row, request.planned)

    def preempt(self, victim: Request) -> int:
        """Back to the queue; the tokens of this plan that it gives up."""
        given_back = 0
        for entry in [entry for entry in self.plan if entry.request is victim]:
            self.plan.remove(entry)
            given_back += entry.count
            victim.sampled -= entry.samples
            self.cache.unplan(victim.row, entry.indexed_before)
        self.cache.release(victim.row)
        self.ledger.stop(victim.row)
        self.running.remove(victim)
        self.decide("preempt", victim)
        victim.preemptions += 1
        self.num_preemptions += 1
        self.waiting.insert(0, victim)
        if self.config.order == "priority":
            self.waiting.sort(key=lambda r: (-r.priority, r.number))
        return given_back

    def admit_waiting(self, budget: int) -> None:
        if self.waiting and len(self.running) < self.config.max_running and budget > 0:
            if self.config.order == "lpm" and self.index != "none" and len(self.waiting) <= 128:
                self.waiting = sorted_by_longest_match(self.cache, self.waiting, self.index)
            elif self.config.order == "dfs-weight" and isinstance(self.cache, RadixCache):
                self.waiting = sorted_by_subtree_weight(self.cache, self.waiting)
        first = True
        while self.waiting and len(self.running) < self.config.max_running and budget > 0:
            if self.config.batching == "static" and self.batch_left == 0:
                return
            used = self.admit(self.waiting[0], budget, first)
            if used == 0:
                return
            self.batch_left -= 1
            budget -= used
            first = False

    def admit(self, request: Request, budget: int, first: bool) -> int:
        row, target = request.row, request.tokens_so_far
        hits = self.cache.lookup(row, target)
        matched = hits * self.size
        count = target - matched
        if self.config.batching == "chunked":
            count = min(count, budget)
        elif count > budget and not first:
            return 0
        static = self.config.batching == "static"
        fit = row.prompt + request.output - 1 if static else target
        if not self.cache.admit(row, hits, fit, fit if static else matched + count):
            return 0
        self.waiting.remove(request)
        self.running.append(request)
        request.target, request.planned = target, matched
        if "admitted" not in request.times:
            request.times["admitted"], request.cached = self.now, matched
            request.misses = self.ledger.misses(row, matched)
            self.ledger.present(row, row.prompt)
        self.ledger.start(row, matched, target)
        self.decide("admit", request, request.preemptions, matched)
        self.schedule(request, count, decode=False)
        return count

    # Committing

    def commit(self, plan: list[Entry], ended: int) -> None:
        for entry in plan:
            request = entry.request
            row, end = request.row, entry.start + entry.count
            if not entry.decode and entry.life == request.preemptions:
                self.cache.computed(row, end, request.priority)
                self.ledger.computed(row, end)
            if entry.samples:
                request.delivered += 1
                request.times.setdefault("first_token", ended)
                if request.delivered == request.output:
                    self.finish(request, ended)

    def finish(self, request: Request, ended: int) -> None:
        total = request.row.prompt + request.output - 1
        if total > request.row.prompt:
            self.cache.computed(request.row, total, request.priority)
        self.ledger.present(request.row, total)
        self.ledger.computed(request.row, total)
        self.ledger.stop(request.row)
        self.cache.release(request.row)
        self.running.remove(request)
        request.times["finished"] = ended
        self.decide("finish", request)
