"""Quantisers and the squared error in one pass, against their definitions, in every instruction set and type."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kernel_engines import select_engine
from lutra.kernels import reference
from lutra.kernels.cpu.library import ISA_FLAGS
from lutra.kernels.loss import squared_error
from lutra.kernels.quantise import few_bit_weight, learned_step

TYPES = [torch.float32, torch.bfloat16]
RANGES = [(-1, 1), (-8, 7), (0, 15), (0, 255), (0, 1)]
SHAPES = [(1,), (17,), (3, 40), (70, 33), (2, 5, 9, 16), (3, 1100)]


@pytest.fixture(params=ISA_FLAGS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    select_engine(request.param, monkeypatch)
    return request.param


def draw(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gradients(y: Tensor, inputs: list[Tensor], grad_y: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(y, inputs, grad_y))


@pytest.mark.parametrize("types", [(x, y) for x in TYPES for y in TYPES], ids=str)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("low_high", RANGES, ids=str)
def test_learned_steps_are_the_definition(isa: str, low_high: tuple[int, int], with_bias: bool, types: tuple) -> None:
    """Values and the gradient to x to the bit; sums, whose order differs, to float32's precision."""
    x_type, y_type = types
    for seed, shape in enumerate(SHAPES):
        x, step = draw(shape, seed, x_type).requires_grad_(), torch.tensor(0.11 + 0.1 * seed, requires_grad=True)
        bias = draw(shape[-1:], seed + 50).requires_grad_() if with_bias else None
        grad_y = draw(shape, seed + 100, y_type)
        y = learned_step(x, bias, step, *low_high, 0.3, y_type)
        plain = x.detach(), None if bias is None else bias.detach(), step.detach()
        assert y.dtype == y_type and torch.equal(y, reference.learned_step(*plain, *low_high, y_type))
        expected = reference.learned_step_gradients(*plain, *low_high, grad_y)
        grad_x, *to_bias, to_step = gradients(y, [each for each in (x, bias, step) if each is not None], grad_y)
        assert grad_x.dtype == x_type and torch.equal(grad_x, expected.x)
        torch.testing.assert_close(to_step, 0.3 * expected.step, rtol=1e-4, atol=1e-4)
        if to_bias:
            torch.testing.assert_close(to_bias[0], expected.bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("with_bias", [False, True])
def test_any_layout_and_any_number_of_threads_give_the_same(isa: str, with_bias: bool) -> None:
    """Heads are split by a transposed view; what a quantiser returns may come back with other strides."""
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        x = draw((2, 70, 3, 24), 0).transpose(1, 2).requires_grad_()
        bias = draw((24,), 1).requires_grad_() if with_bias else None
        step, grad_y = torch.tensor(0.2, requires_grad=True), draw((2, 3, 24, 70), 2).transpose(2, 3)
        y = learned_step(x, bias, step, -8, 7, 1.0)
        results.append([y, *gradients(y, [each for each in (x, bias, step) if each is not None], grad_y)])
    torch.set_num_threads(1)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)
    assert torch.equal(results[0][0], reference.learned_step(x.detach(), bias, torch.tensor(0.2), -8, 7))
    expected = reference.learned_step_gradients(x.detach(), bias, torch.tensor(0.2), -8, 7, grad_y)
    assert torch.equal(results[0][1], expected.x)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_hidden(isa: str, value: float) -> None:
    x, step = torch.tensor([0.5, value, 100.0], requires_grad=True), torch.tensor(0.25)
    y = learned_step(x, None, step, -8, 7, 1.0)
    assert torch.equal(y.isnan(), x.detach().isnan())
    (grad_x,) = gradients(y, [x], torch.tensor([1.0, 1.0, math.nan]))
    assert grad_x[2].isnan()  # outside of the range


