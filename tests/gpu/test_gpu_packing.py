"""What `pack` writes equals a step laid out request by request."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache.gpu.layouts import NO_GRAPHS, GraphBuckets, Layouts
from pcache.gpu.packing import arrange, pack
from pcache.gpu.step import StepInputs

SPARE_ROW = 40
BUCKETS = GraphBuckets((1, 4, 16), (16, 64), (4,), max_extends=3)

requests = st.lists(
    st.tuples(
        st.integers(0, 39),  # row
        st.integers(0, 500),  # start
        st.one_of(st.just(1), st.integers(1, 40)),  # count
        st.booleans(),  # samples
    ),
    max_size=12,
    unique_by=lambda request: request[0],
)


def make_inputs(step: list[tuple[int, int, int, bool]], num_runs: int) -> StepInputs:
    columns = list(zip(*step, strict=True)) or [(), (), (), ()]
    rows, starts, counts = (np.array(column, dtype=np.int32) for column in columns[:3])
    ids = np.arange(counts.sum(), dtype=np.int32) * 7 - 1
    runs = np.arange(4 * num_runs, dtype=np.int32).reshape(-1, 4)
    return StepInputs(rows, starts, counts, np.array(columns[3], dtype=bool), ids, runs)


@given(requests, st.integers(0, 5), st.booleans())
def test_packed_fields_describe_the_step(
    step: list[tuple[int, int, int, bool]], num_runs: int, graphs: bool
) -> None:
    inputs = make_inputs(step, num_runs)
    layouts = Layouts(BUCKETS if graphs else NO_GRAPHS, max_rows=40, max_step_tokens=512)
    arranged = arrange(inputs)
    layout = layouts.of(arranged)
    packed = np.full(layouts.max_ints, -99, dtype=np.int32)
    end = pack(arranged, layout, SPARE_ROW, inputs.table_runs, packed)
    fields = {name: packed[where].tolist() for name, where in layout.fields.items()}

    first_token = np.cumsum(inputs.counts) - inputs.counts
    order = sorted(range(len(step)), key=lambda i: step[i][2] == 1)
    tokens: dict[int, tuple[int, int, int]] = {}
    extends, decodes, samples = [], [], []
    next_extend, next_decode = 0, layout.extend_tokens
    for i in order:
        row, start, count, sampling = step[i]
        if count > 1:
            extends.append((row, next_extend, start))
            place, next_extend = next_extend, next_extend + count
        else:
            decodes.append(start + 1)
            place, next_decode = next_decode, next_decode + 1
        for t in range(count):
            tokens[place + t] = (int(inputs.token_ids[first_token[i] + t]), row, start + t)
        if sampling:
            samples.append((place + count - 1, row))

    padding = (0, -1, 0)
    expected = [tokens.get(place, padding) for place in range(layout.num_tokens)]
    actual = zip(fields["token_ids"], fields["token_rows"], fields["positions"], strict=True)
    assert list(actual) == expected
    spare = layout.extends - len(extends)
    assert fields["extend_rows"] == [row for row, _, _ in extends] + [0] * spare
    assert fields["prefix_lengths"] == [prefix for _, _, prefix in extends] + [0] * spare
    ends = [next_extend] * (spare + 1)
    assert fields["q_starts"] == [place for _, place, _ in extends] + ends
    assert fields["context_lengths"] == decodes + [0] * (layout.decodes - len(decodes))
    samples += [(0, SPARE_ROW)] * (layout.samples - len(samples))
    assert list(zip(fields["sample_tokens"], fields["sample_rows"], strict=True)) == samples
    assert fields["num_runs"] == [num_runs]
    assert packed[layout.runs_at : end].tolist() == inputs.table_runs.ravel().tolist()
    assert [order[i] for i in arranged.sampling] == arranged.sampled_inputs().tolist()


@given(st.integers(0, 70), st.integers(0, 5), st.integers(0, 20))
def test_a_step_runs_in_the_smallest_graph_that_holds_it(
    tokens: int, extends: int, decodes: int
) -> None:
    extends = min(extends, tokens // 2)
    tokens = tokens if extends else 0
    counts = [2] * extends
    if extends:
        counts[0] += tokens - 2 * extends
    step = [(i, 0, count, True) for i, count in enumerate([*counts, *[1] * decodes])]
    layout = Layouts(BUCKETS, max_rows=40, max_step_tokens=512).of(arrange(make_inputs(step, 0)))
    assert layout.extend_tokens >= tokens
    assert layout.extends >= extends
    assert layout.decodes >= decodes
    if extends == 0 and 1 <= decodes <= 16:
        assert (layout.extend_tokens, layout.decodes) in {(0, 1), (0, 4), (0, 16)}
        assert layout.decodes < 4 * decodes
    if 1 <= extends <= 3 and tokens <= 64 and decodes <= 4:
        assert layout.extend_tokens in (16, 64)
        assert layout.decodes in (0, 4)


@given(st.integers(1, 40), st.integers(64, 600), st.booleans(), st.data())
def test_varied_layouts_know_the_sizes_of_every_eager_step(
    rows: int, most: int, graphs: bool, data: st.DataObject
) -> None:
    layouts = Layouts(BUCKETS if graphs else NO_GRAPHS, max_rows=rows, max_step_tokens=most)
    decodes, samples = data.draw(st.integers(0, rows)), data.draw(st.integers(1, rows))
    tokens = data.draw(st.integers(int(decodes == 0), most - decodes))
    step, varied = layouts.eager(tokens, decodes, samples), layouts.varied()
    assert step.num_tokens in {layout.num_tokens for layout in varied}
    assert step.samples in {layout.samples for layout in varied}
    assert all(layout.num_ints <= layouts.max_ints for layout in varied)


@pytest.mark.parametrize("rows", [1, 10, 40, 100, 200, 256])
def test_attention_is_planned_for_as_many_decodes_as_any_layout_has(rows: int) -> None:
    layouts = Layouts(GraphBuckets(), max_rows=rows, max_step_tokens=8192)
    most = max(layout.decodes for layout in (*layouts.graphs(), *layouts.largest()))
    assert rows <= most == layouts.max_decodes


def test_no_graph_has_a_size_that_cublas_is_slow_at() -> None:
    graphs = Layouts(GraphBuckets(), max_rows=256, max_step_tokens=8192).graphs()
    assert 448 not in {graph.num_tokens for graph in graphs}
    padded = [graph for graph in graphs if graph.extend_tokens != graph.planned_tokens]
    assert {(graph.planned_tokens, graph.decodes) for graph in padded} == {(384, 64), (192, 256)}
