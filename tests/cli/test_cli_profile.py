"""`simulate` with a profile: it is used, named, and refused where it does not belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import RAG, pcache, refused
from made_up_profile import made_up_profile

from pcache.cost import shipped
from pcache.cost.profile_file import write_profile
from pcache.rundir import read_run

FEW = (RAG, "--limit", "6", "--policy", "hash")


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "made-up.json"
    write_profile(made_up_profile(), path)
    return str(path)


def spoken(*arguments: str) -> str:
    return " ".join(pcache("simulate", *FEW, *arguments).stdout.split())


def latency(*arguments: str) -> float:
    shown = pcache("simulate", *FEW, *arguments, "--format", "json").stdout
    return float(json.loads(shown)[0]["TTFT mean ms"])


def test_a_profile_is_used_and_named(profile: str, tmp_path: Path) -> None:
    text = spoken("--profile", profile, "--out", str(tmp_path / "runs"))
    assert "simulated with the profile made-up, measured on NVIDIA H200 on 2026-01-31" in text
    run = read_run(tmp_path / "runs" / "hash-16")
    assert run.summary["latency_source"] == "profile made-up"
    assert (run.config["gpu"], run.config["model"]) == ("h200", "llama-3.1-8b")
    assert run.config["profile"]["name"] == "made-up"
    assert latency("--profile", profile) != latency("--gpu", "h200", "--profile", "roofline")


def test_the_shipped_profile_is_found(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "PROFILES", tmp_path)
    Path(profile).rename(tmp_path / "h200-llama-3.1-8b.json")
    assert "with the profile made-up" in spoken("--gpu", "h200")
    for other in (
        ("--gpu", "l40s"), ("--gpu", "h200", "--tp", "2"), ("--gpu", "h200", "--profile", "roofline"),
        ("--gpu", "h200", "--step-overhead", "2"), ("--gpu", "h200", "--model", "qwen2.5-7b"),
    ):  # fmt: skip
        assert "with a roofline" in spoken(*other)


def test_another_block_size_is_mentioned(profile: str) -> None:
    text = spoken("--profile", profile, "--policy", "hash/64,hash/16")
    assert "measured with blocks of 16 tokens; here they have 64." in text
    assert "with blocks of" not in spoken("--profile", profile)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--gpu", "h100"), "is a profile of h200: leave out --gpu h100"),
        (("--model", "qwen2.5-7b"), "is a profile of llama-3.1-8b: leave out --model qwen2.5-7b"),
        (("--tp", "2"), "is a profile of one GPU: use --tp 1, or no profile"),
        (("--step-overhead", "2"), "--step-overhead belongs to the roofline"),
    ],
)
def test_what_does_not_belong(options: tuple[str, ...], problem: str, profile: str) -> None:
    assert problem in refused("simulate", *FEW, "--profile", profile, *options)


def test_a_gpu_of_unknown_memory(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    write_profile(made_up_profile(gpu="cpu", memory_bytes=0), path)
    assert "give --kv-tokens" in refused("simulate", *FEW, "--profile", str(path))
    assert "made-up" in spoken("--profile", str(path), "--kv-tokens", "9k")


def test_no_file(tmp_path: Path) -> None:
    error = refused("simulate", *FEW, "--profile", str(tmp_path / "x"))
    assert error == f"{tmp_path / 'x'}: cannot read the profile (No such file or directory); " + (
        "pcache calibrate makes one"
    )
