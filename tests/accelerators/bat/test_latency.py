"""The latency model's closed forms are what rows do, give the figures of the paper's point, and stay physical."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bat_models
from lutra.accelerators.bat import compiler, schedule
from lutra.accelerators.bat.config import PAPER, PAPER_FFN, PAPER_MHA, ModuleConfig
from lutra.accelerators.bat.latency import (
    BUILT,
    IDEAL,
    NO_WAIT,
    Memory,
    Module,
    Shape,
    Step,
    Unit,
    chain_cycles,
    row_by_row,
)
from lutra.accelerators.bat.pipeline import (
    Job,
    alternating,
    equation_5,
    equation_5_of_a_pair,
    giga_operations,
    layer_cycles,
    peak_giga_operations_per_second,
    pipelined,
    program_cycles,
)

HALF = Shape(tokens=128, width=768, heads=6, head_width=64, intermediate=1536, copies=2, bits=4)
"""Half-width BERT-base with split binary weights."""
LAYERS = 12


def cycles_of(steps, timing=IDEAL):
    return [int(step.cycles(timing)) for step in steps]


def pair_of(shape, mha=PAPER_MHA, ffn=PAPER_FFN):
    layer = layer_cycles(mha, ffn, shape)
    return int(layer.quantise + equation_5_of_a_pair(layer.attention, layer.feed_forward, LAYERS))


def with_elements(p_pe):
    quan = min(p_pe, 128) if p_pe != 96 else 96
    return [replace(module, p_pe=p_pe, p_quan=quan) for module in PAPER.modules]


def test_the_papers_point_without_registers():
    module = Module(PAPER_MHA, HALF, NO_WAIT, IDEAL)
    assert cycles_of(module.attention) == [110_673, 24_677, 12_291, 37_320]
    assert cycles_of(Module(PAPER_FFN, HALF, NO_WAIT, IDEAL).feed_forward()) == [147_500, 147_864]
    assert int(module.quantise.cycles(IDEAL)) == 12_294
    layer = layer_cycles(PAPER_MHA, PAPER_FFN, HALF)
    assert layer.quantise + LAYERS * (layer.attention + layer.feed_forward) == 5_776_194  # 28.88 ms at 200 MHz
    assert pair_of(HALF) == 7_285_991  # 36.43 ms


@pytest.mark.parametrize(("p_pe", "milliseconds"), [(64, 72.62), (96, 48.53), (128, 36.43)])
def test_elements_of_a_dot_product_decide(p_pe, milliseconds):
    assert pair_of(HALF, *with_elements(p_pe)) / 200e3 == pytest.approx(milliseconds, abs=0.01)


@pytest.mark.parametrize(
    ("heads", "intermediate", "milliseconds"), [(3, 768, 18.30), (6, 1536, 36.43), (12, 3072, 72.75)]
)
def test_half_full_and_double_size(heads, intermediate, milliseconds):
    assert pair_of(replace(HALF, heads=heads, intermediate=intermediate)) / 200e3 == pytest.approx(
        milliseconds, abs=0.01
    )


def test_the_model_that_is_trained_here():
    """MiniLM at half width and the mean length of MRPC's sentences."""
    shape = Shape(tokens=53, width=384, heads=6, head_width=32, intermediate=768, copies=2, bits=4)
    layer = layer_cycles(PAPER_MHA, PAPER_FFN, shape)
    assert layer.quantise + 6 * (layer.attention + layer.feed_forward) == 333_981
    pair = layer.quantise + equation_5_of_a_pair(layer.attention, layer.feed_forward, 6)
    assert pair / 200e3 == pytest.approx(1.98, abs=0.005)


def test_registers_take_little_at_the_papers_size():
    ideal, built = (layer_cycles(PAPER_MHA, PAPER_FFN, HALF, memory, timing)
                    for memory, timing in ((NO_WAIT, IDEAL), (Memory(), BUILT)))  # fmt: skip
    for name in ("attention", "feed_forward"):
        assert 1 < getattr(built, name) / getattr(ideal, name) < 1.005


