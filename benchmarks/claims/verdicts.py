"""What is quoted, and in words what came out; every number in a sentence is taken from the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd

from pcache.report.units import plural

__all__ = [
    "LONG_SYSTEM_PROMPT",
    "NOT_MEASURED",
    "QUOTED_FACTORS",
    "Verdict",
    "verdicts",
]

NOT_MEASURED = "Not measured on a GPU yet."
QUOTED_FACTORS = {
    "multi-turn chat": 2.5, "few-shot, 10 examples": 8.2, "one prompt in a batch": 12.1,
}  # fmt: skip
LONG_SYSTEM_PROMPT = "the same, system prompt of 4,000"
_NOT_YET = "not yet"
CLOSE = 0.1
"""A quoted figure is reached when it is missed by no more than this share."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim: which rows of the cases belong to it, its figure and ours, and what to make of it."""

    claims: tuple[str, ...]
    title: str
    quoted: str
    simulated: str
    measured: str
    verdict: str
    sentences: tuple[str, ...]
    conditions: str


class _Cases:
    """Numbers of the cases by side: `number("measured", "chat", "radix", "ttft_p50_ms")`."""

    def __init__(self, cases: pd.DataFrame) -> None:
        self._rows = cases.set_index(["case", "policy"])

    def has(self, case: str, side: str = "simulated") -> bool:
        """Whether every policy of the case has numbers of this side."""
        part = self._rows.xs(case, level="case") if case in self._rows.index.levels[0] else None
        return part is not None and bool(part[f"{side}_ttft_p50_ms"].notna().all())

    def number(self, side: str, case: str, policy: str, name: str) -> float:
        return float(self._rows.loc[(case, policy), f"{side}_{name}"])

    def requests(self, case: str) -> int:
        """Requests of the case, those that warm up included."""
        return int(self._rows.loc[(case, "none"), "requests"])

    def ratio(self, side: str, case: str, policy: str, name: str) -> float:
        """A policy's number over that without a cache."""
        return self.number(side, case, policy, name) / self.number(side, case, "none", name)


def verdicts(cases: pd.DataFrame, machines: pd.DataFrame, factors: pd.DataFrame) -> list[Verdict]:
    """A verdict for each claim whose cases are there."""
    known = _Cases(cases)
    found = [
        _system_prompt(known, machines) if known.has("system-prompt") else None,
        _prefill(known) if known.has("prefill-in-turn") and known.has("prefill-at-once") else None,
        *(
            _factor(known, factors, *which) if all(map(known.has, which[1])) else None
            for which in (
                ("chat", {"chat": 240}, "multi-turn chat"),
                ("few-shot", {"few-shot-24": 24, "few-shot-8": 8}, "few-shot, 10 examples"),
                ("same-prompt", {"same-prompt-24": 24, "same-prompt-8": 8}, "one prompt in a batch"),
            )
        ),
        _zero_prefill(known, cases),
    ]  # fmt: skip
    return [verdict for verdict in found if verdict is not None]


def _both(known: _Cases, case: str, words: Callable[[str], str]) -> tuple[str, str]:
    """The same words of both sides; _NOT_YET where there is nothing."""
    measured = words("measured") if known.has(case, "measured") else _NOT_YET
    return words("simulated"), measured


def _better_side(known: _Cases, case: str) -> str:
    """Measured where it was, else simulated."""
    return "measured" if known.has(case, "measured") else "simulated"


def _system_prompt(known: _Cases, machines: pd.DataFrame) -> Verdict:
    def words(side: str) -> str:
        before, after = (
            known.number(side, "system-prompt", p, "ttft_p50_ms") for p in ("none", "radix")
        )
        return f"{before:.1f} to {after:.1f} ms, {before / after:.1f}×"

    simulated, measured = _both(known, "system-prompt", words)
    nearest = machines.loc[(machines["ttft_without_ms"] - 140).abs().idxmin()]
    side = _better_side(known, "system-prompt")
    factor = 1 / known.ratio(side, "system-prompt", "radix", "ttft_p50_ms")
    before = known.number(side, "system-prompt", "none", "ttft_p50_ms")
    saved = before * (1 - 1 / factor)
    requests = known.requests("system-prompt")
    return Verdict(
        ("system-prompt",), "A 1,000-token system prompt takes TTFT from 140 to 40 ms",
        "140 to 40 ms, 3.5×", simulated, measured,
        f"a saving of this size, {'yes' if factor >= 3.5 * (1 - CLOSE) else 'less'}; these "
        f"milliseconds belong to a {'slower' if before < 140 else 'faster'} machine",
        (
            f"TTFT p50 {side}: {words(side)}. The quoted 100 ms for 1,000 tokens are 0.1 ms a token; "
            f"here it is {saved / 1000:.3f} ms.",
            "What is saved is the prefill of 1,000 tokens, so both milliseconds are the machine's: of "
            f"the models and GPUs below, {nearest['model']} on {nearest['gpu']} comes nearest to "
            f"140 ms without a cache ({nearest['ttft_without_ms']:.0f} ms), and has "
            f"{nearest['ttft_hit_ms']:.0f} ms on a hit.",
            "The factor depends on what else is in the prompt: here 100 tokens of its own are computed "
            "either way.",
        ),
        f"{requests} requests, one every 2 s, so that none waits; the first one fills the cache and "
        "is not counted.",
    )  # fmt: skip


