"""The golden BERT's operations against exact arithmetic in fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exact_half import nearest_half
from frozen_berts import small_config
from lutra.errors import InputError, LutraError
from lutra.frozen import bert_golden, binary16
from lutra.frozen.bert import FrozenBert


def random_halfs(rng, shape, largest_exponent):
    """Halfs of all magnitudes up to 2^largest_exponent."""
    mantissa = rng.uniform(-1, 1, shape)
    return (mantissa * 2.0 ** rng.integers(-24, largest_exponent + 1, shape)).astype(np.float16)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(-12, 12), st.sampled_from([1e-12, 1e-5]), st.integers(0, 2**32))
def test_layer_norm_rounds_where_the_specification_says(width, exponent, epsilon, seed):
    rng = np.random.default_rng(seed)
    x, gain, bias = random_halfs(rng, (1, width), exponent), *random_halfs(rng, (2, width), 1)
    model = FrozenBert(
        small_config(width=width, layer_norm_epsilon=epsilon, quantisation={"method": "bmt"}),
        {"norm.gain": gain, "norm.bias": bias},
    )
    mean = nearest_half(sum(map(Fraction, x[0].tolist())) / width)
    centred = (x - mean)[0]
    units = sum(math.floor(Fraction(d) ** 2 * 2**20 + Fraction(1, 2)) for d in centred.tolist())
    units += math.floor(epsilon * width * 2**20 + 0.5)
    variance = max(nearest_half(Fraction(units, width * 2**20)), np.float16(2.0**-24))
    if not np.isfinite(variance):
        with np.errstate(over="ignore"), pytest.raises(LutraError, match=r"norm: .*range of binary16"):
            bert_golden.layer_norm(model, "norm", x)
        return
    expected = centred * np.float16(1 / math.sqrt(variance)) * gain + bias
    np.testing.assert_array_equal(bert_golden.layer_norm(model, "norm", x)[0], expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(-10, 6), st.integers(0, 2**32))
def test_softmax_sums_exactly(length, exponent, seed):
    scores = random_halfs(np.random.default_rng(seed), length, exponent)
    exponentials = np.array([nearest_half(Fraction(math.exp(x))) for x in (scores - scores.max()).tolist()])
    total = nearest_half(sum(map(Fraction, exponentials.tolist())))
    expected = exponentials * (np.float16(1) / total)
    np.testing.assert_array_equal(bert_golden.softmax(scores), expected)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.booleans(), st.integers(0, 2**32))
def test_quantise_rounds_half_up_and_clips(bits, signed, seed):
    rng = np.random.default_rng(seed)
    x, bias, inverse = random_halfs(rng, 50, 5), random_halfs(rng, 50, 2), np.float16(rng.uniform(0.01, 300))
    model = FrozenBert(
        small_config(quantisation={"method": "bit", "activation_bits": bits}),
        {"q.inverse_step": np.array(inverse), "q.bias": bias},
    )
    codes = bert_golden.quantise(model, "q", x, signed)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    for code, shifted in zip(codes.tolist(), (x + bias).tolist(), strict=True):
        if signed and bits == 1:
            assert code == (1 if shifted >= 0 else -1)
        else:
            scaled = nearest_half(Fraction(shifted) * Fraction(float(inverse)))
            assert code == min(max(math.floor(Fraction(float(scaled)) + Fraction(1, 2)), low), high)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["bmt", "ternary"]), st.booleans(), st.integers(0, 2**32))
def test_linear_rounds_each_product_and_each_sum(method, signed, seed):
    rng = np.random.default_rng(seed)
    inputs, outputs, halves = int(rng.integers(1, 900)), 3, 2 if method == "bmt" else 1
    config = small_config(width=inputs, intermediate=outputs, quantisation={"method": method, "activation_bits": 8})
    weights = rng.choice([-1, 1] if method == "bmt" else [-1, 0, 1], (halves, outputs, inputs))
    name = "layers.0.feed_forward.intermediate"
    factors, bias = random_halfs(rng, (halves, outputs), -4), random_halfs(rng, outputs, 3)
    model = FrozenBert(
        config,
        {
            f"{name}.codes": packed(weights, 2 if method == "ternary" else 1),
            f"{name}.factor": factors,
            f"{name}.bias": bias,
        },
    )
    codes = rng.integers(-128 if signed else 0, 128 if signed else 256, (1, inputs))
    exponent = binary16.sum_exponent(inputs * (128 if signed else 255))
    for output, found in enumerate(bert_golden.linear(model, name, codes.astype(np.float32), signed)[0]):
        y = bias[output]
        for index in range(halves):
            total = int(codes[0] @ weights[index, output])
            y = y + nearest_half(Fraction(total, 2**exponent)) * factors[index, output]
        assert found == y


def packed(weights, bits):
    """(halves, rows, columns) of -1, 0 and +1 -> bytes."""
    fields = weights + 2 if bits == 2 else (weights > 0).astype(int)
    planes = (fields[..., None] >> np.arange(bits)) & 1
    return np.packbits(planes.reshape(*weights.shape[:2], -1).astype(np.uint8), axis=2, bitorder="little")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": np.full((2, 4), 50)}, r"tokens must lie in \[0, 49\], found 50"),
        ({"tokens": np.zeros((2, 4))}, "tokens must be integers"),
        ({"token_types": np.full((2, 4), 2)}, r"token_types must lie in \[0, 1\]"),
        ({"mask": np.ones((2, 3), int)}, r"mask must be integers of shape \(2, 4\)"),
        ({"mask": np.zeros((2, 4), int)}, "first token"),
        ({"tokens": np.zeros((2, 17), int)}, "at most 16 positions"),
    ],
)
def test_wrong_sentences_are_named(changes, message):
    given_ = {"tokens": np.zeros((2, 4), int), "token_types": np.zeros((2, 4), int), "mask": np.ones((2, 4), int)}
    model = FrozenBert(small_config(quantisation={"method": "bmt"}), {})
    with pytest.raises(InputError, match=message):
        bert_golden.golden_logits(model, **{**given_, **changes})