def test_operations_are_those_of_the_paper_and_throughput_stays_below_the_peak():
    assert giga_operations(HALF, LAYERS, 1) == pytest.approx(22.045, abs=0.001)
    assert peak_giga_operations_per_second(PAPER.modules, 200e6) == pytest.approx(1638.4)
    throughput = giga_operations(HALF, LAYERS, 2) / (pair_of(HALF) / 200e6)
    assert throughput == pytest.approx(1210, abs=1)


def test_the_papers_equation_counts_half_of_the_stages_of_a_pair():
    layer = layer_cycles(*with_elements(64), HALF)
    literal, pair = (
        giga_operations(HALF, LAYERS, 2) / (equation(layer.attention, layer.feed_forward, LAYERS) / 200e6)
        for equation in (equation_5, equation_5_of_a_pair)
    )
    peak = peak_giga_operations_per_second(with_elements(64), 200e6)
    assert literal > peak > pair
    assert literal == pytest.approx(1188, rel=0.01)


units = st.builds(Unit, st.just("unit"), st.integers(1, 12), st.integers(0, 30))


@settings(deadline=None)
@given(st.lists(units, min_size=1, max_size=6), st.integers(1, 30))
def test_the_closed_form_is_what_rows_do(path, rows):
    assert chain_cycles(path, rows) == row_by_row(path, rows)


@settings(deadline=None)
@given(st.lists(units, min_size=2, max_size=4), st.integers(1, 20), st.data())
def test_the_closed_form_where_a_row_is_wanted_late(path, rows, data):
    place = data.draw(st.integers(1, len(path) - 1))
    path[place] = replace(path[place], late=data.draw(st.integers(0, path[place].interval - 1)))
    assert chain_cycles(path, rows) == row_by_row(path, rows)


def test_longer_paths_decide():
    short, long = (Unit("a", 2, 1),), (Unit("b", 3, 0), Unit("c", 1, 5))
    assert Step("step", 4, (short, long)).cycles(IDEAL) == 3 + 6 + 3 * 3
    assert Step("step", 4, (short, long)).bottleneck() == "b"


lanes = st.builds(
    ModuleConfig,
    p_dpu=st.integers(1, 128),
    p_quan=st.sampled_from([4, 8, 16, 32]),
    p_vu=st.integers(1, 128),
    p_ln=st.integers(1, 64),
    p_pe=st.sampled_from([32, 64, 96, 128, 160]),
    p_softmax=st.integers(1, 8),
)
shapes = st.builds(
    Shape,
    tokens=st.integers(1, 160),
    width=st.integers(8, 800),
    heads=st.integers(1, 12),
    head_width=st.sampled_from([16, 32, 64]),
    intermediate=st.integers(8, 3072),
    copies=st.integers(1, 2),
    bits=st.sampled_from([1, 2, 4, 8]),
)


@settings(max_examples=60, deadline=None)
@given(lanes, lanes, shapes, st.sampled_from([(NO_WAIT, IDEAL), (Memory(), BUILT)]))
def test_no_point_exceeds_the_peak(mha, ffn, shape, built):
    """Nor does an engine work in more cycles than there are."""
    layer = layer_cycles(mha, ffn, shape, *built)
    pair = layer.quantise + equation_5_of_a_pair(layer.attention, layer.feed_forward, LAYERS)
    peak = peak_giga_operations_per_second((mha, ffn), 200e6)
    assert giga_operations(shape, LAYERS, 2) / (pair / 200e6) <= peak


@settings(max_examples=40, deadline=None)
@given(st.lists(lanes, min_size=2, max_size=5), shapes)
def test_arrays_of_points_are_points(points, shape):
    names = ("p_dpu", "p_pe", "p_quan", "p_vu", "p_ln", "p_softmax")
    together = SimpleNamespace(**{name: np.array([getattr(point, name) for point in points]) for name in names})
    found = layer_cycles(together, together, shape, Memory(latency=20, gap=2), BUILT)
    for place, point in enumerate(points):
        alone = layer_cycles(point, point, shape, Memory(latency=20, gap=2), BUILT)
        assert (found.attention[place], found.feed_forward[place]) == (alone.attention, alone.feed_forward)


times = st.integers(1, 1000)


