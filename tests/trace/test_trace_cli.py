"""`pcache trace`: what is printed where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from trace_checks import TRACES, native, write_lines
from typer.testing import CliRunner

from pcache.cli.output import OutputFormat, emit, progress
from pcache.cli.trace import trace_app
from pcache.trace import WORKLOADS, read_trace
from pcache.trace.catalogue import CATALOGUE

RAG = str(TRACES / "rag.jsonl.xz")


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(trace_app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_info_fits_80_columns() -> None:
    result = run("info", RAG)
    assert "Most shared prefixes" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_info_as_json_and_csv() -> None:
    frames = json.loads(run("info", RAG, "--format", "json", "--block-size", "16").stdout)
    (row,) = frames["Ceilings: prompts cached, unlimited memory"]
    assert row["block tokens"] == 16
    assert 0.2 < row["by token"] < 0.3
    lines = run("info", RAG, "--format", "csv", "--top", "0").stdout.splitlines()
    assert lines[0] == "table,row,column,value"
    assert "Trace,0,value,rag" in lines


def test_info_reads_a_part() -> None:
    frames = json.loads(run("info", RAG, "--limit", "7", "--format", "json").stdout)
    assert {"figure": "requests", "value": 7} in frames["Trace"]


def test_convert(tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl.gz"
    result = run("convert", RAG, str(out), "--to", "mooncake", "--limit", "9")
    assert "cannot hold request ids" in result.stdout.replace("\n", " ")
    assert (len(read_trace(out)), read_trace(out).source_format) == (9, "mooncake")
    stdout = run("convert", RAG, "-", "--limit", "2").stdout
    assert [json.loads(line)["id"] for line in stdout.splitlines()] == ["s0/0", "s1/0"]


def test_generate(tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl.zst"
    result = run("generate", "rag", "--seed", "3", "--set", "requests=5", "--out", str(out))
    assert "5" in result.stdout
    assert len(read_trace(out)) == 5
    listed = json.loads(run("generate", "--list", "--format", "json").stdout)
    assert [row["workload"] for row in listed] == list(WORKLOADS)
    listed = json.loads(run("generate", "rag", "--list", "--format", "json").stdout)
    assert {"parameter": "retrieved", "default": "5", "meaning": "documents in a prompt"} in listed


def test_fetch_lists_what_there_is() -> None:
    listed = json.loads(run("fetch", "--format", "json").stdout)
    assert [row["name"] for row in listed] == list(CATALOGUE)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("info", "none.jsonl"), "none.jsonl: cannot be read"),
        (("info", RAG, "--limit", "0"), "limit is 0"),
        (("info", RAG, "--block-size", "0"), "block size is 0"),
        (("info", RAG, "--trace-format", "x"), "trace format 'x' is unknown"),
        (("convert", RAG, "/none/x"), "/none/x: cannot be written"),
        (("convert", RAG, "x", "--to", "chat"), "cannot be written; expected native or mooncake"),
        (("generate",), "give a workload and --out"),
        (("generate", "x", "--list"), "workload 'x' is unknown"),
        (("generate", "rag", "--out", "x", "--set", "zipf=-1"), "zipf is -1.0"),
        (("fetch", "x"), "no public trace is called 'x'"),
    ],
)
def test_errors_are_one_line_and_exit_with_2(arguments: tuple[str, ...], problem: str) -> None:
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("pcache: error: ")
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["info", "convert", "generate", "fetch"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: pcache trace {command}" in run(command, "--help").stdout


def test_numbers_keep_their_precision_for_pipes(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"a": [1 / 3, float("nan")], "b": ["x", None], "c": [2**60, 1]})
    emit(frame, format=OutputFormat.json, notes=["note"])
    captured = capsys.readouterr()
    assert json.loads(captured.out) == [
        {"a": 1 / 3, "b": "x", "c": 2**60},
        {"a": None, "b": None, "c": 1},
    ]
    assert captured.err == "note\n"
    emit(frame, format=OutputFormat.csv)
    assert capsys.readouterr().out.splitlines()[1] == f"{1 / 3},x,{2**60}"


def test_wide_tables_fold_and_repeat_their_first_column(
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = pd.DataFrame({"name": ["[x]"]} | {f"figure {at}": [12345.678] for at in range(20)})
    emit(frame, title="Title", format=OutputFormat.table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("[x]" in line for line in lines) == sum("name" in line for line in lines) > 1
    assert sum(line.count("12,346") for line in lines) == 20


def test_progress_is_silent_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("working", 10) as update:
        update(5)
    assert capsys.readouterr().err == ""


def test_native_file_of_one_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", native())
    assert "unlimited memory" in run("info", str(path)).stdout