def _prefill(known: _Cases) -> Verdict:
    def words(side: str) -> str:
        turn, once = (
            1 / known.ratio(side, case, policy, "prefilled_tokens")
            for case, policy in (("prefill-in-turn", "radix"), ("prefill-at-once", "radix"))
        )
        hashed = 1 / known.ratio(side, "prefill-at-once", "hash", "prefilled_tokens")
        return f"{turn:.1f}× in turn; at once {once:.1f}× radix, {hashed:.1f}× hash"

    simulated, measured = _both(known, "prefill-at-once", words)
    side = _better_side(known, "prefill-at-once")
    turn = 1 / known.ratio(side, "prefill-in-turn", "radix", "prefilled_tokens")
    once = 1 / known.ratio(side, "prefill-at-once", "radix", "prefilled_tokens")
    most = 100 * 2100 / (2100 + 99 * 100)
    return Verdict(
        ("prefill",), "100 requests that share 2,000 tokens, with 100 of their own, prefill 16× less",
        "16×", simulated, measured,
        "holds when requests come one after another; a burst gets "
        f"{'less' if once < 16 * (1 - CLOSE) else 'as much'} with radix",
        (
            f"By arithmetic it is {most:.1f}×: 210,000 tokens against 2,100 and 99 times 100. One "
            f"after another, {turn:.1f}×.",
            "When all arrive at once, prompts that are in the same step as the first one, or planned "
            "before its step has ended, find nothing in a radix tree yet; hash keys a block when it is "
            "allocated, so that requests of the same step share it.",
        ),
        "Prefilled tokens are prompt tokens that were computed, over all 100 requests.",
    )  # fmt: skip


def _factor(
    known: _Cases, factors: pd.DataFrame, claim: str, cases: dict[str, int], workload: str
) -> Verdict:
    """`cases` and their mean output tokens."""
    quoted = QUOTED_FACTORS[workload]

    def words(side: str) -> str:
        said = []
        for case, tokens in cases.items():
            if known.has(case, side):
                rate = partial(known.ratio, side, case, name="throughput_requests_per_s")
                said.append(f"{tokens} out: {rate('radix'):.2f}× radix, {rate('hash'):.2f}× hash")
        return "; ".join(said) or _NOT_YET

    simulated, measured = words("simulated"), words("measured")
    part = factors[factors["workload"] == workload]
    best = part[["radix", "hash"]].max(axis=1)
    where = _reached(part, quoted)
    ends = part.iloc[[0, -1]]
    return Verdict(
        (claim,), f"{workload[0].upper()}{workload[1:]}: {quoted:g}× the throughput",
        f"{quoted:g}×", simulated, measured, f"simulated: {where}",
        (
            f"Simulated factors of the better policy run from {best.iloc[0]:.1f}× with answers of "
            f"{ends['output_tokens'].iloc[0]} token to {best.iloc[-1]:.2f}× with "
            f"{ends['output_tokens'].iloc[1]}. Quoted is {quoted:g}×: {where}.",
            *_with_a_long_system_prompt(factors, quoted, workload),
        ),
        "Throughput is finished requests a second against no cache, everything else the same, with "
        "more arriving than can be served. “Out”: output tokens of a request, on average.",
    )  # fmt: skip


def _reached(part: pd.DataFrame, quoted: float) -> str:
    """`radix: not reached, at most 7.3×; hash: reached up to 8 output tokens`, in simulation."""
    words = {}
    for policy in ("radix", "hash"):
        reached = part["output_tokens"][part[policy] >= quoted * (1 - CLOSE)]
        words[policy] = (
            f"reached up to {plural(int(reached.max()), 'output token')}"
            if len(reached) else f"not reached, at most {part[policy].max():.1f}×"
        )  # fmt: skip
    if words["radix"] == words["hash"]:
        return words["radix"]
    return "; ".join(f"{policy}: {said}" for policy, said in words.items())


def _with_a_long_system_prompt(factors: pd.DataFrame, quoted: float, workload: str) -> list[str]:
    """Of the chat, whose factor hangs on what its prompts share."""
    part = factors[factors["workload"] == LONG_SYSTEM_PROMPT]
    if workload != "multi-turn chat" or part.empty:
        return []
    return [
        "It hangs on how much the prompts share: these begin with a system prompt of 400 tokens. With "
        f"one of 4,000: {_reached(part, quoted)}."
    ]


def _zero_prefill(known: _Cases, cases: pd.DataFrame) -> Verdict | None:
    names = [
        name for name in cases["case"].unique() if name.startswith("repeat-") and known.has(name)
    ]
    if not names:
        return None
    names.sort(key=lambda name: int(name.split("-")[1]))

    def words(side: str) -> str:
        each = [
            (n, known.number(side, n, "radix", "ttft_p50_ms")) for n in names if known.has(n, side)
        ]
        return "; ".join(f"{int(n.split('-')[1]):,}: {ms:.1f} ms" for n, ms in each)

    simulated, measured = _both(known, names[0], words)
    last = names[-1]
    side = _better_side(known, last)
    before, after = (known.number(side, last, p, "ttft_p50_ms") for p in ("none", "radix"))
    return Verdict(
        ("zero-prefill",), "0 ms prefill on a hit", "0 ms", simulated, measured,
        "does not hold: a hit still runs one step",
        (
            "Every prompt repeats the one before it, token for token. The last token must be computed "
            "to sample from, here with its block of 16 tokens, and attends to everything cached: a "
            "whole step, which reads all weights and the cached KV.",
            f"{side.capitalize()}, {before:,.0f} ms of {int(last.split('-')[1]):,} tokens become "
            f"{after:.1f} ms: little, but not nothing.",
        ),
        f"{known.requests(last)} requests of each length, one every 3 s; the first one fills the cache "
        "and is not counted. TTFT p50.",
    )  # fmt: skip
