"""Every request's logits equal those of an uncached forward pass, whatever the cache did.

Several hundred requests with heavy sharing run through pools so small that they thrash, in fp32
(IEEE: no TF32), with blocks full of NaN until they are written. The comparison is worth something
because it fails as soon as one cached slot holds what belongs to another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from engine_workload import LARGER, SMALL, Setup, build_model, plain_logits, shared_workload
from gpu_engine import FP32_TOLERANCE

from pcache.cache.contract import BLOCK_SIZE, CacheConfig, evicted_blocks
from pcache.gpu.clock import Clock
from pcache.gpu.device import open_device
from pcache.gpu.engine import EngineRun
from pcache.gpu.kv_pool import KVPool
from pcache.gpu.layouts import NO_GRAPHS, GraphBuckets
from pcache.gpu.prompts import request_tokens
from pcache.gpu.runner import Pending, Runner, RunnerConfig
from pcache.gpu.step import StepInputs
from pcache.prefixes import build_forest
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import ModelShape
from pcache.trace import slice_trace
from pcache.types import I8, Trace

pytestmark = pytest.mark.usefixtures("one_thread")

POLICIES = [("radix", 1), ("radix", 16), ("hash", 1), ("hash", 16), ("exact", 16), ("none", 16)]


@dataclass
class Workload:
    """A trace with the logits of each request from its prompt's last token on: `expected`, and how
    far those of the engine were from them: `errors[request, position]`."""

    trace: Trace
    setup: Setup
    expected: list[Any]
    errors: dict[tuple[int, int], float] = field(default_factory=dict)

    def sink(self, requests: I8, positions: I8, logits: Any) -> None:
        """Compare the logits of one step; a position may come once only."""
        for request, position, row in zip(
            requests.tolist(), positions.tolist(), logits, strict=True
        ):
            assert (request, position) not in self.errors
            first = int(self.trace.prompt_tokens[request]) - 1
            difference = np.abs(row - self.expected[request][position - first]).max()
            self.errors[request, position] = float(np.nan_to_num(difference, nan=np.inf))

    def sampled(self) -> set[tuple[int, int]]:
        """Every position whose logits yield an output token."""
        lengths = zip(self.trace.prompt_tokens, self.trace.output_tokens, strict=True)
        return {
            (request, prompt - 1 + token)
            for request, (prompt, output) in enumerate(lengths)
            for token in range(output)
        }


def make_workload(shape: ModelShape, trace: Trace, device: str, kernels: str) -> Workload:
    setup = build_model(shape, open_device(device), kernels)
    tokens = request_tokens(trace, shape.vocab_size)
    lengths = (trace.prompt_tokens + trace.output_tokens - 1).tolist()
    sequences = [
        (tuple(tokens.ids[begin : begin + length].tolist()), prompt - 1)
        for begin, length, prompt in zip(
            tokens.offsets, lengths, trace.prompt_tokens.tolist(), strict=True
        )
    ]
    distinct = list(dict.fromkeys(sequences))
    expected = dict(zip(distinct, plain_logits(setup, distinct), strict=True))
    return Workload(trace, setup, [expected[sequence] for sequence in sequences])


@pytest.fixture(scope="module")
def small() -> Workload:
    return make_workload(SMALL, shared_workload(520), "cpu", "reference")


@pytest.fixture(scope="module")
def larger() -> Workload:
    trace = shared_workload(520, scale=8, vocab_size=LARGER.vocab_size)
    return make_workload(LARGER, trace, "cuda", "triton")


Tamper = Callable[["TamperedRunner", StepInputs], None]


class TamperedRunner(Runner):
    """Lets a test reach into pool and table before a step that decides on tokens is launched."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tamper: Tamper | None = None

    def launch(self, inputs: StepInputs, keep_logits: bool = False) -> Pending:
        if self.tamper is not None:
            self.tamper(self, inputs)
        return super().launch(inputs, keep_logits)


def run(
    workload: Workload,
    cache: CacheConfig,
    rules: SchedulerConfig,
    graphs: GraphBuckets = NO_GRAPHS,
    tamper: Tamper | None = None,
) -> EngineRun:
    """Run the workload; its `errors` then has the largest difference at every sampled position."""
    trace, model = workload.trace, workload.setup.model
    assert cache.kv_tokens is not None
    pool = KVPool(model.shape, cache.kv_tokens // cache.block_size + 1, cache.block_size,
                  model.dtype, model.device, poison=True)  # fmt: skip
    limits = RunnerConfig(model.max_context_tokens, rules.max_running, rules.token_budget,
                          graphs=graphs)  # fmt: skip
    runner = TamperedRunner(model, pool, limits)
    runner.prepare()
    runner.tamper = tamper
    tokens = request_tokens(trace, model.shape.vocab_size)
    workload.errors.clear()
    engine = EngineRun(
        trace, build_forest(trace), tokens, cache, rules, poison=True, logits_sink=workload.sink
    )
    assert engine.run(runner, Clock(skip_idle=True))
    assert workload.errors.keys() == workload.sampled()
    return engine


