"""The paper's whole space in one go: how many points, what the paper's point takes, what is faster under its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bat_models
from lutra.accelerators.bat import compiler
from lutra.accelerators.bat.config import PAPER_FFN, PAPER_MHA
from lutra.accelerators.bat.latency import BUILT, Memory, Module, Shape
from lutra.accelerators.bat.pipeline import equation_5_of_a_pair
from lutra.accelerators.bat.search import (
    PAPER_METHOD,
    PAPER_SPACE,
    buildable,
    choice,
    devices,
    evaluate,
    fastest,
    staircase,
    steps,
)
from lutra.accelerators.bat.traffic import Loads
from lutra.errors import InputError

LIMIT = 0.8
PAPER_PLACE = PAPER_SPACE.index(PAPER_MHA), PAPER_SPACE.index(PAPER_FFN)


@pytest.fixture(scope="module")
def results():
    return {result.method.name: result for result in evaluate(PAPER_SPACE, None)}


def test_the_space_has_the_papers_points(results):
    assert PAPER_SPACE.points == 45 * 360**2 == 5_832_000
    assert sum(result.pair_cycles().size for result in results.values()) == PAPER_SPACE.points


def test_the_papers_point_takes_what_its_table_6_says(results):
    chosen = choice(PAPER_SPACE, results[PAPER_METHOD], PAPER_PLACE)
    assert chosen.use.lut_raw == pytest.approx(146_465, rel=1e-3)
    assert chosen.use.ff == pytest.approx(136_973, rel=1e-3)
    assert (round(chosen.use.dsp), round(chosen.use.bram)) == (1024, 114)
    assert chosen.milliseconds == pytest.approx(36.52, abs=0.01)


def test_points_under_the_papers_limits_are_faster_than_the_papers(results):
    result, device = results[PAPER_METHOD], devices()["zcu102"]
    allowed = result.feasible(device, LIMIT)
    assert allowed[PAPER_PLACE]
    best = fastest(PAPER_SPACE, result, allowed)
    assert best.milliseconds == pytest.approx(18.4, abs=0.1)
    assert best.use.lut_packed < LIMIT * device.lut
    overall = min((fastest(PAPER_SPACE, each, each.feasible(device, LIMIT)) for each in results.values()),
                  key=lambda point: point.cycles)  # fmt: skip
    assert overall.method == "BiT W1A1 192/768"


def test_a_staircase_holds_what_nothing_beats(results):
    result = results[PAPER_METHOD]
    allowed = result.feasible(devices()["zcu102"], LIMIT)
    steps = staircase(PAPER_SPACE, result, allowed)
    cycles, luts = result.pair_cycles()[allowed], result.use("lut_packed")[allowed]
    assert steps[0].cycles == cycles.min()
    assert steps[-1].use.lut_packed == luts.min()
    for step in steps:
        beats = (cycles <= step.cycles) & (luts <= step.use.lut_packed)
        assert not (beats & ((cycles < step.cycles) | (luts < step.use.lut_packed))).any()
    assert [step.cycles for step in steps] == sorted({step.cycles for step in steps})


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 359), st.integers(0, 359), st.sampled_from(range(45)))
def test_every_point_is_what_its_modules_take_alone(mha, ffn, method):
    space = replace(PAPER_SPACE, methods=PAPER_SPACE.methods[method : method + 1])
    (result,) = evaluate(space, None)
    shape = result.method.shape(space)
    first, second = (Module(space.module(index), shape, space.memory) for index in (mha, ffn))
    attention, feed_forward = (
        sum(int(step.cycles(BUILT)) for step in steps) for steps in (first.attention, second.feed_forward())
    )
    # With what they wait for weights, which is nothing where engines are not wide.
    assert result.attention[mha] >= attention
    assert result.feed_forward[ffn] >= feed_forward
    if space.module(mha).p_dpu <= 16 and space.module(ffn).p_dpu <= 16:
        pair = equation_5_of_a_pair(attention, feed_forward, space.layers)
        # But for what comes before the first layer, and for codes that the last one does not store.
        assert result.pair_cycles()[mha, ffn] == pytest.approx(pair, rel=0.02)


def test_a_slow_memory_makes_modules_wait():
    space = replace(PAPER_SPACE, methods=PAPER_SPACE.methods[-1:])
    slow = replace(space, memory=Memory(latency=32, gap=16))
    (quick,), (waits,) = evaluate(space, None), evaluate(slow, None)
    assert (waits.feed_forward > quick.feed_forward).any()
    beats = sum(Loads(slow.module(0), quick.method.shape(slow)).feed_forward())
    assert waits.feed_forward[0] >= 16 * beats


def test_a_module_that_is_not_in_the_space_is_refused():
    with pytest.raises(InputError, match="is not in the space"):
        PAPER_SPACE.index(replace(PAPER_MHA, p_dpu=24))


def test_devices_have_sources():
    for device in devices().values():
        assert device.source
        assert min(device.lut, device.ff, device.bram, device.dsp) > 0
    assert (devices()["zcu102"].lut, devices()["zcu102"].dsp) == (274_080, 2_520)


@pytest.mark.parametrize("seed", range(8))
def test_loads_are_what_the_compiler_writes(seed):
    config, accelerator = bat_models.draw(seed)
    image = compiler.compile_model(bat_models.untrained(config, seed), accelerator)
    elastic = config.quantisation.elastic
    shape = Shape.of(config, 1)
    first, second = (Loads(lanes, shape, elastic) for lanes in (accelerator.attention, accelerator.feed_forward))
    expected = {"layers.0.attention.quantise": first.quantise}
    for layer in range(config.layers):
        names = [f"layers.{layer}.attention.{kind}" for kind in ("query_key_value", "scores", "contexts", "output")]
        expected |= dict(zip(names, first.attention, strict=True))
        names = [f"layers.{layer}.feed_forward.{kind}" for kind in ("hidden", "output")]
        expected |= dict(zip(names, second.feed_forward(last=layer == config.layers - 1), strict=True))
    assert {name: blob.beats for name, (_, blob) in image.places.items()} == {
        name: int(np.asarray(beats)) for name, beats in expected.items()
    }


@pytest.mark.parametrize("method", [0, 22, 44])
def test_contenders_hold_what_is_best_of_all(method):
    space = replace(PAPER_SPACE, methods=PAPER_SPACE.methods[method : method + 1])
    device = devices()["zcu102"]
    (result,) = evaluate(space, None)
    allowed = result.feasible(device, LIMIT)
    left = allowed & result.contenders(np.ones(len(space.modules), bool))
    assert 0 < left.sum() < 0.3 * allowed.sum()
    assert staircase(space, result, left) == staircase(space, result, allowed)
    for cost in (result.needs(device), result.pair_energy_j(space.clock_hz)):
        of_all, of_some = (
            [(result.pair_cycles()[place], cost[place]) for place in steps(result, mask, cost)]
            for mask in (allowed, left)
        )
        assert of_some == of_all


def test_what_the_rtl_is_not_written_for_is_left_out():
    method = next(each for each in PAPER_SPACE.methods if each.heads == 3)
    built = dict(zip(PAPER_SPACE.modules, buildable(PAPER_SPACE, method), strict=True))
    # Of 192 columns of queries no whole beats of 128 lanes are left over for keys.
    assert not built[16, 128, 128, 8]
    assert built[16, 128, 96, 8]
    assert not buildable(replace(PAPER_SPACE, p_pe=96), method)[PAPER_SPACE.modules.index((16, 64, 32, 8))]


def test_power_of_the_papers_point_is_its_table_6(results):
    result = results[PAPER_METHOD]
    seconds = result.pair_cycles()[PAPER_PLACE] / PAPER_SPACE.clock_hz
    assert result.pair_energy_j(PAPER_SPACE.clock_hz)[PAPER_PLACE] / seconds == pytest.approx(5.465, rel=1e-3)


def test_a_memory_of_a_few_bytes_per_cycle_is_enough(results):
    rate = results[PAPER_METHOD].bytes_per_cycle()[PAPER_PLACE]
    assert 4 < rate < 8
