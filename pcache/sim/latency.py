"""Which cost model a simulation uses: a profile of the GPU and model, or else the roofline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcache.cost import StepCost
from pcache.cost.profile import Profile
from pcache.cost.shipped import profile_at, shipped_profile
from pcache.errors import ConfigError
from pcache.shapes import GPUS, ModelShape, gpu_shape, model_shape
from pcache.sim.roofline import (
    DEFAULT_STEP_OVERHEAD_MS,
    kv_capacity_tokens,
    kv_fits_tokens,
    roofline,
)

__all__ = ["DEFAULT_GPU", "DEFAULT_MODEL", "ROOFLINE", "Latency", "choose_latency"]

DEFAULT_MODEL = "llama-3.1-8b"
DEFAULT_GPU = "h100"
ROOFLINE = "roofline"
"""In place of a profile: use none."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A cost model, whose it is, how much KV fits there (None: unknown), and what to say of it."""

    cost: StepCost
    shape: ModelShape
    gpu: str
    kv_fits_tokens: int | None
    note: str
    described: dict[str, Any]


def choose_latency(
    model: str | None, gpu: str | None, tp: int, profile: str | Path | None,
    step_overhead_ms: float | None,
) -> Latency:  # fmt: skip
    """The given profile; or the shipped one of the GPU and model; or the roofline, where there is
    none, where `profile` is "roofline", or where a step overhead is given, which only that has.

    Raises ConfigError for a profile that does not belong to the GPU, model and `tp`.
    """
    if profile is None and step_overhead_ms is None and tp == 1:
        found = shipped_profile(*_names(gpu, model))
    elif profile in (None, ROOFLINE):
        found = None
    else:
        assert profile is not None
        if step_overhead_ms is not None:
            raise ConfigError(
                "--step-overhead belongs to the roofline: leave it out with --profile"
            )
        found = profile_at(profile)
        _check_belongs(found, str(profile), model, gpu, tp)
    if found is not None:
        return _of_profile(found)
    return _of_roofline(*_names(gpu, model), tp, step_overhead_ms)


def _names(gpu: str | None, model: str | None) -> tuple[str, str]:
    """Names as in pcache.shapes; raises ConfigError for others."""
    return gpu_shape(gpu or DEFAULT_GPU).name, model_shape(model or DEFAULT_MODEL).name


def _check_belongs(
    profile: Profile, path: str, model: str | None, gpu: str | None, tp: int
) -> None:
    for option, given, own in (("--gpu", gpu, profile.gpu), ("--model", model, profile.shape.name)):
        if given is not None and given.lower() != own.lower():
            raise ConfigError(f"{path} is a profile of {own}: leave out {option} {given}")
    if tp != 1:
        raise ConfigError(f"{path} is a profile of one GPU: use --tp 1, or no profile")


def _of_profile(profile: Profile) -> Latency:
    cost = profile.cost()
    memory = GPUS[profile.gpu].memory_bytes if profile.gpu in GPUS else profile.memory_bytes
    errors = ", ".join(
        f"{row.kind} {100 * row.p50:.1f} % ({100 * row.p90:.1f} %)" for row in profile.errors
    )
    return Latency(
        cost,
        profile.shape,
        profile.gpu,
        kv_fits_tokens(profile.shape, memory) if memory else None,
        f"Latencies are simulated with the profile {profile.name}, measured on {profile.device} on "
        f"{profile.measured.get('date')}. Its median error on held-out steps (90th percentile): "
        f"{errors}.",
        {
            "profile": {
                "name": profile.name,
                "device": profile.device,
                "block_size_tokens": profile.block_size_tokens,
                "measured": dict(profile.measured),
            }
        },
    )


def _of_roofline(gpu: str, model: str, tp: int, step_overhead_ms: float | None) -> Latency:
    shape, card = model_shape(model), gpu_shape(gpu)
    overhead = DEFAULT_STEP_OVERHEAD_MS if step_overhead_ms is None else step_overhead_ms
    cost = roofline(shape, card, num_gpus=tp, step_overhead_ms=overhead)
    return Latency(
        cost,
        shape,
        gpu,
        kv_capacity_tokens(shape, card, tp),
        f"Latencies are simulated with a {cost.source}, not a measured profile: they are optimistic.",
        {"step_overhead_ms": overhead},
    )
