"""Programs over sequences: any cut gives the same bits, files keep them, and parts are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frozen_transformers import random_gpt, random_vit
from lutra.errors import FrozenModelError, InputError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, as_weightless, block_inputs
from lutra.frozen.ops import Past


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_any_cut_of_a_sequence_gives_the_same_logits(seed, lengths):
    rng = np.random.default_rng(seed)
    program = random_gpt(rng, context=sum(lengths))
    x = rng.integers(0, 11, (2, sum(lengths), 1))
    whole, past = golden.run(program, x), Past()
    parts = [
        golden.run(program, x[:, past.tokens : past.tokens + length], past=past)
        for length in lengths  # past.tokens grows with every run
    ]
    assert (np.concatenate(parts, axis=1) == whole).all()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_whole_models_load_back_equal_with_their_blocks(tmp_path, seed):
    rng = np.random.default_rng(seed)
    program = random_gpt(rng)
    store.save(FrozenModel.of_whole(program, {"seed": "1"}), tmp_path)
    loaded = store.load(tmp_path)
    x = rng.integers(0, 11, (1, 5, 1))
    assert (golden.run(loaded.require_whole(), x) == golden.run(program, x)).all()
    assert loaded.origin == {"seed": "1"}
    trace = golden.trace(program, x)
    assert [graph.name for graph in loaded.graphs] == [f"h.{layer}.mlp" for layer in range(2)]
    for graph in loaded.graphs:
        as_weightless(graph)
        assert (graph.input, graph.output) == ("x", "y")
        rows = trace[block_inputs(program)[graph.name]].reshape(-1, graph.input_width)
        expected = trace[f"{graph.name}.y"].reshape(-1, graph.output_width)
        assert (golden.run(graph, rows) == expected).all()


def test_batches_and_memory_bounds_do_not_change_logits():
    rng = np.random.default_rng(0)
    program = random_vit(rng)
    images = rng.integers(0, 256, (7, *program_shape(program)))
    whole = golden.run(program, images)
    assert whole.shape == (7, 1, program.output_width)
    assert (golden.run(program, images, rows_at_once=1) == whole).all()
    assert (golden.run(program, images[3:4]) == whole[3:4]).all()
    assert golden.run(program, images[:0]).shape[0] == 0


def program_shape(program):
    return program.input_rows, program.input_width


def test_wrong_sequences_are_one_line():
    gpt, vit = random_gpt(np.random.default_rng(0), context=6), random_vit(np.random.default_rng(0))
    for x, message in (
        (np.zeros((2, 7, 1), int), "7 tokens are more than the model's context of 6"),
        (np.full((1, 2, 1), 11), "token 11 is unknown; the model knows 0 to 10"),
        (np.zeros((2, 3), int), r"input must be integers of shape \(sequences, tokens, 1\)"),
        (np.zeros((2, 0, 1), int), "input must be integers of shape"),
        (np.zeros((1, 3, 1)), "input must be integers"),
        (np.full((1, 2, 1), -1), r"input must lie in \[0, 15\]"),
    ):
        with pytest.raises(InputError, match=message):
            golden.run(gpt, x)
    rows, channels = program_shape(vit)
    for image in (np.zeros((1, rows - 1, channels), int), np.zeros((1, rows, channels + 1), int)):
        with pytest.raises(InputError, match=rf"shape \(sequences, {rows}, {channels}\)"):
            golden.run(vit, image)


def test_only_whole_models_have_a_whole():
    with pytest.raises(FrozenModelError, match="only the blocks"):
        FrozenModel(()).require_whole()


def test_a_program_that_reads_what_is_not_there_yet():
    program = random_gpt(np.random.default_rng(0))
    swapped = replace(program, ops=(program.ops[1], program.ops[0], *program.ops[2:]))
    with pytest.raises(FrozenModelError, match="operation 0: layer_norm reads"):
        swapped.check()
