"""Programs and memory images of whole transformers: the steps, run on the images, compute golden's values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frozen_transformers import INT8, random_gpt, random_vit
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.machine import Machine, calls_of
from lutra.accelerators.transformer.program import Op, Target
from lutra.accelerators.transformer.simulate import GivenRows, driven_calls
from lutra.errors import InputError
from lutra.frozen.graph import Graph
from lutra.frozen.ops import LayerNorm, MeanRows
from transformer_machines import random_input

SIZES = [(4, 4, 1), (4, 2, 2), (8, 8, 4), (2, 1, 1)]


def compare_all_steps(program, config, pieces, rng):
    image = compile_model(program, config)
    machine = Machine(image)
    x = random_input(rng, image, sum(pieces))
    for call, inputs, expected in driven_calls(image, GivenRows(x, tuple(pieces))):
        for step, value in machine.run(call, inputs):
            if step.op != Op.POSITIONS:  # golden adds the patches at the same time
                golden_value = expected.values[step.name]
                np.testing.assert_array_equal(value, golden_value[: len(value)], err_msg=f"{step.name}, {call}")


@pytest.mark.parametrize("ffn", ["mlp", "weightless", "none"])
@pytest.mark.parametrize(("size", "lanes", "norm_lanes"), SIZES)
def test_every_step_of_a_gpt_is_goldens_in_any_pieces(size, lanes, norm_lanes, ffn):
    rng = np.random.default_rng(size * lanes)
    program = random_gpt(rng, ffn=ffn, context=11)
    config = sized_for(program, size, lanes, norm_lanes, overlap=size == 4)
    compare_all_steps(program, config, [7, 1, 1, 2], rng)


@pytest.mark.parametrize("only_class", [False, True])
@pytest.mark.parametrize("ffn", ["mlp", "weightless"])
@pytest.mark.parametrize(("size", "lanes", "norm_lanes"), SIZES)
def test_every_step_of_a_vit_is_goldens(size, lanes, norm_lanes, ffn, only_class):
    rng = np.random.default_rng(size * lanes)
    program = random_vit(rng, ffn=ffn, only_class=only_class)
    compare_all_steps(program, sized_for(program, size, lanes, norm_lanes, overlap=size == 4), [7], rng)


@pytest.mark.parametrize("make", [random_gpt, random_vit])
def test_the_residual_stream_has_room_for_its_rows_and_no_more(make):
    config = sized_for(make(np.random.default_rng(2), width=12), 8, 4)
    assert config.stream_words == 4  # of 16 columns; the memory has as many for each row


def test_heads_that_end_within_a_tile_are_padded_one_by_one():
    rng = np.random.default_rng(3)
    program = random_gpt(rng, width=15, heads=3, ffn="mlp", vocabulary=13, context=9)
    config = sized_for(program, 8, 4, 2)
    image = compile_model(program, config)
    assert image.places["h.0.query"].columns.tolist() == [*range(5), *range(8, 13), *range(16, 21)]
    compare_all_steps(program, config, [9], rng)


def test_a_larger_machine_runs_the_same_model():
    rng = np.random.default_rng(4)
    program = random_gpt(rng, ffn="mlp")
    config = sized_for(program, 4, 2)
    grown = {name: 2 * value for name, value in config.to_mapping().items() if name.endswith("_words")}
    compare_all_steps(program, replace(config, rows=2 * config.rows, depth=2 * config.depth, **grown), [3, 5], rng)


def test_a_machine_that_is_too_small_names_the_memory():
    program = random_gpt(np.random.default_rng(5), ffn="mlp")
    config = sized_for(program, 4)
    with pytest.raises(InputError, match=r"needs weight_words \d+, the machine has 5"):
        compile_model(program, replace(config, weight_words=5))
    with pytest.raises(InputError, match="has sums of 48 terms, the machine adds 16"):
        compile_model(program, replace(config, depth=16))


def test_operations_that_the_machine_lacks_are_refused_by_name():
    program = random_vit(np.random.default_rng(6))
    norm = next(i for i, op in enumerate(program.ops) if isinstance(op, LayerNorm) and op.output == "norm")
    mean = MeanRows(("norm",), "class", 2**12, 15, INT8)
    ops = (*program.ops[: norm + 1], mean, *program.ops[norm + 2 :])
    pooled = Graph(program.name, program.input, program.input_type, program.input_width, ops, program.input_rows)
    pooled.check()
    with pytest.raises(InputError, match="the machine has no mean_rows"):
        sized_for(pooled, 4)


def test_calls_beyond_the_context_are_refused():
    program = random_gpt(np.random.default_rng(7), ffn="mlp", context=8)
    image = compile_model(program, sized_for(program, 4))
    assert [call.past for call in calls_of(image, [5, 1, 2])] == [0, 5, 6]
    for pieces in ([9], [5, 4], [], [3, 0]):
        with pytest.raises(InputError, match="the machine takes 1 to 8"):
            calls_of(image, pieces)


def test_the_dense_mlp_needs_a_table_and_the_block_its_own_step():
    for ffn, op, target in (("mlp", Op.PRODUCT, Target.TABLE), ("weightless", Op.BLOCK, Target.STREAM)):
        program = random_gpt(np.random.default_rng(8), ffn=ffn)
        steps = compile_model(program, sized_for(program, 4)).steps
        assert sum(step.op == op and step.target == target for step in steps) == 2
