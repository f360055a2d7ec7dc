"""Devices and number formats by name, and device failures as one-line errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pcache.errors import ConfigError, DeviceError
from pcache.shapes import GPUS, GpuShape

__all__ = ["DTYPES", "current_gpu", "device_errors", "dtype_named", "open_device", "open_gpu"]

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def dtype_named(name: str) -> torch.dtype:
    """The dtype called `name`. Raises ConfigError naming the known ones."""
    if name not in DTYPES:
        raise ConfigError(f"unknown dtype {name!r}; known: {', '.join(DTYPES)}")
    return DTYPES[name]


def open_device(name: str) -> torch.device:
    """The device called `name` ("cuda", "cuda:1" or "cpu"), ready for use.

    Sets products of fp32 matrices to IEEE arithmetic, without TF32. Raises DeviceError where there
    is no such device, ConfigError where the name is none.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}; expected cuda, cuda:N or cpu") from error
    if device.type not in ("cuda", "cpu"):
        raise ConfigError(f"unsupported device {name!r}; expected cuda, cuda:N or cpu")
    if device.type == "cuda":
        index = device.index or 0
        if index >= torch.cuda.device_count():
            raise DeviceError(
                f"no CUDA device {index} (torch {torch.__version__} sees "
                f"{torch.cuda.device_count()}): use --device cpu with a small model"
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    torch.set_float32_matmul_precision("highest")
    return device


def open_gpu() -> torch.device:
    """The CUDA device to benchmark. Raises DeviceError where there is none."""
    if not torch.cuda.is_available():
        raise DeviceError("benchmarks time a GPU and torch sees none: run them on a CUDA machine")
    return open_device(f"cuda:{torch.cuda.current_device()}")


def current_gpu() -> GpuShape | None:
    """Data sheet of the current CUDA device; None where there is none or it is not in our table."""
    if not torch.cuda.is_available():
        return None
    device_name = torch.cuda.get_device_name().lower().replace(" ", "")
    return next((gpu for name, gpu in GPUS.items() if name in device_name), None)


@contextmanager
def device_errors(doing: str) -> Iterator[None]:
    """Turn running out of memory, losing the GPU and what its libraries report into DeviceError."""
    try:
        yield
    except RuntimeError as error:  # AcceleratorError, and cuBLAS's, cuDNN's and the driver's own
        detail = str(error).partition("\n")[0]
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in detail:
            raise DeviceError(
                f"out of memory while {doing}: take a smaller KV pool, step budget or model ({detail})"
            ) from error
        if not isinstance(error, torch.AcceleratorError) and "CU" not in str(error):
            raise
        raise DeviceError(f"the GPU failed while {doing}: {detail}") from error
