"""A trained GPT's MLP in int8: both its matrix products on the systolic array, ShiftGELU between them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lutra.files import RunFiles
from lutra.frozen.shift import gelu_unit, shift_gelu
from lutra.rtl.systolic import SystolicConfig, sufficient_output_lanes
from lutra.simulate import systolic
from lutra.simulate.systolic import Product, simulate_products
from lutra.train.checkpoint import load_model
from lutra.train.loop import train_run
from tiny_training import short_text, tiny_recipe


def quantised(x):
    """int8 with one scale per tensor."""
    scale = np.abs(x).max() / 127
    return np.clip(np.rint(x / scale), -128, 127).astype(np.int64), float(scale)


def dyadic(ratio, shift):
    """The multiplier that brings sums from one scale to another."""
    return min(round(ratio * 2**shift), 2**16 - 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Input and weights of the first MLP of a trained model: (tokens, 12), (48, 12), (12, 48)."""
    run = RunFiles(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lutra.train.loop.load_shakespeare", short_text)
        train_run(run, tiny_recipe())
    model = load_model(run).eval()
    mlp, captured = model.transformer.h[0].mlp, []
    mlp.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0]))
    with torch.no_grad():
        model(short_text().validation[None, :16])
    return [tensor.detach().double().numpy() for tensor in (captured[0][0], mlp.c_fc.weight, mlp.c_proj.weight)]


def test_both_products_of_a_trained_mlp(trained, tmp_path):
    x, first, second = trained
    (x_int, x_scale), (first_int, first_scale), (second_int, second_scale) = map(quantised, trained)
    config = SystolicConfig(4, 64, sufficient_output_lanes(4, 12))
    bench = systolic.build(config, tmp_path)

    hidden, hidden_scale = x @ first.T, float(np.abs(x @ first.T).max() / 127)
    product_1 = Product(x_int, first_int.T, dyadic(x_scale * first_scale / hidden_scale, config.shift))
    hidden_int = product_1.golden(config.shift)
    activated = shift_gelu(hidden_int, gelu_unit(hidden_scale), shift=16)
    activated_scale = float(np.abs(activated).max() * hidden_scale / 128 / 127)
    activated_int = np.clip(np.rint(activated * hidden_scale / 128 / activated_scale), -128, 127).astype(np.int64)
    real = torch.nn.functional.gelu(torch.from_numpy(hidden)).numpy() @ second.T
    output_scale = float(np.abs(real).max() / 100)
    product_2 = Product(
        activated_int, second_int.T, dyadic(activated_scale * second_scale / output_scale, config.shift)
    )

    results = simulate_products(bench, [product_1, product_2])
    assert [result.problem for result in results] == [None, None]
    assert [(result.rows, result.inner, result.columns) for result in results] == [(16, 12, 48), (16, 48, 12)]
    # The integers that the array was compared with mean what the model computes.
    ours = product_2.golden(config.shift) * output_scale
    assert np.corrcoef(ours.reshape(-1), real.reshape(-1))[0, 1] > 0.95