@pytest.mark.parametrize("shape", [(1, 1), (1, 9000), (5, 37), (40, 64)])
@pytest.mark.parametrize("form", ["sign", "centred sign", "ternary"])
def test_few_bit_weights_are_the_definition(isa: str, form: str, shape: tuple[int, int]) -> None:
    groups = draw(shape, 1)
    groups[-1, ::2] = 0
    options = form == "ternary", form == "centred sign", 0.7
    integers, scales = reference.few_bit_weight(groups, *options)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = few_bit_weight(groups, *options)
        assert torch.equal(found[0], integers) and torch.equal(found[1], scales)
        for dtype in TYPES:
            values, _ = few_bit_weight(groups, *options, scaled=True, dtype=dtype)
            assert torch.equal(values, (integers * scales).to(dtype))
    torch.set_num_threads(1)


@pytest.mark.parametrize("form", ["sign", "ternary"])
def test_groups_of_zeros_have_the_scale_0(isa: str, form: str) -> None:
    groups = torch.zeros(2, 20)
    groups[1, 3] = -2.0
    values, scales = few_bit_weight(groups, form == "ternary", False, 0.7, scaled=True)
    assert scales[0] == 0 and torch.equal(values[0], torch.zeros(20))
    assert values[1, 3] == -2.0 if form == "ternary" else values[1, 3] == pytest.approx(-0.1)


@pytest.mark.parametrize("types", [(x, y) for x in TYPES for y in TYPES], ids=str)
@pytest.mark.parametrize("below", [-math.inf, -0.5])
def test_the_squared_error_is_the_definition(isa: str, below: float, types: tuple) -> None:
    for seed, shape in enumerate([(1,), (3, 5), (70, 130)]):
        x, target = draw(shape, seed, types[0]).requires_grad_(), draw(shape, seed + 10, types[1])
        expected = reference.squared_error(x, target, below)
        (wanted,) = gradients(expected, [x], torch.tensor(1.7))
        for threads in (1, 2):
            torch.set_num_threads(threads)
            error = squared_error(x, target, below)
            (got,) = gradients(error, [x], torch.tensor(1.7))
            torch.testing.assert_close(error, expected, rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(got, wanted, rtol=1e-5 if types[0] == torch.float32 else 1e-2, atol=1e-8)
    torch.set_num_threads(1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_error_that_is_no_number_is_not_hidden(isa: str, value: float) -> None:
    x, target = torch.tensor([0.5, value, -1.0]), torch.zeros(3)
    for error in (squared_error(x, target), reference.squared_error(x, target, -math.inf)):
        assert not error.isfinite()
    assert squared_error(torch.tensor([math.nan, 2.0]), torch.zeros(2), -100.0).isnan()


def test_what_kernels_can_not_read_is_left_to_the_definition() -> None:
    """A bias in bfloat16 or of one number for all columns, and shapes that broadcast; what does not fit is an error."""
    x, step = draw((4, 6), 0), torch.tensor(0.3)
    for bias in (draw((6,), 1, torch.bfloat16), draw((1,), 2), draw((12,), 3)[::2]):
        assert torch.equal(learned_step(x, bias, step, -8, 7, 1.0), reference.learned_step(x, bias, step, -8, 7))
    with pytest.raises(RuntimeError, match="must match"):
        learned_step(x, draw((3,), 1), step, -8, 7, 1.0)
    target = draw((1, 6), 4)
    assert torch.equal(squared_error(x, target), reference.squared_error(x, target, -math.inf))


def test_without_kernels_the_definition_runs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTRA_ISA", "reference")
    x, bias, step = (
        draw((4, 6), 0).requires_grad_(),
        draw((6,), 1).requires_grad_(),
        torch.tensor(0.3, requires_grad=True),
    )
    y = learned_step(x, bias, step, -8, 7, 0.5)
    expected = reference.learned_step_gradients(x.detach(), bias.detach(), step.detach(), -8, 7, torch.ones(4, 6))
    for got, wanted in zip(
        gradients(y, [x, bias, step], torch.ones(4, 6)), (expected.x, expected.bias, 0.5 * expected.step), strict=True
    ):
        assert torch.equal(got, wanted)
