"""What the host does around steps: planning, launching and committing, seen in a real run.

The engine runs a made-up trace on the runner at hand, with its cache, its scheduler and overlap.
Every action's instant is in the engine's record; only the end of a launch is not, so launches are
watched.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from pcache.cache.contract import CacheConfig
from pcache.cost.contract import CostModel
from pcache.cost.points import LoopSample, StepShape
from pcache.cost.profile import EngineSizes
from pcache.cost.profiled import runs_in_graph
from pcache.gpu.clock import Clock
from pcache.gpu.engine import EngineRun, compile_loop
from pcache.gpu.prompts import request_tokens
from pcache.gpu.runner import Pending, Runner
from pcache.gpu.step import StepInputs
from pcache.gpu.synthetic import SyntheticRunner
from pcache.prefixes import build_forest
from pcache.scheduler.loop import COMMIT, LAUNCH, PLAN, WAIT
from pcache.scheduler.state import SchedulerConfig
from pcache.types import I4, I8, Trace

__all__ = ["LoopLoad", "time_loop"]


@dataclass(frozen=True, slots=True)
class LoopLoad:
    """The made-up trace: requests of one system prompt and a question of their own.

    The first `num_apart` come so far apart, and ask for so little, that the engine is idle between
    them; the others every `gap_ns`, so that at first few run together and in the end many.
    """

    num_apart: int
    num_requests: int
    longest_prompt: int
    longest_output: int
    gap_ns: int

    def trace(self, vocab_size: int) -> Trace:
        rng = np.random.default_rng(1)
        num = self.num_apart + self.num_requests
        own = np.exp(rng.uniform(np.log(8), np.log(self.longest_prompt), num)).astype(np.int64)
        system = rng.integers(vocab_size, size=self.longest_prompt // 4)
        prompts = [np.concatenate([system, rng.integers(vocab_size, size=n)]) for n in own]
        lengths = np.array([len(prompt) for prompt in prompts], np.int64)
        zeros = np.zeros(num, np.int32)
        outputs = rng.integers(2, self.longest_output, size=num)
        outputs[: self.num_apart] = 2
        gaps = np.full(num, self.gap_ns)
        gaps[: self.num_apart + 1] = 10 * self.gap_ns
        return Trace(
            name="calibration", source_format="native", sha256="", symbol_tokens=1,
            request_ids=[f"r{i}" for i in range(num)], session_ids=[""] * num, turn=zeros,
            arrival_ns=np.cumsum(gaps).astype(np.int64),
            prompt_tokens=lengths.astype(np.int32),
            output_tokens=outputs.astype(np.int32),
            priority=zeros, salt=zeros, salts=[""], workload_class=zeros, classes=[""],
            symbols=np.concatenate(prompts),
            symbol_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        )  # fmt: skip


@dataclass(slots=True)
class _Watched:
    """A runner whose launches are timed."""

    runner: Runner
    launches: list[tuple[StepInputs, int, int]] = field(default_factory=list)

    def launch(self, inputs: StepInputs, keep_logits: bool = False) -> Pending:
        began = time.perf_counter_ns()
        pending = self.runner.launch(inputs, keep_logits)
        self.launches.append((inputs, began, time.perf_counter_ns()))
        return pending

    def poison(self, first_blocks: I4, counts: I4) -> None:
        self.runner.poison(first_blocks, counts)


def time_loop(steps: SyntheticRunner, load: LoopLoad, sizes: EngineSizes) -> list[LoopSample]:
    """Run the load; a sample a step."""
    trace = load.trace(steps.model.shape.vocab_size)
    compile_loop(trace)
    cache = CacheConfig("hash", steps.block_size, (steps.num_blocks - 1) * steps.block_size)
    rules = SchedulerConfig(
        token_budget=steps.config.max_step_tokens, max_running=steps.config.max_rows
    )
    tokens = request_tokens(trace, steps.model.shape.vocab_size)
    engine = EngineRun(trace, build_forest(trace), tokens, cache, rules)
    watched, clock = _Watched(steps.runner), Clock(skip_idle=False)
    if not engine.run(watched, clock):
        raise KeyboardInterrupt
    model = CostModel(np.zeros(9), sizes=sizes.table())
    return _samples(engine.instants, watched.launches, clock, model)


def _samples(
    instants: I8, launches: list[tuple[StepInputs, int, int]], clock: Clock, model: CostModel
) -> list[LoopSample]:
    """Put the record's instants and the watched launches together."""
    actions, at_ns = instants[:, 0], instants[:, 1]
    ended_at = [clock.of(ended) for _, _, ended in launches]
    after = np.flatnonzero(actions == LAUNCH)
    commits = np.flatnonzero(actions == COMMIT)
    # Bookkeeping of a launch goes on for a little after the runner's part.
    kept_on = [
        int(at_ns[i + 1]) - ended for i, ended in zip(after, ended_at, strict=True)
        if i + 1 < len(actions) and actions[i + 1] == PLAN
    ]  # fmt: skip
    bookkeeping = int(np.median(kept_on)) if kept_on else 0
    samples = []
    for step, (launch, commit) in enumerate(zip(after, commits, strict=False)):
        inputs = launches[step][0]
        requests = zip(inputs.starts.tolist(), inputs.counts.tolist(), strict=True)
        sums = StepShape(tuple((start, count, 1) for start, count in requests)).sums()
        planned = launch > 0 and actions[launch - 1] == PLAN
        # The host begins to commit when the tokens are there and its last launch is done.
        last_launch = np.searchsorted(after, commit) - 1
        begins_at = max(int(at_ns[commit]), ended_at[last_launch] + bookkeeping)
        planned_next = commit + 1 < len(actions) and actions[commit + 1] == PLAN
        samples.append(
            LoopSample(
                num_requests=len(inputs.rows),
                new_tokens=len(inputs.token_ids),
                graph=runs_in_graph(model, sums),
                idle=bool(launch > 1 and actions[launch - 2] == WAIT),
                plan_ns=int(at_ns[launch] - at_ns[launch - 1]) if planned else -1,
                launch_ns=int(ended_at[step] - at_ns[launch]) + bookkeeping,
                commit_ns=int(at_ns[commit + 1]) - begins_at if planned_next else -1,
            )
        )
    return samples
