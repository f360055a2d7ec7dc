"""Speed and hit rates beside other tools, in one run on one CPU core.

    python -m benchmarks.peers [TRACE] [--libcachesim PYTHON] [--dynamo PYTHON]

TRACE is the Mooncake conversation trace, found as in benchmarks/core.py. PYTHON is an interpreter
that has libcachesim 0.3.5 or ai-dynamo 1.4.2; by default one is set up under the user's cache folder.
A tool that does not install or run gets a row that says so. Times are medians of five after one that
does not count, and hold neither imports, nor compilation, nor reading of the
trace by pcache and libcachesim (`dynamo.replay` reports a time of its own, without its process).
Writes reports/data/peers.csv anew.

libcachesim gets every full block of 16 prompt tokens as an object of its own, in the order of the
trace: no prefix rule, nothing pinned. Its hits are turned into a share of all prompt tokens.
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.core import FILE_NAME, REPEATS, ROOT, cpu_name, seconds
from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay
from pcache.curve_api import curve
from pcache.prefixes import build_forest
from pcache.provenance import provenance
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import gpu_shape, model_shape
from pcache.sim.roofline import kv_capacity_tokens, roofline
from pcache.sim.simulate import simulate_policy
from pcache.trace import read_trace
from pcache.types import I8, Trace

RESULTS = ROOT / "reports" / "data" / "peers.csv"
COLUMNS = ("part", "tool", "setting", "median_s", "fastest_s", "million_references_per_s",
           "hit_rate", "note", "cpu", "python", "commit")  # fmt: skip
WHEELS = {"libcachesim": "libcachesim==0.3.5", "dynamo": "ai-dynamo==1.4.2"}
BLOCK_SIZE = 16
REPLAY_TOKENS = 2_500_000
POLICIES = ("LRU", "S3FIFO", "LIRS", "Belady")
TIMED = ("LRU", "S3FIFO")
SPEED_UP = 10
"""How much faster dynamo's mock engine is made, so that one worker keeps up with the arrivals."""

LIBCACHESIM = """
import json, sys, time
import libcachesim as lib
path, objects, repeats, policies, timed = json.loads(sys.argv[1])
reader = lib.TraceReader(path, lib.TraceType.ORACLE_GENERAL_TRACE,
                         lib.ReaderInitParam(ignore_obj_size=True))
for policy in policies:
    times = []
    for _ in range(1 + repeats if policy in timed else 1):
        reader.reset()
        cache = getattr(lib, policy)(objects)
        begin = time.perf_counter()
        misses, _ = cache.process_trace(reader)
        times.append(time.perf_counter() - begin)
    print(json.dumps([policy, misses, times[1:]]))
"""
Row = dict[str, Any]


def main() -> None:
    """Run every tool and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("trace", nargs="?", type=Path)
    for tool in WHEELS:
        parser.add_argument(f"--{tool}", type=Path)
    options = parser.parse_args()
    folder = Path(os.environ.get("PCACHE_REAL_TRACES", ROOT.parent / "shared" / "traces"))
    path = options.trace or folder / FILE_NAME
    if not path.is_file():
        sys.exit(f"{path}: no such file; give the Mooncake conversation trace as an argument")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # for this process and its children
    trace = read_trace(path)
    rows = [*own_replays(trace), *own_simulations(trace)]
    with tempfile.TemporaryDirectory() as name:
        for tool, run in (("libcachesim", libcachesim), ("dynamo", dynamo)):
            try:
                python = getattr(options, tool) or installed(tool)
                rows += run(python, trace, path, Path(name))
            except (OSError, subprocess.CalledProcessError) as error:
                said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
                rows.append({"tool": WHEELS[tool], "note": f"did not run: {' '.join(said)}"})
    write(rows)


def own_replays(trace: Trace) -> Iterator[Row]:
    """pcache's replays with the rules of a prefix cache, and the bound of any eviction."""
    forest = build_forest(trace)
    total = int(trace.prompt_tokens.sum())
    for eviction in ("lru", "lifetime"):
        config = CacheConfig("hash", BLOCK_SIZE, REPLAY_TOKENS, eviction=eviction)
        found = replay(trace, config, forest=forest).cached_tokens
        time = seconds(lambda config=config: replay(trace, config, forest=forest))  # type: ignore[misc]
        yield {"part": "replay", "tool": "pcache", "setting": config.label, **timed(trace, time),
               "hit_rate": found.clip(min=0).sum() / total}  # fmt: skip
    points = curve(trace, block_size=BLOCK_SIZE, kv_tokens=str(REPLAY_TOKENS)).points
    bound = points.loc[points["capacity_tokens"] == REPLAY_TOKENS, "bound_hit_rate"].item()
    yield {"part": "replay", "tool": "pcache", "setting": "offline bound", "hit_rate": bound}


