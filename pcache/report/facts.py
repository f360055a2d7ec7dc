"""What the first screen says in words: what was run, what came out, what to beware of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pcache.quantities import memory_text
from pcache.report.pairs import COMPARED, Pair
from pcache.report.runs import Run, name_of, setting
from pcache.report.series import queue_growth
from pcache.report.units import (
    count_text,
    duration_text,
    plural,
    share_text,
)

__all__ = ["Fact", "facts", "findings", "measured_on", "warnings", "world_sentences"]

NAMED_VALUES = 3

_WORLD_SENTENCES = {
    "simulated": "A cost model says how long each step takes; nothing was run on a device.",
    "measured": "Every step ran on a real GPU and was timed.",
    "replayed": "The cache alone, one request after another, without a clock: hit rates, but no "
    "latencies.",
}
_ON_A_CPU = "Every step ran on a CPU, no GPU was used, and was timed there."
_BATCHING = {
    "static": "static batching",
    "continuous": "continuous batching",
    "chunked": "chunked prefill",
}


@dataclass(frozen=True, slots=True)
class Fact:
    term: str
    value: str
    note: str = ""


def measured_on(run: Run) -> Fact:
    """GPU, versions and commit of a measured run."""
    versions = {**(run.config.get("hardware") or {}), **(run.config.get("versions") or {})}
    known = [f"{key} {versions[key]}" for key in ("pcache", "torch", "triton") if versions.get(key)]
    commit = setting(run.config, "commit")
    return Fact(
        "Measured on",
        str(run.config.get("gpu")),
        ", ".join([*known, *([f"commit {commit[:12]}"] if commit else [])]),
    )


def facts(runs: Sequence[Run]) -> list[Fact]:
    """What was run. A value that differs between runs lists what it takes, if that is short."""

    def fact(
        term: str, value: Callable[[Run], str], note: Callable[[Run], str] | None = None
    ) -> Fact:
        return Fact(term, _together(runs, value), _together(runs, note) if note else "")

    found = [
        fact("Trace", lambda run: str(setting(run.config, "trace.name") or ""), _trace_note),
        fact("Requests", _requests, _prompt_tokens),
        fact("KV capacity", _capacity, _capacity_bytes),
        fact("Model", lambda run: name_of(run.config.get("model"))),
        fact("Device", lambda run: name_of(run.config.get("gpu"))),
        fact("Latency from", lambda run: run.summary.get("latency_source") or "no clock"),
        fact("Scheduler", _scheduler, _scheduler_limits),
        fact("Targets", _targets),
    ]
    return [each for each in found if each.value]


def world_sentences(runs: Sequence[Run]) -> dict[str, str]:
    """For each world in the report, where its numbers come from."""
    present = {run.world for run in runs}
    sentences = {world: text for world, text in _WORLD_SENTENCES.items() if world in present}
    devices = {run.device for run in runs if run.world == "measured"}
    if "CPU" in devices:
        sentences["measured"] = _ON_A_CPU if devices == {"CPU"} else f"Some runs: {_ON_A_CPU}"
    return sentences


def findings(runs: Sequence[Run], pairs: Sequence[Pair]) -> list[str]:
    """What came out of the complete runs, in at most four sentences."""
    sentences = []
    rated = [run for run in runs if run.complete and run.summary.get("hit_rate")]
    if rated:
        best = max(rated, key=lambda run: run.summary["hit_rate"])
        sentences += [_best_hit_rate(best, len(rated)), _what_it_misses(best)]
        sentences.append(_against_no_cache(best, runs))
    if pairs:
        sentences.append(_largest_differences(pairs))
    return [sentence for sentence in sentences if sentence]


def warnings(runs: Sequence[Run]) -> list[str]:
    """What makes the numbers less than they seem."""
    found = []
    for run in runs:
        summary = run.summary
        if not run.complete:
            total = summary["num_requests"]
            found.append(
                f"{run.name} was interrupted after {summary['requests_finished']:,} of "
                f"{plural(total, 'request')}; its numbers cover only what it reached."
            )
        if (growth := queue_growth(run)) is not None:
            queue = ", ".join(f"{num:.3g}" for num in growth)
            found.append(
                f"{run.name} is overloaded, its queue grows through the run: in the four quarters of "
                f"the arrivals {queue} requests were waiting for their first token on average. Its "
                "TTFT is mostly queue, and would be longer with a longer trace."
            )
        if summary["requests_rejected"]:
            found.append(
                f"{run.name} rejected {plural(summary['requests_rejected'], 'request')} that can "
                "never fit its KV capacity; their prompt tokens count as missed."
            )
    if len({setting(run.config, "trace.sha256") for run in runs}) > 1:
        found.append("The runs replay different traces: compare them with care.")
    return found


def _together(runs: Sequence[Run], value: Callable[[Run], str]) -> str:
    distinct: dict[str, str] = {}
    for run in runs:
        if text := value(run):
            distinct.setdefault(text.lower(), text)
    if len(distinct) > NAMED_VALUES:
        return f"{len(distinct)} different, see the configuration"
    return "; ".join(distinct.values())


def _trace_note(run: Run) -> str:
    digest = setting(run.config, "trace.sha256")
    return f"sha256 {digest[:12]}…" if digest else ""


def _requests(run: Run) -> str:
    counted, total = run.summary["requests_counted"], run.summary["num_requests"]
    return f"{counted:,}" if counted == total else f"{counted:,} counted of {total:,}"


def _prompt_tokens(run: Run) -> str:
    return f"{count_text(run.summary['prompt_tokens'])} prompt tokens"


def _capacity(run: Run) -> str:
    tokens = run.summary.get("kv_capacity_tokens")
    return "unlimited" if tokens is None else f"{count_text(tokens)} tokens"


def _capacity_bytes(run: Run) -> str:
    size = run.summary.get("kv_capacity_bytes")
    return "" if size is None else memory_text(size)


def _scheduler(run: Run) -> str:
    settings = run.config.get("scheduler")
    if not settings:
        return ""
    batching = str(settings.get("batching"))
    return f"{_BATCHING.get(batching, batching)}, {settings.get('order')}"


def _scheduler_limits(run: Run) -> str:
    budget = setting(run.config, "scheduler.token_budget")
    most = setting(run.config, "scheduler.max_running")
    parts = [] if budget is None else [f"{budget:,} tokens a step"]
    parts += [] if most is None else [f"{most:,} running"]
    return f"at most {' and '.join(parts)}" if parts else ""


def _targets(run: Run) -> str:
    if run.world == "replayed":
        return ""
    parts = [
        f"{name} ≤ {duration_text(limit)}"
        for name, limit in (
            ("TTFT", run.summary.get("slo_ttft_ms")), ("TPOT", run.summary.get("slo_tpot_ms")),
        )
        if limit is not None
    ]  # fmt: skip
    return ", ".join(parts)


def _best_hit_rate(best: Run, num_rated: int) -> str:
    rate = best.summary["hit_rate"]
    most = "the most of all runs, " if num_rated > 1 else ""
    sentence = f"{best.name} serves {share_text(rate)} of the prompt tokens from its cache"
    if best.ceiling:
        return (
            f"{sentence}: {most}{share_text(rate / best.ceiling, 0)} of what an infinite cache "
            f"could ({share_text(best.ceiling)})."
        )
    return f"{sentence}{', the most of all runs' if most else ''}."


def _what_it_misses(best: Run) -> str:
    remedies = {
        "miss_evicted": "had been cached and was evicted: more KV memory or another eviction "
        "policy can win it back",
        "miss_rounding": "was lost to block size: smaller blocks can win it back",
        "miss_in_flight": "was being computed by another request at that moment",
        "miss_rejected": "belongs to rejected requests",
    }
    cold = best.summary.get("miss_cold") or 0.0
    worst = max(remedies, key=lambda field: best.summary.get(field) or 0.0)
    share = best.summary.get(worst) or 0.0
    sentence = f"{share_text(cold)} was never seen before, which no cache can serve"
    if share < 0.001:
        return f"{sentence}."
    return f"{sentence}; {share_text(share)} {remedies[worst]}."


def _against_no_cache(best: Run, runs: Sequence[Run]) -> str:
    same = ("trace.sha256", "trace.requests", "capacity.kv_tokens", "scheduler", "model")
    for run in runs:
        comparable = (
            run.complete
            and run.world == best.world
            and all(setting(run.config, key) == setting(best.config, key) for key in same)
        )
        before, after = run.summary.get("ttft_mean_ms"), best.summary.get("ttft_mean_ms")
        if run.index == "none" and comparable and before and after:
            return (
                f"Its mean TTFT is {duration_text(after)}, against {duration_text(before)} "
                f"without a cache: {_times(before / after)}."
            )
    return ""


def _times(factor: float) -> str:
    if factor >= 1:
        return f"{factor:.1f} times faster"
    return f"{1 / factor:.1f} times slower"


def _largest_differences(pairs: Sequence[Pair]) -> str:
    def furthest(field: str) -> Any:
        compared = next(c for c in COMPARED if c.field == field)
        known = [d for pair in pairs if (d := pair.difference(compared)) is not None]
        return max(known, key=abs, default=None)

    parts = []
    for field, words, unit, digits in (
        ("hit_rate", "hit rate", "points", 2), ("ttft_mean_ms", "mean TTFT", "%", 1),
        ("ttft_p99_ms", "p99 TTFT", "%", 1),
    ):  # fmt: skip
        value = furthest(field)
        if value is not None:
            parts.append(f"{abs(value):.{digits}f} {unit} in {words}")
    if not parts:
        return ""
    many = "at most " if len(pairs) > 1 else ""
    return f"Simulated and measured differ by {many}{', '.join(parts)}."
