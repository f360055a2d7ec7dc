"""What is run for each claim: workloads with exact lengths, under no cache, `radix` and `hash`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from benchmarks.claims.workloads import SharedStart
from benchmarks.jobs import Job
from pcache.trace import generate
from pcache.trace.slice import slice_trace
from pcache.types import Trace

__all__ = [
    "CASES",
    "GPU_MODEL",
    "KV_TOKENS",
    "POLICIES",
    "Case",
    "few_shot",
    "job_of",
    "same_prompt",
]

GPU_MODEL = "llama-3.1-8b"
KV_TOKENS = 300_000
BLOCK_SIZE = 16
POLICIES = ("none", "radix", "hash")
WARM_UP = 1
"""The first request fills the cache, where requests come one after another."""


_ONE_SESSION = 1e-6
"""Sessions a second: the second one would begin long after the first has given all requests."""


@dataclass(frozen=True, slots=True)
class Case:
    """One workload of a claim. `warm_up` requests are not counted; `expected_s` for the slowest policy
    on an H200."""

    name: str
    claim: str
    condition: str
    trace: Callable[[], Trace]
    warm_up: int
    expected_s: float


@lru_cache(maxsize=32)
def shared_start(shared: int, own: int, output: int, requests: int, gap_s: float) -> Trace:
    """Prompts with a common beginning, all lengths exact."""
    made = SharedStart(
        shared_tokens=shared, own_tokens=own, output_tokens=output, requests=requests, gap_s=gap_s,
        rate=_ONE_SESSION,
    )  # fmt: skip
    trace = generate(made, seed=1)
    return replace(trace, arrival_ns=trace.arrival_ns - trace.arrival_ns[0])


@lru_cache(maxsize=32)
def few_shot(output: int) -> Trace:
    """One task of ten examples, 128 questions at once."""
    trace = generate("few-shot", seed=1, requests=128, shots=10, tasks=1, output_tokens=output)
    return slice_trace(trace, time_scale=1e6)


@lru_cache(maxsize=32)
def same_prompt(output: int) -> Trace:
    """One prompt of 2,048 tokens, 64 times at once."""
    return generate("same-prompt", seed=1, requests=64, batch=64, output_tokens=output)


@lru_cache(maxsize=32)
def chat(output: int, system: int = 400) -> Trace:
    """Conversations of five turns on average, arriving far faster than they can be served."""
    trace = generate(
        "multi-turn-chat", seed=1, requests=80, output_tokens=output, system_tokens=system
    )
    return slice_trace(trace, time_scale=100.0)


REPEATED = (512, 2048, 8192, 32_768)
"""Prompt lengths of the claim about a hit's prefill."""
CASES = (
    Case("system-prompt", "system-prompt", "1,000 shared + 100 own tokens, 16 out, one every 2 s",
         partial(shared_start, 1000, 100, 16, 25, 2.0), WARM_UP, 5),
    Case("prefill-in-turn", "prefill", "100 requests of 2,000 shared + 100 own tokens, one a second",
         partial(shared_start, 2000, 100, 4, 100, 1.0), 0, 10),
    Case("prefill-at-once", "prefill", "the same 100 requests, all at once",
         partial(shared_start, 2000, 100, 4, 100, 0.0), 0, 7),
    Case("chat", "chat", "80 turns of chats within a second, 240 tokens out on average",
         partial(chat, 240), 0, 12),
    Case("few-shot-24", "few-shot", "10 examples, 128 questions at once, 24 tokens out on average",
         partial(few_shot, 24), 0, 6),
    Case("few-shot-8", "few-shot", "10 examples, 128 questions at once, 8 tokens out on average",
         partial(few_shot, 8), 0, 6),
    Case("same-prompt-24", "same-prompt", "one prompt of 2,048 tokens 64 times, 24 out on average",
         partial(same_prompt, 24), 0, 5),
    Case("same-prompt-8", "same-prompt", "one prompt of 2,048 tokens 64 times, 8 out on average",
         partial(same_prompt, 8), 0, 5),
    *(
        Case(f"repeat-{tokens}", "zero-prefill", f"the same {tokens:,} tokens again, one every 3 s",
             partial(shared_start, tokens, 0, 4, 5, 3.0), WARM_UP, 1 + tokens / 4000)
        for tokens in REPEATED
    ),
)  # fmt: skip


def job_of(case: Case, policy: str) -> Job:
    """What to run and to simulate."""
    options = {"block_size": BLOCK_SIZE, "warm_up": case.warm_up}
    return Job(
        f"{case.name}-{policy}", case.trace, f"{case.name}.jsonl", policy, KV_TOKENS, case.expected_s,
        options,
    )  # fmt: skip
