"""Seeded workload generators: the traffic that prefix caching lives on, one workload a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import count
from typing import Any

import numpy as np

from pcache.errors import ConfigError
from pcache.trace.build import build_trace
from pcache.trace.formats.native_write import native_lines
from pcache.trace.generate import (  # noqa: F401 - importing a workload registers it
    agent_tools,
    few_shot,
    image_prompts,
    multi_turn_chat,
    rag,
    same_prompt,
    self_consistency,
    shared_system_prompt,
    tree_of_thought,
)
from pcache.trace.generate.arrivals import ARRIVALS
from pcache.trace.generate.contract import WORKLOADS, Draft, Workload
from pcache.trace.generate.draws import Draws
from pcache.trace.source import Source
from pcache.types import IMAGE_SYMBOL, Image, Trace

__all__ = [
    "WORKLOADS",
    "Workload",
    "generate",
    "make_workload",
    "parameter_defaults",
    "parse_parameters",
]


def generate(workload: str | Workload, *, seed: int = 0, **parameters: Any) -> Trace:
    """Generate a trace: a workload by name with parameters, or one that was made before.

    The same workload, parameters and seed give the same trace on every machine. Every output is
    known, so that the next turn of a session finds it. Raises ConfigError.
    """
    if not 0 <= seed < 1 << 63:
        raise ConfigError(f"seed is {seed}; expected 0 to 2**63 - 1")
    if isinstance(workload, str):
        workload = make_workload(workload, **parameters)
    workload.check()
    requests = _draw(workload, Draws(seed))
    trace = _assemble(workload.name, requests)
    digest = hashlib.sha256()
    for line in native_lines(trace):
        digest.update(line)
    return replace(trace, sha256=digest.hexdigest())


def make_workload(name: str, **parameters: Any) -> Workload:
    """A workload by name; its parameters are documented at its class. Raises ConfigError."""
    known = list(parameter_defaults(name))
    for given in parameters:
        if given not in known:
            raise ConfigError(f"{name} has no parameter '{given}'; it has {', '.join(known)}")
    made = WORKLOADS[name](**parameters)
    made.check()
    return made


def parameter_defaults(name: str) -> dict[str, Any]:
    """Parameters of a workload with their defaults. Raises ConfigError for an unknown name."""
    if name not in WORKLOADS:
        raise ConfigError(f"workload '{name}' is unknown; expected one of {', '.join(WORKLOADS)}")
    return {entry.name: entry.default for entry in fields(WORKLOADS[name])}


def parse_parameters(name: str, settings: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` texts as parameters of a workload. Raises ConfigError."""
    defaults = parameter_defaults(name)
    parameters: dict[str, Any] = {}
    for setting in settings:
        given, equals, value = setting.partition("=")
        given = given.strip().replace("-", "_")
        if not equals:
            raise ConfigError(f"'{setting}' is not a parameter; expected NAME=VALUE")
        try:
            parameters[given] = type(defaults.get(given, ""))(value.strip())
        except ValueError as error:
            raise ConfigError(f"{given} is '{value}'; expected a number") from error
    return parameters


def _draw(workload: Workload, draws: Draws) -> list[tuple[int, str, Draft]]:
    """(arrival in ns, session, request) of the first `requests` requests by arrival.

    A session that starts after the last of them can no longer bring one that belongs to them.
    """
    starts = ARRIVALS[workload.arrivals](draws, workload.rate)
    drawn: list[tuple[int, str, Draft]] = []
    for number, start, drafts in zip(count(), starts, workload.sessions(draws)):
        if len(drawn) >= workload.requests:
            drawn.sort(key=lambda entry: entry[0])
            del drawn[workload.requests :]
            if drawn[-1][0] <= round(start * 1e6) * 1000:
                break
        drawn += [
            (round((start + draft.arrival_s) * 1e6) * 1000, f"s{number}", draft) for draft in drafts
        ]
    return drawn


def _assemble(name: str, requests: list[tuple[int, str, Draft]]) -> Trace:
    numbers: dict[str, int] = {}
    ids, parts, images = [], [], []
    hashes: dict[str, int] = {}
    for request, (_, session, draft) in enumerate(requests):
        within = numbers[session] = numbers.get(session, -1) + 1
        ids.append(f"{session}/{within}")
        prompt = draft.prompt.copy()
        for content, start, num_tokens in draft.images:
            number = hashes.setdefault(content, len(hashes))
            prompt[start : start + num_tokens] = (
                IMAGE_SYMBOL + (number << 24) + np.arange(num_tokens)
            )
            images.append(Image(request, start, num_tokens, content))
        parts += [prompt, draft.output]
    prompt_tokens = np.array([len(draft.prompt) for _, _, draft in requests], np.int64)
    output_tokens = np.array([len(draft.output) for _, _, draft in requests], np.int64)
    return build_trace(
        Source(name, name, "", ""),
        "native",
        range(1, len(requests) + 1),
        request_ids=ids,
        arrival_ns=np.array([arrival for arrival, _, _ in requests], np.int64),
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        symbol_tokens=1,
        symbols=np.concatenate(parts),
        symbol_counts=prompt_tokens + output_tokens,
        session_ids=[session for _, session, _ in requests],
        turn=np.array([draft.turn for _, _, draft in requests], np.int64),
        classes=[name] * len(requests),
        images=images,
    )
