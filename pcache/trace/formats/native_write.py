"""Writing the native format. What a reader would take as the default is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pcache.errors import TraceError
from pcache.types import IMAGE_SYMBOL, Image, Trace

__all__ = ["native_lines"]


def native_lines(trace: Trace) -> Iterator[bytes]:
    """One line a request, line feed included; reading them gives the same trace back.

    Text and messages come out as the tokens they became, and a request with n samples as n
    requests. Raises TraceError for a length-only trace, which has no prompts to write.
    """
    if not trace.has_content:
        raise TraceError(
            trace.name, None, "holds lengths but no prompts; the native format needs prompts"
        )
    images: dict[int, list[Image]] = {}
    for image in trace.images:
        images.setdefault(image.request, []).append(image)
    for request in range(len(trace)):
        fields = _fields(trace, request)
        if request in images:
            fields["images"] = [
                {"hash": image.hash, "start": image.start, "num_tokens": image.num_tokens}
                for image in images[request]
            ]
        yield (json.dumps(fields, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


def _fields(trace: Trace, request: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": trace.request_ids[request],
        "arrival_ns": int(trace.arrival_ns[request]),
    }
    optional = {
        "session": trace.session_ids[request],
        "turn": int(trace.turn[request]),
        "priority": int(trace.priority[request]),
        "salt": trace.salts[int(trace.salt[request])],
        "class": trace.classes[int(trace.workload_class[request])],
    }
    fields.update((name, value) for name, value in optional.items() if value)
    symbols = trace.prompt_symbols(request)
    if trace.symbol_tokens == 1:
        symbols = symbols.copy()
        symbols[symbols >= IMAGE_SYMBOL] = 0
        fields["prompt"] = {"tokens": symbols.tolist()}
    else:
        fields["prompt"] = {
            "blocks": symbols.tolist(),
            "block_tokens": trace.symbol_tokens,
            "num_tokens": int(trace.prompt_tokens[request]),
        }
    output = trace.known_output(request)
    fields["output"] = (
        {"tokens": output.tolist()}
        if len(output)
        else {"num_tokens": int(trace.output_tokens[request])}
    )
    return fields
