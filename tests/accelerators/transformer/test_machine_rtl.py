"""The transformer machine in Verilator: every value of every step, and every cycle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frozen_transformers import random_gpt
from lutra.accelerators.transformer import latency
from lutra.accelerators.transformer.bench import harness
from lutra.accelerators.transformer.bench.harness import Drive
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.engine import RtlSession
from lutra.accelerators.transformer.machine import calls_of
from lutra.accelerators.transformer.simulate import GivenRows, compare_call, driven_calls
from lutra.errors import InputError, ToolError
from lutra.frozen import golden
from lutra.frozen.ops import Past
from transformer_machines import random_input


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    program = random_gpt(np.random.default_rng(1), width=16, heads=2, layers=2, context=8, vocabulary=16, ffn="mlp")
    image = compile_model(program, sized_for(program, 4))
    return image, harness.build(image.config, tmp_path_factory.mktemp("transformer"))


def problems(image, built, pieces, drive=Drive()):  # noqa: B008
    """What is wrong with a sequence that comes in pieces."""
    x = random_input(np.random.default_rng(2), image, sum(pieces))
    driven = driven_calls(image, GivenRows(x, tuple(pieces)))
    runs = harness.simulate(built, image, [(call, inputs) for call, inputs, _ in driven], drive)
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


def test_a_session_gives_goldens_logits_call_by_call(machine):
    image, built = machine
    told, past = [], Past()
    session = RtlSession(built, image, told.append)
    tokens = random_input(np.random.default_rng(4), image, 8)[None]
    for first, last in ((0, 5), (5, 6), (6, 8)):
        expected = golden.run(image.program, tokens[:, first:last], past=past)
        np.testing.assert_array_equal(session(tokens[:, first:last]), expected)
    assert [done.tokens for done in told] == [5, 6, 8]
    assert told[-1].cycles == latency.total_cycles(image, calls_of(image, [5, 1, 2]))
    with pytest.raises(InputError, match="9 rows are more than the 8 of the machine"):
        session(tokens[:, :1])
    with pytest.raises(InputError, match="one sequence at a time, got 2"):
        session(np.concatenate([tokens, tokens]))
    session.close()


def test_a_session_whose_simulation_died_says_so(machine):
    image, built = machine
    session = RtlSession(built, image, lambda _: None)
    session.process.kill()
    session.process.wait()  # from here on every write breaks
    with pytest.raises(ToolError, match="transformer machine: ended with status -9: silent"):
        session(np.zeros((1, 1, 1), np.int64))
    session.close()


def test_a_wrong_weight_is_named_by_step_row_and_column(machine):
    image, built = machine
    step = next(each for each in image.steps if each.name == "h.1.mlp.gelu")
    weights = image.memories["weights"].copy()
    weights[step.right, 1] ^= 64
    broken = replace(image, memories={**image.memories, "weights": weights})
    (call, inputs, expected) = driven_calls(image, GivenRows(random_input(np.random.default_rng(5), image, 6), (6,)))[0]
    (run,) = harness.simulate(built, broken, [(call, inputs)])
    result, verdicts = compare_call(image, call, run, expected, stalled=False)
    first = next(verdict for verdict in verdicts if verdict.first)
    assert result.differing
    assert first.name == "h.1.mlp.gelu"
    assert result.problem is not None
    assert result.problem.startswith("h.1.mlp.gelu[")
    assert "golden" in result.problem


def test_a_step_that_lasts_longer_than_predicted_is_named(machine, monkeypatch):
    image, built = machine
    (call, inputs, expected) = driven_calls(image, GivenRows(random_input(np.random.default_rng(6), image, 2), (2,)))[0]
    (run,) = harness.simulate(built, image, [(call, inputs)])
    monkeypatch.setattr(latency, "TILE_CYCLES", 4)
    result, _ = compare_call(image, call, run, expected, stalled=False)
    assert result.differing == 0
    assert result.steps_in_other_cycles == 2
    assert result.problem is not None
    assert "h.0.context" in result.problem
