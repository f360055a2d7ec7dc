"""Bad input gets one line that names the place, the value and the remedy, and exit status 2."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import RAG, pcache, refused

GOOD = '{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}\n'


def line(**changes: object) -> str:
    return json.dumps(json.loads(GOOD) | changes) + "\n"


def truncated(pack: Callable[[bytes], bytes]) -> bytes:
    packed = pack(b"".join(b"%d" % number for number in range(4000)))
    return packed[: len(packed) // 2]


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n\n", "the file is empty"),
    "binary": (bytes(range(256)) * 4, "binary data; expected JSON lines or CSV"),
    "truncated gzip": (truncated(gzip.compress), "damaged or half-written gzip data"),
    "truncated xz": (truncated(lzma.compress), "damaged or half-written xz data"),
    "half a line": ((GOOD + GOOD[:30]).encode(), ":2: not valid JSON"),
    "prose": (b"hello world\n", ":1: not a trace"),
    "negative length": ((GOOD + line(input_length=-5)).encode(), ":2: field 'input_length' is -5"),
    "huge length": (line(input_length=10**30).encode(), ":1: field 'input_length' is 1000"),
    "unsorted": ((line(timestamp=5) + GOOD).encode(), ":2: arrives at 0 s, before the previous"),
    "unknown field": (line(colour=1).encode(), ":1: unknown field 'colour'"),
    "missing field": (b'{"timestamp": 0, "input_length": 6}\n', ":1: "),
    "contradiction": (line(hash_ids=[0, 1, 2]).encode(), ":1: 'hash_ids' has 3 ids"),
}


@pytest.mark.parametrize("command", ["replay", "simulate", "trace info", "trace tree"])
@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_traces(kind: str, command: str, tmp_path: Path) -> None:
    content, problem = BAD_FILES[kind]
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    error = refused(*command.split(), str(path))
    assert error.startswith(f"{path}:")
    assert problem in error
    assert len(error) < 400


@pytest.mark.parametrize("command", ["replay", "simulate", "trace info"])
def test_no_trace(command: str, tmp_path: Path) -> None:
    assert "cannot be read (No such file" in refused(*command.split(), str(tmp_path / "x"))
    assert "cannot be read (Is a directory" in refused(*command.split(), str(tmp_path))
    assert "the file is empty" in refused(*command.split(), "-", stdin="")


BAD_OPTIONS = {
    "--kv-tokens 4": "a capacity of 4 tokens holds no block of 16 tokens; raise --kv-tokens",
    "--kv-tokens 100": "holds none of the 400 requests",
    "--kv-tokens -5": "--kv-tokens '-5' is not understood; write it like 1000000",
    "--kv-tokens abc": "--kv-tokens 'abc' is not understood",
    "--kv-tokens 0": "--kv-tokens '0' is not above zero",
    "--kv-memory 1KiB": "holds no block of 16 tokens",
    "--kv-memory 80%": "--kv-memory '80%' is not understood; write it like 50GiB",
    "--kv-memory 5XB": "--kv-memory '5XB' is not understood; write it like 50GiB",
    "--kv-tokens 1M --kv-memory 5GiB": "both set the capacity; give one of them",
    "--kv-tokens inf --kv-memory 5GiB": "both set the capacity; give one of them",
    "--policy foo": "unknown policy 'foo'; known: none, exact, hash, radix",
    "--policy radix,radix": "policy 'radix' is named twice",
    "--policy hash/7": "block size 7 is not a power of two from 1 to 512",
    "--policy hash//": "is not a block size",
    "--policy radix/16/foo": "unknown eviction 'foo'; known: lru",
    "--policy hash --evict lfu": "--evict lfu needs --policy radix",
    "--policy ,": "policy '' is not understood",
    "--block-size 0": "block size 0 is not a power of two",
    "--block-size x": "'--block-size'",
    "--model gpt-4": "unknown model 'gpt-4'; known: llama-3.1-8b",
    "--warm-up 400": "--warm-up 400 leaves none of the 400 requests to count; use less",
    "--warm-up -1": "'--warm-up'",
    "--limit 0": "limit is 0",
    "--start 1e6": "no request arrives in this part",
    "--trace-format foo": "trace format 'foo' is unknown; expected auto, native",
    "--tokenizer /none": "tokenizer '/none' is neither",
    "--format xml": "'xml' is not one of",
    "--nope": "no such option: --nope",
}
BAD_SIMULATE_OPTIONS = {
    "--gpu b200": "unknown GPU 'b200'; known: h100",
    "--model llama-3.1-70b": "weights are 131.4 GiB over 1 h100 with 72.0 GiB usable each; use --tp 4",
    "--tp 3": "--tp 3 cannot split the 32 heads of llama-3.1-8b",
    "--tp 0": "'--tp'",
    "--order fast": "unknown order 'fast'; known: fcfs, lpm, dfs-weight, priority",
    "--policy hash --order dfs-weight": "use --policy radix or --order lpm",
    "--batching foo": "unknown batching 'foo'; known: static, continuous, chunked",
    "--token-budget 0": "a token budget of 0 cannot run",
    "--max-running 0": "--max-running 0 is not between 1 and 65536",
    "--overlap 2": "--overlap 2 is neither 0 nor 1",
    "--step-overhead inf": "--step-overhead inf is not between 0 and 60,000 ms",
    "--slo-ttft -3": "--slo-ttft '-3' is not understood; write it like 500ms",
    "--slo-tpot abc": "--slo-tpot 'abc' is not understood",
    "--time-scale 0": "time scale is 0.0; expected 1e-6 to 1e6",
}


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_bad_options_of_replay(options: str) -> None:
    assert BAD_OPTIONS[options] in refused("replay", RAG, *options.split())


@pytest.mark.parametrize("options", BAD_OPTIONS | BAD_SIMULATE_OPTIONS)
def test_bad_options_of_simulate(options: str) -> None:
    problem = (BAD_OPTIONS | BAD_SIMULATE_OPTIONS)[options]
    assert problem in refused("simulate", RAG, *options.split())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("bogus", "no such command 'bogus'; see pcache --help"),
        ("trace bogus", "no such command 'bogus'; see pcache trace --help"),
        ("simulate", "missing argument 'TRACE'; see pcache simulate --help"),
        ("report runs", "missing option '--out'; see pcache report --help"),
    ],
)
def test_wrong_command_lines(arguments: str, problem: str) -> None:
    assert refused(*arguments.split()) == problem


@pytest.mark.parametrize("command", ["replay", "simulate"])
def test_places_that_cannot_be_written(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refused(command, RAG, "--limit", "3", "--out", str(tmp_path / "file"))
    assert error.endswith("cannot write run directories (File exists); choose another --out")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    pcache("replay", RAG, "--limit", "5", "--policy", "radix", "--out", str(tmp_path / "runs"))
    return tmp_path / "runs" / "radix-16"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("summary.json", None, "no run directory here"),
        ("config.json", None, "damaged run directory (no config.json)"),
        ("requests.parquet", None, "damaged run directory (no requests.parquet)"),
        ("summary.json", "{", "damaged run directory"),
        ("summary.json", "[]", "damaged run directory"),
        ("summary.json", "{}", "damaged run directory"),
        ("config.json", "[]", "damaged run directory"),
        ("config.json", '{"format_version": 99}', "format version 99, this pcache reads 1"),
        ("requests.parquet", "PAR1", "damaged run directory"),
        ("steps.parquet", "", "damaged run directory"),
    ],
)
def test_damaged_run_directories(
    name: str, content: str | None, problem: str, runs: Path, tmp_path: Path
) -> None:
    if content is None:
        (runs / name).unlink()
    else:
        (runs / name).write_text(content)
    error = refused("report", str(runs), "--out", str(tmp_path / "report"))
    assert error.startswith(f"{runs}: {problem}")
    assert not (tmp_path / "report").exists()


def test_reports_of_nothing_and_to_nowhere(runs: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "report")
    assert "no such directory" in refused("report", str(tmp_path / "none"), "--out", out)
    (tmp_path / "none").mkdir()
    assert "no run directory here" in refused("report", str(tmp_path / "none"), "--out", out)
    (tmp_path / "file").touch()
    assert "cannot" in refused("report", str(runs), "--out", str(tmp_path / "file"))


@pytest.mark.parametrize("command", ["replay", "simulate"])
def test_a_policy_whose_file_is_not_there(command: str) -> None:
    error = refused(command, RAG, "--kv-tokens", "50k", "--policy", "hash/16/nofile.py:Mine")
    assert "no file nofile.py; `pcache policy new` writes one" in error


@pytest.mark.parametrize("command", ["replay", "simulate"])
def test_what_is_refused_leaves_no_directory(command: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "runs"
    refused(command, RAG, "--limit", "5", "--policy", "hash,foo", "--out", str(out))
    assert not out.parent.exists()
