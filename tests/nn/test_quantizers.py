"""Quantisers against the published formulas and gradients, written out here element by element."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.errors import InputError
from lutra.nn.quantizers import (
    SMALLEST_STEP,
    ActivationQuantiser,
    fake_quantise_weight,
    pack_codes,
    quantise_weight,
    unpack_codes,
)

shapes = st.tuples(st.integers(1, 5), st.integers(1, 9))
seeds = st.integers(0, 10**6)


def draw(shape, seed, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def ranges(bits, signed):
    if signed:
        return (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return 0, 2**bits - 1


def published(u, step, bits, signed):
    """Value, d value / d u and d value / d step of one element u = x + bias (LSQ section 2.1; BiT section 3.2)."""
    low, high = ranges(bits, signed)
    inside = low <= u / step <= high
    if signed and bits == 1:
        sign = 1.0 if u >= 0 else -1.0
        return step * sign, float(inside), sign
    if u / step < low:
        return step * low, 0.0, float(low)
    if u / step > high:
        return step * high, 0.0, float(high)
    rounded = math.floor(u / step + 0.5)
    return step * rounded, 1.0, rounded - u / step


@settings(max_examples=60, deadline=None)
@given(shapes, seeds, st.sampled_from([1, 2, 4, 8]), st.booleans(), st.booleans(), st.floats(0.05, 3))
def test_activation_value_and_gradients_are_the_published_ones(shape, seed, bits, signed, with_bias, step):
    features = shape[1]
    quantiser = ActivationQuantiser(bits, signed, features if with_bias else None).double()
    quantiser.step.data.fill_(step)
    if with_bias:
        quantiser.bias.data.copy_(0.3 * draw((features,), seed + 1))
    x, upstream = (2 * draw(shape, seed)).requires_grad_(), draw(shape, seed + 2)
    y = quantiser(x)
    y.backward(upstream)

    bias = quantiser.bias.data if with_bias else torch.zeros(features, dtype=torch.float64)
    expected = [
        [published(float(v + b), step, bits, signed) for v, b in zip(row, bias, strict=True)] for row in x.tolist()
    ]
    value, to_x, to_step = torch.tensor(expected, dtype=torch.float64).unbind(dim=2)
    assert torch.allclose(y, value)
    assert torch.allclose(x.grad, upstream * to_x)
    scale = 1 / math.sqrt(x.numel() * ranges(bits, signed)[1])
    assert torch.allclose(quantiser.step.grad, (upstream * to_step).sum() * scale)
    if with_bias:
        assert torch.allclose(quantiser.bias.grad, (upstream * to_x).sum(dim=0))
    integers = quantiser.integers(x)
    assert torch.allclose(integers * step, y.detach())
    assert torch.equal(integers, integers.round())
    assert integers.min() >= ranges(bits, signed)[0] and integers.max() <= ranges(bits, signed)[1]


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([2, 4, 8]), st.booleans(), st.floats(0.1, 2))
def test_step_gradient_is_the_finite_difference_with_the_rounding_held(seed, bits, signed, step):
    """LSQ differentiates a * (clip(v/a) + r) with the rounding error r = round - clip as a constant."""
    low, high = ranges(bits, signed)
    x = 2 * draw((7,), seed)
    quantiser = ActivationQuantiser(bits, signed).double()
    quantiser.step.data.fill_(step)
    quantiser(x).sum().backward()
    rounding = quantiser.integers(x) - (x / step).clamp(low, high)

    def smoothed(a):
        return (a * ((x / a).clamp(low, high) + rounding)).sum()

    h = 1e-7
    if ((x / step - low).abs() < 1e-4).any() or ((x / step - high).abs() < 1e-4).any():
        return  # at a kink the finite difference sees both sides
    difference = (smoothed(step + h) - smoothed(step - h)) / (2 * h)
    assert quantiser.step.grad.item() == pytest.approx(difference.item() / math.sqrt(7 * high), abs=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize(("signed", "factor"), [(True, 2), (False, 4)])
def test_first_batch_sets_the_step_and_later_ones_do_not(bits, signed, factor):
    quantiser = ActivationQuantiser(bits, signed, 6)
    first = draw((10, 6), 1, torch.float32).abs()
    assert not quantiser.calibrated
    quantiser(first)
    expected = factor * first.abs().mean() / math.sqrt(ranges(bits, signed)[1])
    assert torch.allclose(quantiser.step, expected)
    assert torch.equal(quantiser.bias, torch.zeros(6))
    quantiser(100 * first)
    assert torch.allclose(quantiser.step, expected)


@pytest.mark.parametrize(
    ("bits", "signed", "elastic"),
    [(4, True, False), (4, False, False), (4, False, True), (2, True, True), (1, True, True)],
)
def test_the_step_of_least_error_leaves_no_more_than_any_other_multiple(bits, signed, elastic):
    x = draw((40, 6), 3, torch.float32)
    x = x**3 if signed else (4 * x).softmax(dim=1)
    usual, least = (ActivationQuantiser(bits, signed, 6 if elastic else None) for _ in range(2))
    least.start = "error"
    for quantiser in (usual, least):
        if elastic:
            quantiser.bias.data.fill_(0.02)
    usual(x)

    def error(quantiser, step):
        quantiser.step.data.fill_(step)
        bias = 0.0 if quantiser.bias is None else quantiser.bias
        return (quantiser(x) - x - bias).square().mean().item()

    value = least(x)
    chosen, lsq = least.step.item(), usual.step.item()
    errors = {multiple: error(usual, lsq * multiple / 20) for multiple in range(4, 81)}
    assert error(least, chosen) <= min(errors.values()) * (1 + 1e-5)
    assert error(least, chosen) < 0.95 * errors[20]
    assert torch.equal(least(x), value)  # of the first batch, too


def test_step_survives_in_the_state_dictionary():
    trained, fresh = ActivationQuantiser(4, True), ActivationQuantiser(4, True)
    trained(torch.randn(5, 3))
    fresh.load_state_dict(trained.state_dict())
    assert fresh.calibrated and torch.equal(fresh.step, trained.step)


def test_a_step_driven_below_zero_is_used_as_positive_and_comes_back():
    quantiser = ActivationQuantiser(4, True)
    quantiser.step.data.fill_(-0.5)
    x = torch.tensor([3.0, -2.0])
    y = quantiser(x)
    assert torch.equal(y, torch.tensor([7.0, -8.0]) * SMALLEST_STEP)
    (y - x).square().sum().backward()
    assert quantiser.step.grad < 0  # descending raises the step


def test_zero_is_plus_one_for_the_sign_and_halves_round_up():
    sign, unsigned = ActivationQuantiser(1, True), ActivationQuantiser(2, False)
    for quantiser in (sign, unsigned):
        quantiser.step.data.fill_(1.0)
    assert torch.equal(sign(torch.tensor([0.0, -0.0])), torch.ones(2))
    assert torch.equal(unsigned(torch.tensor([0.5, 1.5, 2.5])), torch.tensor([1.0, 2.0, 3.0]))


def test_activations_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="finite"):
        ActivationQuantiser(4, True)(torch.tensor([1.0, torch.nan]))


@settings(max_examples=40, deadline=None)
@given(shapes, seeds, st.sampled_from([1, 2, 4, 8]), st.booleans(), st.booleans())
def test_weights_are_the_published_ones(shape, seed, bits, per_row, centred):
    weight = draw(shape, seed)
    groups = weight.tolist() if per_row else [weight.flatten().tolist()]
    expected = []
    for group in groups:
        mean = sum(map(abs, group)) / len(group)
        if bits == 1:
            offset = sum(group) / len(group) if centred else 0
            expected += [mean if w >= offset else -mean for w in group]
        elif bits == 2:
            kept = [abs(w) for w in group if abs(w) > 0.7 * mean]
            alpha = sum(kept) / len(kept)
            expected += [math.copysign(alpha, w) if abs(w) > 0.7 * mean else 0.0 for w in group]
        else:
            step = max(map(abs, group)) / (2 ** (bits - 1) - 1)
            expected += [step * math.floor(w / step + 0.5) for w in group]
    # One column has its own mean: rounding decides the side, and BiT's sign of it means nothing.
    if not (centred and bits == 1 and shape[1] == 1):
        got = fake_quantise_weight(weight, bits, per_row, centred)
        assert torch.allclose(got.flatten(), torch.tensor(expected, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_weight_gradient_passes_straight_through(bits):
    weight, upstream = draw((4, 6), 3).requires_grad_(), draw((4, 6), 4)
    fake_quantise_weight(weight, bits).backward(upstream)
    assert torch.equal(weight.grad, upstream)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_a_row_of_zeros_stays_zero(bits):
    weight = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 3.0]])
    quantised = fake_quantise_weight(weight, bits, per_row=True)
    assert torch.equal(quantised[0], torch.zeros(3)) and quantised[1].isfinite().all()


def test_about_42_percent_of_gaussian_weights_are_ternary_zeros():
    codes = quantise_weight(draw((200, 200), 0), 2)
    assert (codes.integers == 0).double().mean().item() == pytest.approx(0.424, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(shapes, seeds, st.sampled_from([1, 2, 3, 4, 8]))
def test_packed_codes_come_back_and_take_their_bits(shape, seed, bits):
    codes = quantise_weight(draw(shape, seed, torch.float32), bits).integers
    packed = pack_codes(codes, bits)
    width = {1: 1, 2: 2, 3: 4, 4: 4, 8: 8}[bits]
    assert packed.dtype == torch.uint8 and packed.shape == (shape[0], -(-shape[1] * width // 8))
    assert torch.equal(unpack_codes(packed, bits, shape[1]), codes)
