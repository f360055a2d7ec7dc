"""A few tokens of a request as a line to look at: text where it is known, else ids."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from pcache.trace.tokenize import Tokenizer
from pcache.types import I8, IMAGE_SYMBOL, Trace

__all__ = ["excerpts"]

EXCERPT_SYMBOLS = 160
"""Longer stretches are cut, with … at the end."""
_LINE = str.maketrans({"\n": "↵", "\r": "", "\t": " "})


def excerpts(trace: Trace, tokenizer: Tokenizer | None) -> Callable[[int, int, int], str]:
    """A function (request, start, stop) → tokens `start` ≤ t < `stop` of the request's prompt and
    output, on one line.

    `tokenizer` is the one that made tokens of the trace's text, if it was text. A prefix of a salted
    request begins with the salt.
    """

    def excerpt(request: int, start: int, stop: int) -> str:
        prompt = int(trace.prompt_tokens[request])
        last = min(stop, start + EXCERPT_SYMBOLS * trace.symbol_tokens)
        pieces = []
        if start == 0 and trace.salt[request]:
            pieces.append(f"[{trace.salts[trace.salt[request]]}] ")
        if start < prompt:
            pieces.append(_prompt(trace, request, start, min(last, prompt), decode))
        if last > prompt:
            output = trace.known_output(request)[max(start - prompt, 0) : last - prompt]
            if not len(output):
                return "".join(pieces) + f"({stop - max(start, prompt)} generated)"
            pieces.append(decode(output))
        return "".join(pieces) + ("…" if last < stop else "")

    def decode(ids: I8) -> str:
        if tokenizer is not None and ids.max() < tokenizer.vocab_size:
            text = tokenizer.decode(ids).translate(_LINE)
            return "".join(one if one.isprintable() else "▯" for one in text)
        return " ".join(map(str, ids.tolist()))

    return excerpt


def _prompt(trace: Trace, request: int, start: int, stop: int, decode: Callable[[I8], str]) -> str:
    size = trace.symbol_tokens
    symbols = trace.prompt_symbols(request)[start // size : -(-stop // size)]
    if size > 1:
        noun = "block" if len(symbols) == 1 else "blocks"
        return f"{noun} {' '.join(map(str, symbols.tolist()))}"
    names = {
        int(trace.prompt_symbols(request)[image.start]) >> 24: f"[image {image.hash}]"
        for image in trace.images
        if image.request == request
    }
    return "".join(
        names[number] if number >= IMAGE_SYMBOL >> 24
        else decode(symbols[[at for at, _ in group]])
        for number, group in groupby(enumerate(symbols.tolist()), lambda one: _image(one[1]))
    )  # fmt: skip


def _image(symbol: int) -> int:
    """The image a symbol belongs to, shifted; the same number for all other tokens."""
    return symbol >> 24 if symbol >= IMAGE_SYMBOL else -1