def check(workload: Workload) -> None:
    wrong = {at: error for at, error in workload.errors.items() if error > FP32_TOLERANCE}
    assert not wrong, f"{len(wrong)} of {len(workload.errors)} positions, first {min(wrong)}"


def check_thrashing(engine: EngineRun, policy: str) -> None:
    """The run was worth its while: chunked prefill, preemptions, evictions, hits."""
    s, size = engine.scheduler, engine.scheduler.cache.settings[BLOCK_SIZE]
    assert s.state[0].num_finished == len(s.requests) >= 500
    assert s.state[0].num_preemptions >= 5
    assert (s.requests.recomputed > 0).any()
    if policy != "none":
        assert evicted_blocks(s.cache) * size > 5000
        assert (s.requests.cached > 0).sum() > (5 if policy == "exact" else 100)


@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize(("policy", "size"), POLICIES)
def test_logits_are_those_without_a_cache(
    small: Workload, policy: str, size: int, overlap: int
) -> None:
    rules = SchedulerConfig(token_budget=40, max_running=16, overlap=overlap)
    engine = run(small, CacheConfig(policy, size, 304), rules)
    check(small)
    check_thrashing(engine, policy)


def swap_slots(runner: TamperedRunner, one: tuple[int, int], other: tuple[int, int]) -> None:
    data = runner._pool.data
    first, second = data[:, :, one[0], one[1]], data[:, :, other[0], other[1]]
    assert not torch.equal(first, second)
    kept = first.clone()
    first.copy_(second)
    second.copy_(kept)


class Mutation:
    """Once, before a step in which a request that hit the cache yields a token: exchange something
    of its first block with another running request that begins with other tokens."""

    def __init__(self, kind: str, trace: Trace) -> None:
        self.kind, self.trace = kind, trace
        self.done = 0

    def __call__(self, runner: TamperedRunner, inputs: StepInputs) -> None:
        ready = (inputs.starts > 0) & inputs.samples & (inputs.counts > 1)
        others = (inputs.starts > runner._pool.block_size) & inputs.samples
        table = runner._table.clone()
        for row, position, first, count in inputs.table_runs.tolist():
            table[row, position : position + count] = torch.arange(first, first + count)
        for row in inputs.rows[ready].tolist():
            for other in inputs.rows[others].tolist():
                mine, theirs = int(table[row, 0]), int(table[other, 0])
                if self.done or mine == theirs:
                    continue
                if runner._pool.data[:, :, mine].isnan().any():
                    continue
                self.exchange(runner, inputs, row, other, (mine, theirs))

    def exchange(
        self, runner: TamperedRunner, inputs: StepInputs, row: int, other: int,
        blocks: tuple[int, int],
    ) -> None:  # fmt: skip
        mine, theirs = blocks
        self.done += 1
        if self.kind == "slot":
            swap_slots(runner, (mine, 1), (theirs, 1))
        elif self.kind == "block":
            for slot in range(runner._pool.block_size):
                swap_slots(runner, (mine, slot), (theirs, slot))
        else:
            swapped = np.array([[row, 0, theirs, 1], [other, 0, mine, 1]], np.int32)
            runs = inputs.table_runs
            kept = runs[~(np.isin(runs[:, 0], (row, other)) & (runs[:, 1] == 0))]
            object.__setattr__(inputs, "table_runs", np.concatenate([kept, swapped]))


@pytest.mark.parametrize("kind", ["nothing", "slot", "block", "table"])
@pytest.mark.parametrize("policy", ["radix", "hash"])
def test_one_swap_is_noticed(small: Workload, policy: str, kind: str) -> None:
    trace = slice_trace(small.trace, limit=100)
    part = Workload(trace, small.setup, small.expected[:100])
    rules = SchedulerConfig(token_budget=40, max_running=12)
    mutation = Mutation(kind, trace)
    tamper = mutation if kind != "nothing" else None
    run(part, CacheConfig(policy, 16, 368), rules, tamper=tamper)
    if tamper is None:
        check(part)
        return
    assert mutation.done == 1
    with pytest.raises(AssertionError, match="positions, first"):
        check(part)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize(("policy", "size"), POLICIES)
def test_logits_on_a_gpu_are_those_without_a_cache(
    larger: Workload, policy: str, size: int, overlap: int
) -> None:
    """The project's kernels in fp32, eager without overlap and in CUDA graphs with it."""
    rules = SchedulerConfig(token_budget=320, max_running=16, overlap=overlap)
    graphs = GraphBuckets((1, 4, 16), (32, 128), (4, 16), max_extends=4) if overlap else NO_GRAPHS
    engine = run(larger, CacheConfig(policy, size, 8 * 304), rules, graphs)
    check(larger)
    check_thrashing(engine, policy)
