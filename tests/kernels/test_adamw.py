"""The optimiser's step in one call, against its definition, against PyTorch's, and on parts of a matrix."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from kernel_engines import select_engine
from lutra.kernels import reference
from lutra.kernels.adamw import AdamW, Region
from lutra.kernels.cpu.library import ISA_FLAGS

SHAPES = [(1,), (15,), (16,), (7, 33), (130, 260), (3, 5, 64)]
SETTINGS = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
LIMIT, SCALE, STEPS = 1.0, 0.37, 4


@pytest.fixture(params=ISA_FLAGS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    select_engine(request.param, monkeypatch)
    return request.param


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def give_gradients(parameters: list[nn.Parameter], step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_step_is_the_definition_to_the_bit(isa: str, threads: int) -> None:
    torch.set_num_threads(threads)
    trained = parameters()
    optimiser = AdamW([{"params": trained, "limit": LIMIT}], **SETTINGS)
    expected = [(p.detach().clone(), torch.zeros_like(p), torch.zeros_like(p)) for p in trained]
    for step in range(STEPS):
        gradients = give_gradients(trained, step)
        numbers = reference.adamw_numbers(step + 1, *SETTINGS.values(), limit=LIMIT)
        expected = [
            reference.adamw(p, grad, mean, square, SCALE, numbers)
            for (p, mean, square), grad in zip(expected, gradients, strict=True)
        ]
        optimiser.step(scale=SCALE)
    torch.set_num_threads(1)
    for parameter, wanted in zip(trained, expected, strict=True):
        state = optimiser.state[parameter]
        found = (parameter, state["exp_avg"], state["exp_avg_sq"])
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))
        assert state["step"] == STEPS
    assert all(parameter.abs().max() <= LIMIT for parameter in trained)


@pytest.mark.parametrize("engine", ["reference", "avx512"])
def test_it_is_pytorchs_adamw(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    select_engine(engine, monkeypatch)
    ours, theirs = parameters(), parameters()
    optimiser, published = AdamW(ours, **SETTINGS), torch.optim.AdamW(theirs, **SETTINGS)
    for step in range(STEPS):
        give_gradients(ours, step)
        for parameter, gradient in zip(theirs, give_gradients(theirs, step), strict=True):
            parameter.grad = SCALE * gradient
        optimiser.step(scale=SCALE)
        published.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)
        for name in ("step", "exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(optimiser.state[mine][name], published.state[other][name])


def test_the_norm_is_of_all_gradients_and_the_same_for_any_number_of_threads(isa: str) -> None:
    trained = parameters()
    gradients = give_gradients(trained, 0)
    optimiser = AdamW(trained)
    expected = torch.cat([gradient.flatten().double() for gradient in gradients]).norm()
    norms = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        norms.append(optimiser.gradient_norm())
    torch.set_num_threads(1)
    assert norms[0] == norms[1] == pytest.approx(float(expected), rel=1e-12)
    trained[3].grad[2, 5] = math.nan
    assert math.isnan(optimiser.gradient_norm())


def test_a_parameter_without_a_gradient_stays(isa: str) -> None:
    trained = parameters()
    before = trained[2].detach().clone()
    optimiser = AdamW(trained, **SETTINGS)
    give_gradients(trained, 0)
    trained[2].grad = None
    optimiser.step()
    assert torch.equal(trained[2], before) and trained[2] not in optimiser.state


def test_regions_are_trained_as_the_whole_is_and_the_rest_stays(isa: str) -> None:
    regions = [Region(0, 40, 0, 17), Region(40, 130, 17, 33)]
    whole, parts = (nn.Parameter(torch.randn(130, 33, generator=torch.Generator().manual_seed(3))) for _ in range(2))
    start = parts.detach().clone()
    settings = {**SETTINGS, "weight_decay": 0.0}
    first, second = AdamW([whole], **settings), AdamW([parts], regions={parts: regions}, **settings)
    inside = torch.zeros(130, 33, dtype=torch.bool)
    for rows, last_row, columns, last_column in regions:
        inside[rows:last_row, columns:last_column] = True
    for step in range(STEPS):
        gradient = torch.randn(130, 33, generator=torch.Generator().manual_seed(step)) * inside
        whole.grad, parts.grad = gradient.clone(), gradient.clone()
        first.step()
        second.step()
    assert torch.equal(parts, whole)
    assert torch.equal(parts[~inside], start[~inside]) and not (parts[inside] == start[inside]).any()


def test_a_strided_gradient_is_read_in_order(isa: str) -> None:
    gradient = torch.randn(33, 7)
    first, second = (nn.Parameter(torch.ones(7, 33)) for _ in range(2))
    first.grad, second.grad = gradient.t(), gradient.t().contiguous()
    for parameter in (first, second):
        AdamW([parameter], **SETTINGS).step()
    assert torch.equal(first, second)


def test_a_closure_is_refused() -> None:
    with pytest.raises(TypeError, match="no closure"):
        AdamW(parameters()).step(lambda: None)
