"""The program as a process: exit status, pipes, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_line import RAG, pcache

from pcache.rundir import NOT_REACHED

PROGRAM = (sys.executable, "-m", "pcache")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_an_error_is_one_line_and_exit_status_2() -> None:
    process = start("simulate", "none.jsonl")
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (2, "")
    assert stderr == (
        "pcache: error: none.jsonl: cannot be read (No such file or directory); check the path\n"
    )


def test_a_reader_that_stops_early_ends_it_quietly() -> None:
    process = start("trace", "convert", RAG, "-")  # more than a pipe holds
    assert process.stdout is not None
    assert process.stdout.readline().startswith("{")
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=120) in (1, -signal.SIGPIPE)


def long_trace(path: Path, num_requests: int) -> None:
    """So many requests at once that simulating them takes far longer than a test waits."""
    with path.open("w") as file:
        for number in range(num_requests):
            line = {
                "timestamp": 0, "input_length": 3, "output_length": 1 + number % 9973,
                "hash_ids": [number],
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")


def test_ctrl_c_while_it_loads_ends_it_quietly() -> None:
    """Sent when the command line begins to be imported."""
    program = """
import os, signal, sys
from pcache.__main__ import main
class Press:
    def find_spec(self, name, *_):
        if name == "pcache.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_partial_run_that_can_be_reported(
    tmp_path: Path, sent: signal.Signals
) -> None:
    trace, runs = tmp_path / "long.jsonl", tmp_path / "runs"
    long_trace(trace, 40_000)
    terminal, stderr = pty.openpty()  # a terminal sees progress, which says when to interrupt
    process = subprocess.Popen(
        [*PROGRAM, "simulate", str(trace), "--policy", "radix,hash", "--out", str(runs)],
        stdout=subprocess.PIPE, stderr=stderr, text=True, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(stderr)
    seen = b""
    while not re.search(rb"[1-9]%", seen):
        seen += os.read(terminal, 4096)
    process.send_signal(sent)
    while b"Ctrl-C again stops at once" not in seen:
        seen += os.read(terminal, 4096)
    stdout, _ = process.communicate(timeout=120)
    os.close(terminal)
    assert process.returncode == 130
    assert "Interrupted: radix/16 is incomplete" in stdout
    summary = json.loads((runs / "radix-16" / "summary.json").read_text())
    assert summary["complete"] is False
    assert 0 < summary["requests_finished"] < 40_000
    requests = pd.read_parquet(runs / "radix-16" / "requests.parquet")
    assert (requests.cached_tokens == NOT_REACHED).any()
    assert not (runs / "hash-16").exists()
    shown = pcache("report", str(runs), "--out", str(tmp_path / "report")).stdout
    assert "radix/16" in shown
    assert "was interrupted after" in (tmp_path / "report" / "index.html").read_text()
