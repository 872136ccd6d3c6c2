"""A trained GPT's MLP, quantised and frozen: product, ShiftGELU and product on the array, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lutra.accelerators.systolic import dense_mlp as dense
from lutra.accelerators.systolic.array import activation_cycles
from lutra.cost.systolic import Gemm
from lutra.errors import FrozenModelError, InputError
from lutra.frozen import golden, store
from lutra.frozen.dense import as_dense_mlp, quantise_mlp
from lutra.frozen.graph import FrozenModel
from lutra.runs.files import RunFiles
from lutra.train.checkpoint import load_model
from lutra.train.loop import train_run
from tiny_training import short_text, tiny_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Input and weights of the first MLP of a trained model, (16, 12), (48, 12), (12, 48), and its output."""
    run = RunFiles(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lutra.train.loop.load_dataset", short_text)
        train_run(run, tiny_recipe())
    model = load_model(run).eval()
    mlp, captured = model.transformer.h[0].mlp, []
    mlp.register_forward_hook(lambda module, inputs, output: captured.extend([inputs[0][0], output[0]]))
    with torch.no_grad():
        model(short_text().validation[None, :16])
    return [
        tensor.detach().double().numpy() for tensor in (captured[0], mlp.c_fc.weight, mlp.c_proj.weight, captured[1])
    ]


@pytest.fixture(scope="module")
def bench(trained, tmp_path_factory):
    mlp = as_dense_mlp(quantise_mlp("h.0.mlp", *trained[:3]))
    return mlp, dense.build(mlp, 4, tmp_path_factory.mktemp("mlp"))


def test_a_trained_mlp_bit_for_bit_and_in_the_predicted_cycles(trained, bench):
    mlp, built = bench
    x = golden.quantise(trained[0], mlp.graph.input_type)
    result = dense.simulate_mlp(built, mlp, x)
    assert result.problem is None
    gemms = [Gemm("MLP 1", 16, 12, 48), Gemm("MLP 2", 16, 48, 12)]
    predicted = sum(gemm.cycles(4, built.config.output_lanes) for gemm in gemms)
    predicted += activation_cycles(built.activation, 48, built.config)
    assert result.cycles_measured == result.cycles_predicted == predicted
    # The integers mean what the model computes.
    ours = golden.dequantise(golden.run(mlp.graph, x), mlp.graph.output_type)
    assert np.corrcoef(ours.reshape(-1), trained[3].reshape(-1))[0, 1] > 0.95


def test_random_rows_and_differences_are_named(bench, monkeypatch):
    mlp, built = bench
    x = np.random.default_rng(0).integers(-128, 128, (9, 12))
    assert dense.simulate_mlp(built, mlp, x).problem is None
    monkeypatch.setattr("lutra.accelerators.systolic.bench.activation_cycles", lambda *arguments: 0)
    assert "product 1: " in dense.simulate_mlp(built, mlp, x).problem


def test_a_frozen_mlp_loads_back_and_is_nothing_else(trained, tmp_path):
    graph = quantise_mlp("h.0.mlp", *trained[:3])
    store.save(FrozenModel((graph,)), tmp_path)
    loaded = store.load(tmp_path)["h.0.mlp"]
    x = np.random.default_rng(0).integers(-128, 128, (9, 12))
    assert (golden.run(as_dense_mlp(loaded).graph, x) == golden.run(graph, x)).all()
    with pytest.raises(FrozenModelError, match="not a dense MLP"):
        as_dense_mlp(type(graph)("part", "x", graph.input_type, 12, graph.ops[:3]))


def test_biases_become_terms_of_the_product(trained):
    rng = np.random.default_rng(3)
    biases = rng.normal(size=48), np.full(12, -40.0)
    op = as_dense_mlp(quantise_mlp("biased", *trained[:3], *biases)).second
    x = rng.integers(-128, 128, (5, 48))
    right, left = dense.right_operand(op), dense._left_operand(op, x)
    assert len(right) > 48 and np.abs(right).max() <= 128
    assert (left @ right == op.meaning(x)).all()


def test_another_mlp_is_refused(trained, bench):
    x, first, second, _ = trained
    other = as_dense_mlp(quantise_mlp("other", x, 3 * first, second))
    with pytest.raises(InputError, match="built for another MLP"):
        dense.simulate_mlp(bench[1], other, golden.quantise(x, other.graph.input_type))
    with pytest.raises(InputError, match="nothing but zeros"):
        quantise_mlp("zero", x, 0 * first, second)
