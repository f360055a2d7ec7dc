"""One step on its way to the device: inputs and outputs, and how a step is laid out in memory.

Tokens of requests with several new tokens (*extends*) come first, those with one (*decodes*) after.
Everything the device must know of a step is int32 in one packed buffer, so that it travels in one
copy; a layout says where each field lies, and two steps of one layout differ in data alone, which
lets a CUDA graph replay them. Fields start on multiples of 16 bytes, as Triton wants them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from pcache.types import I4, I8, Bool

__all__ = ["MAX_RUNS", "StepInputs", "StepLayout", "StepOutputs", "StepTensors"]

MAX_RUNS = 4096
"""Table runs that travel with a step."""
_ALIGN = 4
F4 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What the host decided about one step: an entry a request, in any order.

    rows        table row of the request, which it keeps while it runs
    starts      tokens of the request whose keys and values are in the pool already
    counts      new tokens of this step, at least 1
    samples     whether the step's last token of the request yields an output token
    token_ids   the new tokens, request after request [sum of counts]; -1: what the row sampled last
    table_runs  block-table changes since the last step [runs, 4]: row, position in the row,
                first block id, number of consecutive blocks; no entry twice
    """

    rows: I4
    starts: I4
    counts: I4
    samples: Bool
    token_ids: I4
    table_runs: I4


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """What came back from a step.

    tokens         sampled token of each request, in the inputs' order; -1 where none was asked for
    logits         fp32 [requests that sample, vocab] where the caller asked to keep them
    gpu_ns         time the step took on the device
    on_host_at_ns  instant at which the tokens were in host memory, on the runner's clock
    """

    tokens: I8
    logits: F4 | None
    gpu_ns: int
    on_host_at_ns: int


@dataclass(frozen=True)
class StepLayout:
    """Capacities of a step's parts; equal layouts share a CUDA graph.

    `planned_tokens` is the capacity of extend tokens that attention plans for, padding not counted:
    eager steps of many sizes share one plan.
    """

    extend_tokens: int
    extends: int
    decodes: int
    samples: int
    planned_tokens: int

    @property
    def num_tokens(self) -> int:
        """Tokens of the forward pass, padding included."""
        return self.extend_tokens + self.decodes

    @cached_property
    def fields(self) -> dict[str, slice]:
        """Where each field of `StepTensors` lies in the packed buffer."""
        sizes = {
            "token_ids": self.num_tokens,
            "token_rows": self.num_tokens,
            "positions": self.num_tokens,
            "extend_rows": self.extends,
            "q_starts": self.extends + 1,
            "prefix_lengths": self.extends,
            "context_lengths": self.decodes,
            "sample_tokens": self.samples,
            "sample_rows": self.samples,
            "num_runs": 1,
            "runs": 4 * MAX_RUNS,
        }
        fields, offset = {}, 0
        for name, size in sizes.items():
            fields[name] = slice(offset, offset + size)
            offset += -(-size // _ALIGN) * _ALIGN
        return fields

    @property
    def runs_at(self) -> int:
        """Where the table runs begin, behind everything else."""
        return int(self.fields["runs"].start)

    @property
    def num_ints(self) -> int:
        """Entries of the packed buffer."""
        return int(self.fields["runs"].stop)


@dataclass(frozen=True, slots=True)
class StepTensors:
    """Views of a packed buffer on the device, int32.

    token_ids        [tokens] as in `StepInputs`; 0 for padding
    token_rows       [tokens] table row; -1 for padding
    positions        [tokens] place in the request's context
    extend_rows      [extends] table rows
    q_starts         [extends + 1] extend b owns tokens q_starts[b]:q_starts[b + 1]
    prefix_lengths   [extends] tokens in the pool before the extend
    context_lengths  [decodes] tokens in the pool after the decode's own is written; 0 for padding
    sample_tokens    [samples] token whose logits are sampled
    sample_rows      [samples] row that the sampled token belongs to; the spare row for padding
    num_runs         [1] table runs
    runs             [4 · MAX_RUNS] the table runs, as in `StepInputs`
    """

    layout: StepLayout
    token_ids: torch.Tensor
    token_rows: torch.Tensor
    positions: torch.Tensor
    extend_rows: torch.Tensor
    q_starts: torch.Tensor
    prefix_lengths: torch.Tensor
    context_lengths: torch.Tensor
    sample_tokens: torch.Tensor
    sample_rows: torch.Tensor
    num_runs: torch.Tensor
    runs: torch.Tensor

    @classmethod
    def view(cls, packed: torch.Tensor, layout: StepLayout) -> StepTensors:
        """The fields of `layout` in `packed`."""
        return cls(layout, **{name: packed[where] for name, where in layout.fields.items()})

    @property
    def decode_rows(self) -> torch.Tensor:
        """Table rows of the decodes, [decodes]."""
        return self.token_rows[self.layout.extend_tokens :]