def own_simulations(trace: Trace) -> Iterator[Row]:
    """pcache's simulations of the whole trace, prefix forest included."""
    model, gpu = model_shape("llama-3.1-8b"), gpu_shape("h100")
    cost = roofline(model, gpu)
    for size in (512, 16):
        config = CacheConfig("hash", size, kv_capacity_tokens(model, gpu))
        time = seconds(
            lambda config=config: simulate_policy(  # type: ignore[misc]
                trace, config, SchedulerConfig(), cost, forest=build_forest(trace)
            )
        )
        yield {"part": "simulate", "tool": "pcache", "setting": config.label,
               "median_s": time["median"], "fastest_s": time["fastest"]}  # fmt: skip


def libcachesim(python: Path, trace: Trace, _path: Path, folder: Path) -> Iterator[Row]:
    """libcachesim's policies on independent blocks."""
    keys = block_keys(trace)
    file = folder / "blocks.oracleGeneral"
    write_oracle(keys, file)
    asked = [str(file), REPLAY_TOKENS // BLOCK_SIZE, REPEATS, POLICIES, TIMED]
    total = int(trace.prompt_tokens.sum())
    for line in output([python, "-c", LIBCACHESIM, json.dumps(asked)]).splitlines():
        policy, misses, times = json.loads(line)
        time = {"median": float(np.median(times)), "fastest": min(times)} if times else None
        yield {"part": "replay", "tool": WHEELS["libcachesim"], "setting": policy,
               **(timed(trace, time) if time else {}),
               "hit_rate": (1 - misses) * len(keys) * BLOCK_SIZE / total}  # fmt: skip


def dynamo(python: Path, _trace: Trace, path: Path, folder: Path) -> Iterator[Row]:
    """dynamo.replay on the same trace with as much KV memory."""
    plain, report = folder / "trace.jsonl", folder / "report.json"
    plain.write_bytes(
        lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    )
    capacity = kv_capacity_tokens(model_shape("llama-3.1-8b"), gpu_shape("h100"))
    for size in (512, 16):
        engine = {"engine_type": "vllm", "block_size": size, "num_gpu_blocks": capacity // size,
                  "speedup_ratio": SPEED_UP}  # fmt: skip
        times = []
        for _ in range(1 + REPEATS):
            output([python, "-m", "dynamo.replay", plain, "--extra-engine-args", json.dumps(engine),
                    "--report-json", report])  # fmt: skip
            times.append(json.loads(report.read_text())["wall_time_ms"] / 1e3)
        yield {"part": "simulate", "tool": WHEELS["dynamo"], "setting": f"vllm/{size}",
               "median_s": float(np.median(times[1:])), "fastest_s": min(times[1:]),
               "note": f"wall_time_ms of its report; engine sped up {SPEED_UP} times"}  # fmt: skip


def timed(trace: Trace, time: dict[str, float]) -> Row:
    """A time, and the full prompt blocks a second that it stands for."""
    references = int((trace.prompt_tokens // BLOCK_SIZE).sum())
    return {"median_s": time["median"], "fastest_s": time["fastest"],
            "million_references_per_s": references / time["median"] / 1e6}  # fmt: skip


def block_keys(trace: Trace) -> I8:
    """A number for every full block of every prompt; a trace's hash stands for its whole prefix."""
    parts = trace.symbol_tokens // BLOCK_SIZE
    keys = (trace.symbols[:, None] * parts + np.arange(parts)).ravel()
    first = trace.symbol_offsets[:-1] * parts
    return np.concatenate(
        [keys[at : at + count] for at, count in
         zip(first, trace.prompt_tokens // BLOCK_SIZE, strict=True)]
    )  # fmt: skip


def write_oracle(keys: I8, path: Path) -> None:
    """libcachesim's binary format, which tells Belady when a key comes next (-1: never)."""
    kind = [("time", "<u4"), ("key", "<u8"), ("size", "<u4"), ("next", "<i8")]
    rows = np.zeros(len(keys), np.dtype(kind))
    order = np.argsort(keys, kind="stable")
    again = keys[order[:-1]] == keys[order[1:]]
    rows["key"], rows["size"], rows["next"] = keys, 1, -1
    rows["next"][order[:-1][again]] = order[1:][again]
    rows.tofile(path)


def installed(tool: str) -> Path:
    """An interpreter with the tool, set up on first use."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "pcache" / "peers" / WHEELS[tool]
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        venv.create(folder, with_pip=True, clear=True)
        output([python, "-m", "pip", "install", "--quiet", WHEELS[tool]])
        (folder / "complete").touch()
    return python


def output(command: list[Any]) -> str:
    """What a command prints."""
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def write(rows: list[Row]) -> None:
    """Write and print RESULTS."""
    where = provenance()
    same = {"cpu": cpu_name(), "python": where["versions"]["python"], "commit": where["commit"]}
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            rounded = {name: round(float(value), 4) if isinstance(value, float) else value
                       for name, value in row.items()}  # fmt: skip
            writer.writerow(rounded | same)
            print(*(f"{rounded.get(name, '')!s:>24}" for name in COLUMNS[:7]))


if __name__ == "__main__":
    main()
