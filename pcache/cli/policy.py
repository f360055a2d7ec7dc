"""`pcache policy`: the eviction policies there are, and a file to start one of your own."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from pcache.cache.eviction.orders import EVICTION_ORDERS
from pcache.cache.eviction.registry import POLICIES
from pcache.cli.output import OutputFormat, emit, fail
from pcache.errors import ConfigError, PcacheError

__all__ = ["policy_app"]

policy_app = typer.Typer(
    no_args_is_help=True, help="List eviction policies, and start one of your own."
)

_ORDERS = {
    "lru": "hash: vLLM's free queue; radix: SGLang's order by last access",
    "lfu": "SGLang: fewest insertions, then last access",
    "fifo": "SGLang: oldest node first",
    "mru": "SGLang: newest access first",
    "filo": "SGLang: newest node first",
    "slru": "SGLang: inserted once before inserted again, then last access",
    "priority": "SGLang: least urgent request first, then last access",
}


@policy_app.command("list")
def list_policies(
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = (
        OutputFormat.table
    ),
) -> None:
    """Name every eviction that --evict takes, with what it serves and its rule.

    Example: pcache policy list
    """
    rows = [
        (name, "radix, hash" if name == "lru" else "radix", _ORDERS[name])
        for name in EVICTION_ORDERS
    ]
    for name, module in POLICIES.items():
        rows.append((name, "radix, hash", _first_sentence(module)))
    frame = pd.DataFrame(rows, columns=["eviction", "for", "rule"])
    emit(frame, format=format, notes=["Your own: pcache policy new NAME"])


@policy_app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Class name, as MyPolicy.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write; by default NAME in small letters, here."),
    ] = None,
) -> None:
    """Write a working eviction policy to change, outside the package.

    As written it is least recently used, and runs at once.

    Example: pcache policy new MyPolicy --out my_policy.py
    """
    try:
        path = out or Path(f"{_small(name)}.py")
        _write(name, path)
    except PcacheError as error:
        fail(error)
    print(f"wrote {path}")
    print(f"try it: pcache replay TRACE --policy hash,hash/16/{path}:{name} --kv-tokens 100k")


def _write(name: str, path: Path) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(f"{name!r} cannot name a class; use letters, digits and _, as MyPolicy")
    if path.suffix != ".py":
        raise ConfigError(f"--out {path} does not end in .py")
    text = resources.files("pcache.cache.eviction").joinpath("skeleton.py").read_text()
    text = text.replace("Skeleton", name).replace("FILE:NAME", f"{path}:{name}")
    try:
        with path.open("x") as file:
            file.write(text.replace("NAME", name))
    except FileExistsError:
        raise ConfigError(f"{path} exists; name another file with --out") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _small(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _first_sentence(module: str) -> str:
    """Of a policy's docstring, read and not imported: importing compiles."""
    source = resources.files("pcache.cache.eviction").joinpath(f"{module}.py").read_text()
    paragraph = source.split('"""')[1].split("\n\n")[0]
    return " ".join(paragraph.split()).rstrip(".")
