"""The integer functions of training against the frozen operations, bit for bit, and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lutra.errors import InputError
from lutra.frozen import arithmetic, ops
from lutra.frozen.ops.attention import exponential_table
from lutra.frozen.types import TensorType
from lutra.nn import integer

INT8, INT16 = TensorType(True, 8), TensorType(True, 16)


def as_array(tensor):
    return tensor.detach().numpy().astype(np.int64)


def random_integers(rng, *shape, bits=8):
    low, high = integer.type_range(bits)
    return torch.from_numpy(rng.integers(low, high + 1, shape).astype(np.float64))


@settings(deadline=None)
@given(st.lists(st.floats(1e-9, 3e4), min_size=1, max_size=6), st.sampled_from([16, 31]))
def test_dyadic_uses_all_bits_and_rounds_to_nearest(ratios, bits):
    multiplier, shift = integer.dyadic(torch.tensor(ratios, dtype=torch.float64), "here", bits)
    assert 1 <= shift <= integer.LARGEST_SHIFT
    assert multiplier.max() < 2**bits
    assert multiplier.max() >= 2 ** (bits - 1) - 1 or shift == integer.LARGEST_SHIFT
    for ratio, value in zip(ratios, multiplier.tolist(), strict=True):
        assert abs(value - ratio * 2**shift) <= 0.5


@pytest.mark.parametrize("ratio", [0.0, math.nan, math.inf, 2.0**16])
def test_a_ratio_without_a_multiplier_is_one_line(ratio):
    with pytest.raises(InputError, match=r"^here: no 16-bit multiplier"):
        integer.dyadic(torch.tensor([ratio], dtype=torch.float64), "here")


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.booleans(), st.sampled_from([8, 16]), st.integers(0, 2**32))
def test_linear(inputs, outputs, with_bias, bits, seed):
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.normal(0, 2.0 ** rng.integers(-9, 2, (outputs, 1)), (outputs, inputs))).float()
    bias = torch.from_numpy(rng.normal(0, 1, outputs)).float() if with_bias else None
    x, type_ = random_integers(rng, 3, 4, inputs), TensorType(True, bits)
    output_scale = 0.01 * inputs**0.5 if bits == 8 else 1e-4
    c = integer.linear_constants(weight, bias, 0.02, output_scale, "here")
    product = ops.MatMul(("x",), "s", as_array(c.weights).T, as_array(c.bias))
    requantise = ops.Requantise(("s",), "y", as_array(c.multiplier), np.full(outputs, c.shift), type_)
    expected = requantise.meaning(product.meaning(as_array(x).reshape(12, inputs))).reshape(3, 4, outputs)
    assert (as_array(integer.linear(x, weight, bias, c, 0.02, bits)) == expected).all()
    real = (x * 0.02) @ weight.double().t() + (0 if bias is None else bias.double())
    weights_error = 128 * inputs * 0.02 * c.scales.numpy() / output_scale  # half a step of each, and of the bias
    multiplier_error = np.abs(expected) / c.multiplier.numpy()
    inside = np.abs(expected) < type_.maximum
    assert (np.abs(expected - real.numpy() / output_scale) <= weights_error + multiplier_error + 1)[inside].all()


def test_gradients_of_linear_are_those_of_the_real_one_inside_the_range():
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.normal(size=(5, 8))).float().requires_grad_()
    bias = torch.from_numpy(rng.normal(size=5)).float().requires_grad_()
    real = torch.from_numpy(rng.normal(size=(7, 8))).requires_grad_()
    scale, output_scale = 3 / 127, 9 / 127
    c = integer.linear_constants(weight, bias, scale, output_scale, "here")
    y = integer.linear(integer.to_grid(real, scale, 8), weight, bias, c, scale) * output_scale
    y.square().sum().backward()
    ours = [tensor.grad.clone() for tensor in (weight, bias, real)]
    for tensor in (weight, bias, real):
        tensor.grad = None
    (real @ weight.double().t() + bias.double()).square().sum().backward()
    for found, tensor in zip(ours, (weight, bias, real), strict=True):
        assert F.cosine_similarity(found.flatten().double(), tensor.grad.flatten().double(), dim=0) > 0.995


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 130), st.sampled_from([0, 1, 30, 3000, 32767]), st.booleans(), st.integers(0, 2**32))
def test_layer_norm(width, spread, with_bias, seed):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.integers(-spread, spread + 1, (3, 2, width)).astype(np.float64))
    weight = torch.from_numpy(rng.normal(0, 1, width)).float()
    bias = torch.from_numpy(rng.normal(0, 1, width)).float() if with_bias else None
    c = integer.norm_constants(weight, bias, 1e-5, 1e-3, 0.03, "here")
    op = ops.LayerNorm(("x",), "y", as_array(c.gain), as_array(c.bias), c.epsilon, c.shift, INT8)
    y = integer.layer_norm(x, weight, bias, c, 1e-5, 1e-3, 0.03)
    assert (as_array(y) == op.meaning(as_array(x).reshape(6, width)).reshape(3, 2, width)).all()
    if spread >= 3000 and width >= 8:
        real = F.layer_norm(x * 1e-3, (width,), weight.double(), None if bias is None else bias.double(), 1e-5) / 0.03
        assert (y - real.clamp(-128, 127)).abs().max() < 1.5


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.sampled_from([1, 2, 4]), st.booleans(), st.floats(1e-4, 0.3), st.integers(0, 2**32))
def test_attention(tokens, heads, causal, scale, seed):
    rng = np.random.default_rng(seed)
    q, k, v = (random_integers(rng, 2, tokens, 8) for _ in range(3))
    c = integer.attention_constants(scale, 0.02, 0.02, 0.02 / rng.integers(1, 9), 8 // heads, "here")
    op = ops.Attention(
        ("q", "k", "v"), "y", heads, causal, c.multiplier, c.shift, exponential_table(), c.gain, INT8
    )  # fmt: skip
    y = integer.attention(q, k, v, heads, causal, c)
    assert (as_array(y) == op.meaning_at(ops.Past(), *map(as_array, (q, k, v)))).all()


def test_attention_is_near_the_real_one_and_so_is_its_gradient():
    rng = np.random.default_rng(0)
    real = [torch.from_numpy(rng.normal(size=(2, 20, 16))).requires_grad_() for _ in range(3)]
    scale = 4 / 127
    c = integer.attention_constants(scale, scale, scale, scale, 8, "here")
    y = integer.attention(*(integer.to_grid(x, scale, 8) for x in real), 2, True, c) * scale / 2**c.gain
    heads = [x.view(2, 20, 2, 8).transpose(1, 2) for x in real]
    expected = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
    assert (y - expected).abs().max() < 0.08
    target = torch.from_numpy(rng.normal(size=y.shape))
    ours = torch.autograd.grad((y * target).sum(), real)
    theirs = torch.autograd.grad((expected * target).sum(), real)
    for a, b in zip(ours, theirs, strict=True):
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99


def test_the_exponential_table_is_the_frozen_one():
    assert (integer.exponential_table().numpy() == exponential_table()).all()


@pytest.mark.parametrize("scale", [0.001, 0.02, 0.04, 0.06, 0.3])
def test_gelu_is_right_to_half_a_step_for_every_input(scale):
    x = torch.arange(-128, 128, dtype=torch.float64)
    output_scale = float(F.gelu(127 * torch.tensor(scale))) / 127
    table = integer.gelu_table(scale, output_scale)
    y = integer.gelu(x, table, scale, output_scale)
    op = ops.Table(("x",), "y", as_array(table), INT8)
    assert (as_array(y) == op.meaning(as_array(x)[:, None])[:, 0]).all()
    assert (y * output_scale - F.gelu(x * scale)).abs().max() <= output_scale / 2 * (1 + 1e-6)


def test_root_and_reciprocal_are_the_frozen_ones():
    rng = np.random.default_rng(0)
    v = rng.integers(1, 2**36, 10**5)
    factor, exponent = integer.reciprocal(torch.from_numpy(v))
    ours = arithmetic.recip(v)
    assert (factor.numpy() == ours[0]).all() and (exponent.numpy() == ours[1]).all()


def test_weights_without_a_scale_and_gains_that_do_not_fit_are_one_line():
    with pytest.raises(InputError, match=r"^fc: weights that are all zero"):
        integer.linear_constants(torch.zeros(3, 2), None, 1.0, 1.0, "fc")
    with pytest.raises(InputError, match=r"^ln: a norm's gain of 1e\+08 does not fit"):
        integer.norm_constants(torch.full((3,), 1e8), None, 1e-5, 1e-3, 1e-3, "ln")
    zero_row = integer.linear_constants(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), None, 1.0, 1.0, "fc")
    assert zero_row.weights[0].tolist() == [0, 0] and zero_row.multiplier[0] > 0
