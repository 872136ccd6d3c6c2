"""The transformer machine in Verilator: every value of every step, and every cycle."""

from __future__ import annotations

import numpy as np
import pytest

from frozen_transformers import random_gpt
from lutra.accelerators.transformer import bench
from lutra.accelerators.transformer.bench import Drive
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.simulate import GivenRows, compare_call, driven_calls
from transformer_machines import random_input


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    program = random_gpt(np.random.default_rng(1), width=16, heads=2, layers=2, context=8, vocabulary=16, ffn="mlp")
    image = compile_model(program, sized_for(program, 4))
    return image, bench.build(image.config, tmp_path_factory.mktemp("transformer"))


def problems(image, built, pieces, drive=Drive()):  # noqa: B008
    """What is wrong with a sequence that comes in pieces."""
    x = random_input(np.random.default_rng(2), image, sum(pieces))
    driven = driven_calls(image, GivenRows(x, tuple(pieces)))
    runs = bench.simulate(built, image, [(call, inputs) for call, inputs, _ in driven], drive)
    results = [
        compare_call(image, call, run, expected, drive.stalls)[0]
        for (call, _, expected), run in zip(driven, runs, strict=True)
    ]
    assert all(result.values > 100 for result in results)
    return [result.problem for result in results if result.problem]


def test_prefill_computes_goldens_values_in_the_predicted_cycles(machine):
    assert problems(*machine, [8]) == []


def test_decoding_computes_what_prefill_computes(machine):
    assert problems(*machine, [3, 1, 1, 2, 1]) == []


def test_stalls_and_a_reset_in_the_middle_of_a_step_change_no_value(machine):
    for seed, cycle in enumerate((40, 333, 900, 1500, 3001)):
        assert problems(*machine, [5, 1], Drive(stalls=True, seed=seed, reset_after=cycle)) == []
