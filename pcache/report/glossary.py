"""The definition of every number on the page."""

from __future__ import annotations

__all__ = ["GLOSSARY"]

GLOSSARY: dict[str, str] = {
    "Hit rate": "Prompt tokens served from the cache ÷ prompt tokens looked up, at each request's "
    "first admission. Weighted by tokens. Rejected requests stay in the denominator; what is "
    "computed again after a preemption is counted apart.",
    "Mean hit rate a request": "The mean over requests of cached ÷ prompt tokens: a short prompt "
    "weighs as much as a long one. A different number from the hit rate.",
    "Ceiling": "The hit rate of an infinite cache with the run's block size, requests served one "
    "after another. Nothing exceeds it. The last prompt token is always computed.",
    "Cold": "Missed because no earlier request had these tokens after the same prefix.",
    "In flight": "Missed because another request was computing them at that moment.",
    "Evicted": "Missed because they had been cached and lost their place, or were never kept, as in "
    "a run without a cache.",
    "Rounding": "Missed because only whole blocks match (only whole prompts, with the policy "
    "exact), or because the last prompt token must be computed. Each missed token has the first "
    "cause that applies of cold, in flight, evicted, rounding; with the hits they sum to all prompt "
    "tokens.",
    "Rejected": "Prompt tokens of requests that can never fit the KV capacity.",
    "TTFT": "Time to first token: first output token − arrival, queueing included.",
    "TPOT": "Time per output token: (last − first token) ÷ (output tokens − 1). Requests of one "
    "output token have none; the table says how many there are.",
    "Queue": "First scheduled − arrival.",
    "E2E": "Last output token − arrival.",
    "p50, p90, p99": "The value that this share of requests stays at or below, interpolated "
    "linearly between the two nearest requests.",
    "Throughput": "Output tokens, or finished requests, a second between the first arrival and "
    "the last finish.",
    "Goodput": "Finished requests a second that meet both latency targets; a target that is not "
    "set is always met.",
    "Preemptions": "How often a running request lost its blocks and had to compute them again.",
    "Peak KV": "Most tokens' worth of blocks held at once, by running requests and by the cache; "
    "peak running counts only the former.",
    "Generated tokens": "Output tokens stay in the cache for the next turn: prompt tokens they "
    "served later, and the mean capacity they occupied.",
    "Simulated, measured, replayed": "From a discrete-event simulation whose step times come from "
    "the named cost model; timed on the named GPU; or the cache alone without any clock.",
    "Difference": "Simulated − measured, in percentage points for shares and in percent of the "
    "measured value otherwise.",
}