@settings(deadline=None)
@given(times, times, st.integers(1, 6))
def test_equal_sentences_take_turns_as_the_equation_says(attention, feed_forward, layers):
    one, two = ([(attention, feed_forward)] * count for count in (1, 2))
    assert pipelined(alternating(one, layers)) == layers * (attention + feed_forward)
    assert pipelined(alternating(two, layers)) == equation_5_of_a_pair(attention, feed_forward, layers)


@settings(deadline=None)
@given(st.lists(st.tuples(times, times), min_size=2, max_size=4), st.integers(1, 4))
def test_unequal_sentences_take_as_long_as_their_order_allows(sentences, layers):
    """Against a simulation that starts whatever can start, cycle by cycle."""
    jobs = alternating(sentences, layers)
    total = pipelined(jobs)
    assert total >= max(sum(attention for _, attention, _ in map(tuple_of, jobs)),
                        sum(feed_forward for _, _, feed_forward in map(tuple_of, jobs)))  # fmt: skip
    assert total == event_by_event(jobs)


def tuple_of(job):
    return job.sentence, job.attention, job.feed_forward


def event_by_event(jobs):
    """The same rules as two machines that look for work whenever something ends."""
    now, taken = 0, [0, 0]
    running, ended = [None, None], [set(), set()]
    own = [max((k for k in range(j) if jobs[k].sentence == job.sentence), default=None) for j, job in enumerate(jobs)]
    while len(ended[1]) < len(jobs):
        for machine in (0, 1):
            if running[machine] and running[machine][1] == now:
                ended[machine].add(running[machine][0])
                running[machine] = None
        for machine in (0, 1):
            j = taken[machine]
            if running[machine] or j == len(jobs):
                continue
            ready = (j < 2 or j - 2 in ended[1]) and (own[j] is None or own[j] in ended[1])
            if j in ended[0] if machine else ready:
                running[machine] = j, now + (jobs[j].feed_forward if machine else jobs[j].attention)
                taken[machine] += 1
        if len(ended[1]) < len(jobs):
            now = min(each[1] for each in running if each)
    return now


def test_a_job_alone():
    assert pipelined([Job(0, 5, 7)], first=3) == 15


def test_a_step_waits_for_its_weights():
    memory = Memory(latency=10, gap=2)
    load = 1 + (1 + 10 + 7 * 2) + 1 + (1 + 10 + 99 * 2) + 1  # fetch, instruction, request, weights, loaded
    times = program_cycles([50, 50, 1000], [100, 100, 100], memory)
    assert times.loaded[0] == 1 + load
    assert times.starts[0] == times.loaded[0]
    assert times.starts[1] == times.loaded[1] == times.loaded[0] + load  # longer than the step
    assert times.ends[1] == times.starts[1] + 49
    assert times.loaded[2] == max(times.loaded[1], times.ends[0] + 1) + load
    assert times.total == times.starts[2] + 1000


@pytest.mark.parametrize("seed", range(12))
def test_closed_forms_are_what_programs_take(seed):
    """Of a random model and accelerator; what its programs take is what simulation takes."""
    config, accelerator = bat_models.draw(seed)
    image = compiler.compile_model(bat_models.untrained(config, seed), accelerator)
    memory = Memory(accelerator.memory_latency, accelerator.memory_gap)
    attention, feed_forward = accelerator.attention, accelerator.feed_forward
    for tokens in (1, 2, accelerator.positions):
        programs = compiler.compile_sentences(image, [tokens])
        shape = Shape.of(config, tokens)
        first, second = Module(attention, shape, memory), Module(feed_forward, shape, memory)
        blocks = [(first.attention, second.feed_forward(last=last)) for last in [False] * (config.layers - 1) + [True]]
        steps = [
            [first.quantise, *(step for block, _ in blocks for step in block)],
            [step for _, block in blocks for step in block],
        ]
        if len(programs) == 1:
            steps = [[first.quantise, *(step for both in blocks for block in both for step in block)]]
        cycles = [cycles_of(each, BUILT) for each in steps]
        assert cycles == [
            [schedule.step_cycles(step, accelerator, module) for step in program]
            for program, module in zip(programs, accelerator.modules, strict=True)
        ]
        if len(programs) == 1:
            loads = [step["load_beats"] for step in programs[0]]
            whole = program_cycles(cycles[0], loads, memory)
            assert whole.total == schedule.program_cycles(programs, accelerator)
