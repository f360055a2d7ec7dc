"""Write a step's inputs into the packed host buffer. No Python loop over requests or tokens.

This is host work on the critical path between two steps, so it is a fixed, small number of numpy
calls whatever the step holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcache.gpu.step import StepInputs, StepLayout
from pcache.types import I4, I8

__all__ = ["ArrangedStep", "arrange", "pack"]


@dataclass(frozen=True, slots=True)
class ArrangedStep:
    """A step's requests with the extends first: `order[i]` is the input position of request i."""

    order: I8 | None
    """None: the inputs were in order already."""
    rows: I4
    starts: I4
    counts: I4
    token_ids: I4
    sampling: I8
    """Arranged positions of the requests that sample, ascending."""
    num_extends: int
    num_extend_tokens: int

    @property
    def num_decodes(self) -> int:
        return len(self.rows) - self.num_extends

    def sampled_inputs(self) -> I8:
        """Input positions of the requests that sample, in the order of `sampling`."""
        return self.sampling if self.order is None else self.order[self.sampling]


def arrange(inputs: StepInputs) -> ArrangedStep:
    """Put requests with one new token behind the others, keeping the order within both."""
    counts = inputs.counts
    decode = counts == 1
    num_extends = len(counts) - int(np.count_nonzero(decode))
    num_extend_tokens = len(inputs.token_ids) - (len(counts) - num_extends)
    if num_extends == 0 or not decode[:num_extends].any():
        sampling = np.flatnonzero(inputs.samples)
        return ArrangedStep(
            None, inputs.rows, inputs.starts, counts, inputs.token_ids, sampling,
            num_extends, num_extend_tokens,
        )  # fmt: skip
    order = np.argsort(decode, kind="stable")
    token_decodes = np.repeat(decode, counts)
    token_ids = np.concatenate((inputs.token_ids[~token_decodes], inputs.token_ids[token_decodes]))
    return ArrangedStep(
        order, inputs.rows[order], inputs.starts[order], counts[order], token_ids,
        np.flatnonzero(inputs.samples[order]), num_extends, num_extend_tokens,
    )  # fmt: skip


def pack(step: ArrangedStep, layout: StepLayout, spare_row: int, table_runs: I4, packed: I4) -> int:
    """Fill `packed` [layout.num_ints] with the step, padded to the layout, and at most MAX_RUNS
    table runs. Returns how many leading entries of `packed` matter."""
    part = {name: packed[where] for name, where in layout.fields.items()}
    extends, tokens = step.num_extends, step.num_extend_tokens
    first = layout.extend_tokens
    last = first + step.num_decodes
    _pack_extends(step, part)
    part["token_ids"][tokens:first] = 0
    part["token_rows"][tokens:first] = -1
    part["positions"][tokens:first] = 0

    part["token_ids"][first:last] = step.token_ids[tokens:]
    part["token_rows"][first:last] = step.rows[extends:]
    part["positions"][first:last] = step.starts[extends:]
    np.add(step.starts[extends:], 1, out=part["context_lengths"][: last - first])
    part["token_ids"][last:] = 0
    part["token_rows"][last:] = -1
    part["positions"][last:] = 0
    part["context_lengths"][last - first :] = 0

    ends = first + 1 - extends + step.sampling  # of decodes; an extend ends where its tokens do
    if extends:
        is_extend = step.sampling < extends
        ends[is_extend] = part["q_starts"][step.sampling[is_extend] + 1]
    count = len(step.sampling)
    np.subtract(ends, 1, out=part["sample_tokens"][:count], casting="unsafe")
    part["sample_rows"][:count] = step.rows[step.sampling]
    part["sample_tokens"][count:] = 0
    part["sample_rows"][count:] = spare_row

    end = layout.runs_at + 4 * len(table_runs)
    part["num_runs"][0] = len(table_runs)
    packed[layout.runs_at : end] = table_runs.ravel()
    return end


def _pack_extends(step: ArrangedStep, part: dict[str, I4]) -> None:
    extends, tokens = step.num_extends, step.num_extend_tokens
    q_starts = part["q_starts"]
    q_starts[0] = 0
    if extends:
        counts, rows, starts = step.counts[:extends], step.rows[:extends], step.starts[:extends]
        np.cumsum(counts, out=q_starts[1 : extends + 1])
        part["token_ids"][:tokens] = step.token_ids[:tokens]
        part["token_rows"][:tokens] = np.repeat(rows, counts)
        part["positions"][:tokens] = np.repeat(starts - q_starts[:extends], counts)
        part["positions"][:tokens] += np.arange(tokens, dtype=np.int32)
        part["extend_rows"][:extends] = rows
        part["prefix_lengths"][:extends] = starts
    part["extend_rows"][extends:] = 0
    part["prefix_lengths"][extends:] = 0
    q_starts[extends + 1 :] = tokens
