"""Options that `run`, `compare` and `calibrate` share: the model and the device."""

from __future__ import annotations

from typing import Annotated

import typer

from pcache.shapes import MODELS

__all__ = ["ENGINE", "Device", "Dtype", "Model", "Seed", "SkipIdle"]

ENGINE = "Engine"

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help=f"Random weights of a shape ({', '.join(MODELS)}), a Hugging Face directory or a "
        ".gguf file. Default: llama-3.1-8b, on a CPU tiny.",
        rich_help_panel=ENGINE,
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="cuda, cuda:N or cpu.", rich_help_panel=ENGINE)
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="bf16, fp16 or fp32. Default bf16, on a CPU fp32.",
        rich_help_panel=ENGINE,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", help="Of random weights and sampling.", rich_help_panel=ENGINE)
]
SkipIdle = Annotated[
    bool,
    typer.Option(
        "--skip-idle",
        help="Set the clock forward instead of waiting while nothing runs; on a GPU after 50 ms.",
        rich_help_panel=ENGINE,
    ),
]
