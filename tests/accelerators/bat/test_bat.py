"""Whole BERTs on BAT: every value that a unit hands over, every cycle, without and with stalls of memory."""

from __future__ import annotations

import numpy as np
import pytest

import bat_models
from frozen_berts import small_config
from lutra.accelerators.bat import bench, compiler, emit, schedule
from lutra.accelerators.bat.config import ModuleConfig, config_for
from lutra.accelerators.bat.latency import Memory, Module, Shape
from lutra.errors import InputError
from lutra.hardware.bench import verilator

QUANTISATION = {"method": "bmt", "activation_bits": 4}
TINY = small_config(
    layers=2, heads=2, head_width=16, width=64, intermediate=64, positions=16, quantisation=QUANTISATION
)
MODULES = (
    ModuleConfig(p_dpu=4, p_quan=4, p_vu=4, p_ln=2, p_pe=32, p_softmax=4),
    ModuleConfig(p_dpu=2, p_quan=8, p_vu=6, p_ln=4, p_pe=32),
)


@pytest.fixture(autouse=True)
def quiet():
    """Small models quantise with steps that send some numbers to infinity, which is clipped."""
    with np.errstate(over="ignore"):
        yield


@pytest.fixture(scope="module")
def tiny():
    return bat_models.frozen(TINY, seed=3)


@pytest.fixture(scope="module")
def two_modules(tmp_path_factory):
    return bench.build(config_for(TINY, MODULES), tmp_path_factory.mktemp("tiny"))


def groups_of(model, lengths, seed=1):
    return [bat_models.embedded(model, each, seed) for each in lengths]


def test_a_tiny_model_on_two_modules(two_modules, tiny):
    groups = groups_of(tiny, [[16, 16], [5, 16], [16, 1], [9]])
    assert bat_models.problems(two_modules, tiny, groups) == []


@pytest.mark.parametrize("seed", range(2))
def test_random_models_on_random_accelerators(tmp_path, seed):
    run_random(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 52))
def test_more_random_models_on_random_accelerators(tmp_path, seed):
    run_random(tmp_path, seed)


def run_random(folder, seed):
    config, accelerator = bat_models.draw(seed)
    model, longest = bat_models.frozen(config, seed), accelerator.positions
    lengths = [[longest, longest], [longest], [1, longest], [longest, 2]]
    groups = groups_of(model, [each[: len(accelerator.modules)] for each in lengths], seed)
    assert bat_models.problems(bench.build(accelerator, folder), model, groups) == []


@pytest.mark.parametrize("seed", range(40))
def test_instructions_and_closed_forms_predict_the_same_cycles(seed):
    """The closed forms of the search know shapes only, the schedule reads instructions."""
    config, accelerator = bat_models.draw(seed, modules=1)
    image = compiler.compile_model(bat_models.frozen(config, seed), accelerator)
    shape = Shape.of(config, accelerator.positions)
    module = Module(accelerator.attention, shape, Memory(accelerator.memory_latency, accelerator.memory_gap))
    closed = {"quantise": module.quantise}
    closed |= {f"attention.{step.name}": step for step in module.attention}
    closed |= {f"feed_forward.{step.name}": step for step in module.feed_forward()}
    last = {f"feed_forward.{step.name}": step for step in module.feed_forward(last=True)}
    for step in compiler.compile_sentences(image, [accelerator.positions])[0]:
        kind = "quantise" if step.name.endswith("quantise") else step.name.split(".", 2)[2]
        expected = (last if "last" in step.flags else closed)[kind]
        assert schedule.step_cycles(step, accelerator, accelerator.attention) == expected.cycles(), step.name


def test_a_value_that_is_not_goldens_is_named(two_modules, tiny):
    """The bench compares with another model's golden values: the first step whose weights differ is found."""
    other = bat_models.frozen(TINY, seed=3)
    other.tensors["layers.1.feed_forward.intermediate.factor"] *= np.float16(-1)
    groups = groups_of(tiny, [[6]])
    image = compiler.compile_model(tiny, two_modules.config)
    run = bench.simulate(two_modules, image, groups)[0]
    assert bat_models.problems_of("here", image, tiny, groups[0], run, stalls=False) == []
    found = bat_models.problems_of("here", image, other, groups[0], run, stalls=False)
    assert found[0].startswith(
        "here, module 1: step layers.1.feed_forward.hidden of sentence 0, vector unit, row 0, element "
    )


@pytest.mark.parametrize("count", [1, 2])
def test_verilator_has_no_warning(tmp_path, count):
    design = emit.bat_design(config_for(TINY, MODULES[:count]))
    design.write(tmp_path / "rtl")
    assert verilator.lint([tmp_path / "rtl" / name for name in design.sources], emit.TOP) == ""


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [([17], "17 tokens does not fit"), ([], "1 to 2 sentences, got 0"), ([4, 4, 4], "1 to 2 sentences, got 3")],
)
def test_sentences_that_do_not_fit(tiny, tokens, problem):
    image = compiler.compile_model(tiny, config_for(TINY, MODULES))
    with pytest.raises(InputError, match=problem):
        compiler.compile_sentences(image, tokens)
