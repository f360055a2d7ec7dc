"""`pcache.compare`: the same configurations measured and simulated, on disk for `pcache report`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcache import api
from pcache.errors import ConfigError
from pcache.results import Results
from pcache.rundir import check_place
from pcache.shapes import MODELS
from pcache.sim.latency import choose_latency
from pcache.sim.replay_steps import Verdict, replay_steps
from pcache.types import Trace

if TYPE_CHECKING:
    from pcache.gpu.run import EngineSettings

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`measured` has the results of each repeat; `places` are their directories and, last, that of
    the simulation. `verdicts` say of every measured run whether its decisions could be replayed."""

    measured: list[Results]
    simulated: Results | None
    places: list[Path]
    verdicts: list[Verdict]

    @property
    def complete(self) -> bool:
        """Whether both sides reached their end."""
        sides = [*self.measured, self.simulated]
        return all(side is not None and side.complete for side in sides)


def compare(
    trace: Trace,
    policy: str,
    out: Path,
    *,
    settings: EngineSettings,
    profile: str | Path | None = None,
    repeat: int = 1,
    progress: Callable[[str, float], None] | None = None,
    **options: Any,
) -> Comparison:
    """Run the trace on the device `repeat` times under each policy, then simulate it with the capacity
    that the device had. `options` are those that `pcache.run` and `pcache.simulate` share.

    Everything is written below `out` as it is finished: `measured-1`, `measured-2`, …, `simulated`. An
    interrupted run is kept, and nothing is simulated then. Step times come from `profile`, or from
    the shipped one of the device and model, or from a roofline. Raises ConfigError where none of them
    knows the device or the model, and what the two raise.
    """
    from pcache.gpu.api import run

    target = _simulated_on(settings, profile)
    _check_model(target, settings)
    check_place(out)
    measured, places, verdicts = [], [], []
    for number in range(1, repeat + 1):
        place = out / f"measured-{number}"
        results = run(trace, policy, settings=settings, out=place, progress=progress, **options)
        measured.append(results)
        places.append(place)
        verdicts += replay_steps(trace, place)
        if not results.complete:
            return Comparison(measured, None, places, verdicts)
    capacity = measured[0].runs[0].summary["kv_capacity_tokens"]
    same = options | {"kv_tokens": capacity, "kv_memory": None}
    simulated = api.simulate(trace, policy, **target, **same)
    simulated.write(out / "simulated")
    return Comparison(measured, simulated, [*places, out / "simulated"], verdicts)


def _check_model(target: dict[str, Any], settings: EngineSettings) -> None:
    """Raise ConfigError, before anything is measured, where the step times cannot be read or are of
    another model."""
    latency = choose_latency(
        target.get("model"), target.get("gpu"), 1, target.get("profile"), step_overhead_ms=None
    )
    measured, known = Path(settings.model).name, Path(latency.shape.name).name
    if known.lower() != measured.lower():
        raise ConfigError(
            f"the step times of {target.get('profile')} are those of {known}, but {measured} is to be "
            f"measured: give a profile of it, or --model {known}"
        )


def _simulated_on(settings: EngineSettings, profile: str | Path | None) -> dict[str, Any]:
    """Options of `simulate` that say whose step times it takes."""
    from pcache.gpu.device import current_gpu, open_device

    if profile is not None and profile != "roofline":
        return {"profile": profile}
    if settings.model not in MODELS:
        raise ConfigError(
            f"no step times are known for {settings.model}: run pcache calibrate --model "
            f"{settings.model}, then give its file to --profile"
        )
    gpu = None
    if open_device(settings.device).type == "cuda" and (known := current_gpu()) is not None:
        gpu = known.name
    if gpu is None:
        raise ConfigError(
            "no step times are known for this device: run pcache calibrate --device "
            f"{settings.device} --model {settings.model}, then give its file to --profile"
        )
    return {"profile": profile, "gpu": gpu, "model": settings.model}
