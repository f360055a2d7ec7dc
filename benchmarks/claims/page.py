"""The page of the claims: what is quoted, what came out, under which conditions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.claims.figures import draw_factors, draw_indexes
from benchmarks.claims.index_growth import PASSES
from benchmarks.claims.index_verdicts import about_indexes, index_verdicts
from benchmarks.claims.verdicts import CLOSE, NOT_MEASURED, QUOTED_FACTORS, Verdict, verdicts
from pcache.report.facts import Fact, measured_on, world_sentences
from pcache.report.runs import Run
from pcache.report.study import Section, StudyTable, render_study
from pcache.report.tables import Cell
from pcache.report.units import MISSING, aligned, count_text
from pcache.sim.latency import Latency

__all__ = ["Claims", "render"]


@dataclass(frozen=True, slots=True)
class Claims:
    """`cases`: a row a case and policy with both sides; `factors`: by output length; `machines`: TTFT
    of the system prompt by GPU and model; `index` and `lengths`: what `index_growth` wrote; `measured`
    is any measured run, None where there is none."""

    cases: pd.DataFrame
    factors: pd.DataFrame
    machines: pd.DataFrame
    index: pd.DataFrame
    lengths: pd.DataFrame
    latency: Latency
    measured: Run | None


def render(claims: Claims, out: Path) -> Path:
    """Write page, charts and tables to `out`."""
    found = verdicts(claims.cases, claims.machines, claims.factors)
    sections = [
        Section("What holds", table=_overview([*found, *index_verdicts(claims.index)]),
                notes=_notes(claims.cases)),
        *(
            Section(v.title, v.sentences, table=_cases(claims.cases, v.claims), notes=[v.conditions])
            for v in found
        ),
        Section(
            "The system prompt on other machines", [], table=_machines(claims.machines),
            notes=["Simulated TTFT p50 of the same requests. A roofline is optimistic, the factor less "
                   "so than the values."],
        ),
        Section(
            "What the factors of throughput depend on",
            charts=[partial(draw_factors, claims.factors, QUOTED_FACTORS)],
        ),
        Section(
            "Trees against hash tables", about_indexes(claims.index, claims.lengths),
            [partial(draw_indexes, claims.index)], _index(claims.index), notes=[_index_note(claims)],
        ),
    ]  # fmt: skip
    measured = claims.measured
    return render_study(
        out,
        "Often-quoted figures of prefix caching, tried",
        facts=_facts(claims),
        worlds={
            "simulated": claims.latency.note,
            "measured": NOT_MEASURED
            if measured is None
            else world_sentences([measured])["measured"],
        },
        warnings=_warnings(claims),
        sections=sections,
        tables={"cases": claims.cases, "factors": claims.factors, "machines": claims.machines},
    )


def _facts(claims: Claims) -> list[Fact]:
    known = claims.measured
    return [
        Fact("Model", claims.latency.shape.name, "random weights"),
        Fact("Simulated with", claims.latency.cost.source),
        Fact("Measured on", "nothing yet") if known is None else measured_on(known),
        Fact("Blocks", "16 tokens", "every policy"),
        Fact("KV capacity", "300 k tokens", "more than any case needs"),
        Fact("Indexes on", str(claims.index["machine"].iloc[0]), "one core"),
    ]


def _warnings(claims: Claims) -> list[str]:
    if claims.measured is None:
        return ["Nothing of this page was measured on a GPU yet but the profile of step times."]
    missing = claims.cases[claims.cases["num_measured"] == 0]
    parted = claims.cases[claims.cases["parity"].eq(False)]
    found = (
        [f"{len(missing)} of {len(claims.cases)} runs are not measured yet."]
        if len(missing)
        else []
    )
    return found + [
        f"{r.case}, {r.policy}: a replay takes other decisions." for r in parted.itertuples()
    ]


def _notes(cases: pd.DataFrame) -> list[str]:
    notes = [f"A factor counts as reached when it is missed by no more than {100 * CLOSE:.0f} %."]
    known = cases["measured_spread"].dropna()
    if known.empty:
        return notes
    return [
        *notes,
        f"Measured values are means of {cases['num_measured'].max()} runs, whose TTFT p50 lie "
        f"{known.median():.1f} % apart in the median case and {known.max():.1f} % at most.",
    ]


def _overview(found: list[Verdict]) -> StudyTable:
    rows = [
        [v.title, Cell(v.quoted, "text"), Cell(v.simulated, "text"), Cell(v.measured, "text"),
         Cell(v.verdict, "text")]
        for v in found
    ]  # fmt: skip
    return StudyTable(["Claim", "quoted", "simulated here", "measured here", "verdict"], rows)


_COLUMNS = {
    "hit rate, %": ("hit_rate", 100.0), "TTFT p50, ms": ("ttft_p50_ms", 1.0),
    "requests/s": ("throughput_requests_per_s", 1.0), "prefilled tokens": ("prefilled_tokens", 1.0),
}  # fmt: skip


def _cases(cases: pd.DataFrame, claims: tuple[str, ...]) -> StudyTable:
    part = cases[cases["claim"].isin(claims)]
    again = part["condition"].eq(part["condition"].shift())
    names = part["condition"].where(~again, "").tolist()
    headings, columns = ["Case", "policy"], [[Cell(name, "text") for name in part["policy"]]]
    for heading, (number, scale) in _COLUMNS.items():
        for side in ("simulated", "measured"):
            values = part[f"{side}_{number}"].astype(float)
            if values.notna().any():
                headings.append(f"{heading}: {side}")
                digits = 0 if number == "prefilled_tokens" else 2
                columns.append(aligned(values.tolist(), scale, digits))
    return StudyTable(headings, [list(row) for row in zip(names, *columns, strict=True)])


def _machines(table: pd.DataFrame) -> StudyTable:
    rows = [
        [f"{r['model']} on {r['gpu']}", f"{r['ttft_without_ms']:.1f}", f"{r['ttft_hit_ms']:.1f}",
         f"{r['factor']:.1f}×", Cell(r["source"], "text")]
        for r in table.to_dict("records")
    ]  # fmt: skip
    headings = ["Model and GPU", "without a cache, ms", "on a hit, ms", "factor", "step times"]
    return StudyTable(headings, rows)


def _index(table: pd.DataFrame) -> StudyTable:
    rows = []
    for row in table[table["prompts"].isin([1000, table["prompts"].max()])].to_dict("records"):
        timed = row["lookup_us"] == row["lookup_us"]
        rows.append([
            f"{row['structure']}, {row['prompts']:,} prompts", f"{row['nodes']:,}",
            f"{count_text(row['bytes'])}B", f"{100 * row['found']:.1f}",
            f"{row['passed']:.1f}" if timed else MISSING,
            f"{row['lookup_us']:.2f}" if timed else MISSING,
        ])  # fmt: skip
    headings = ["Structure", "nodes or blocks", "bytes", "prompt tokens found, %",
                "nodes or blocks passed", "look-up, µs"]  # fmt: skip
    return StudyTable(headings, rows)


def _index_note(claims: Claims) -> str:
    largest = claims.index[claims.index["prompts"] == claims.index["prompts"].max()].iloc[0]
    return (
        f"Prompts of generated multi-turn chats, up to {largest['prompts']:,} with "
        f"{count_text(largest['tokens_added'])} tokens. Look-ups are of 200 prompts in the cache, the "
        f"same at every size, medians of {PASSES} passes; found is asked of the 500 prompts that come "
        "next. Bytes are arrays at half load, as compact as it gets; objects of Python take more. The "
        "hash is a 64-bit mix; engines that hash with SHA-256 pay more a token. "
        f"Commit {str(claims.index['commit'].iloc[0])[:12]}; index.csv and "
        "index_lengths.csv beside this page."
    )
