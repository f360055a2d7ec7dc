"""Length-only CSV."""

from __future__ import annotations

from pathlib import Path

import pytest
from trace_checks import assert_valid

from pcache.errors import TraceError
from pcache.prefixes import build_forest
from pcache.trace import read_trace
from pcache.trace.ceilings import ceilings
from pcache.trace.popular import popular_prefixes

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
BURST_2 = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
)


def test_azure(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        AZURE + "2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109"
    )
    trace = read_trace(path)
    assert_valid(trace)
    assert trace.arrival_ns.tolist() == [0, 4_314_579_000]
    assert trace.prompt_tokens.tolist() == [374, 396]
    assert trace.output_tokens.tolist() == [44, 109]
    assert (trace.source_format, trace.has_content) == ("lengths", False)
    path.write_text(
        AZURE + "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,1,2"
    )
    assert read_trace(path).arrival_ns.tolist() == [0, 990_070_000]


def test_burstgpt(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(BURST + "5,ChatGPT,472,18,490,Conversation log\n45.5,GPT-4,10,2,12,API log\n")
    trace = read_trace(path)
    assert_valid(trace)
    assert trace.arrival_ns.tolist() == [5_000_000_000, 45_500_000_000]
    assert trace.classes == ["", "ChatGPT", "GPT-4"]
    path.write_text(BURST_2 + "5.0,s1,1,ChatGPT,472,18,490,API log\n")
    assert read_trace(path).session_ids == ["s1"]


def test_equal_lengths_share_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(AZURE + "2023-11-16 18:15:46,374,44\n" * 3)
    trace = read_trace(path)
    forest = build_forest(trace)
    assert len(set(forest.prompt_node.tolist())) == 3
    assert not (forest.parent[forest.prompt_node] > 1).any()
    for figure in (ceilings, popular_prefixes):
        with pytest.raises(TraceError, match="holds lengths only"):
            figure(trace)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BURST + "5,GPT-4,472,0,472,API log", ":2: Response tokens is \"0\"; expected an integer "
         "from 1 to 16,777,216; failed requests generate nothing: leave them out"),
        (BURST + "5,GPT-4,-3,1,472,API log", ":2: Request tokens is \"-3\""),
        (BURST + "5,GPT-4,1.5,1,472,API log", ":2: Request tokens is \"1.5\""),
        (BURST + "nan,GPT-4,1,1,472,API log", ":2: Timestamp is \"nan\""),
        (BURST + "5,GPT-4,1,1,472,API log\n4,GPT-4,1,1,472,API log", ":3: arrives at 4 s, before"),
        (BURST + "5,GPT-4,1,1", ":2: has 4 columns; expected 6"),
        (AZURE + "soon,1,1", ":2: TIMESTAMP is \"soon\"; expected a date"),
        (AZURE, "no line holds a request below the header"),
        ("a,b\n1,2\n", ":1: the header is not TIMESTAMP,ContextTokens,GeneratedTokens or"),
    ],
)  # fmt: skip
def test_bad_csv(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        read_trace(path, format="lengths")
    assert problem in str(caught.value)
