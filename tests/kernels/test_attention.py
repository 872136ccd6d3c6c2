"""Causal attention and dropout against their definitions, and what is dropped."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kernel_engines import select_engine
from lutra.kernels import reference
from lutra.kernels.attention import attention, dropout, fused_attention, kernels_available
from lutra.kernels.cpu.library import INSTRUCTION_SETS
from lutra.nn.dropout import Dropout

KEY = 0x1234_5678_9ABC_DEF0
SHAPES = [
    (2, 7, 2, 4),
    (1, 1, 1, 3),
    (2, 70, 3, 20),
    (1, 49, 1, 64),
    (3, 16, 2, 16),
]  # batch, length, heads, head width


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    select_engine(request.param, monkeypatch)
    torch.set_num_threads(1)
    return request.param


def qkv_and_gradient(shape, dtype=torch.float32):
    batch, length, heads, width = shape
    generator = torch.Generator().manual_seed(length)
    qkv = 2 * torch.randn(batch, length, 3 * heads * width, generator=generator)
    grad = torch.randn(batch, length, heads * width, generator=generator)
    return qkv.to(dtype).requires_grad_(), grad.to(dtype)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_is_its_definition(isa: str, shape: tuple[int, ...], p: float, causal: bool) -> None:
    qkv, grad = qkv_and_gradient(shape)
    exact = qkv.detach().double().requires_grad_()
    for key in (KEY, KEY + 1):
        found = fused_attention(qkv, shape[2], p, key, causal=causal)
        expected = reference.attention(exact, shape[2], p, key, causal)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=5e-6)
        (ours,), (theirs,) = torch.autograd.grad(found, qkv, grad), torch.autograd.grad(expected, exact, grad.double())
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_without_dropout_it_is_pytorchs_attention(isa: str, causal: bool) -> None:
    qkv, _ = qkv_and_gradient((2, 70, 3, 20))
    q, k, v = (part.unflatten(2, (3, 20)).transpose(1, 2) for part in qkv.split(60, dim=2))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)
    torch.testing.assert_close(fused_attention(qkv, 3, causal=causal), expected, rtol=1e-5, atol=1e-5)


def test_large_scores_neither_overflow_nor_lose_their_row(isa: str) -> None:
    qkv, grad = qkv_and_gradient((1, 40, 1, 8), torch.bfloat16 if isa == "amx" else torch.float32)
    large = (qkv.detach() * 300).requires_grad_()
    y = fused_attention(large, 1, causal=True)
    expected = reference.attention(large.float(), 1, 0.0, 0, causal=True)
    torch.testing.assert_close(y.float(), expected, rtol=2**-8 if isa == "amx" else 1e-4, atol=1e-2)
    assert torch.autograd.grad(y, large, grad)[0].isfinite().all()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (2, 37, 2, 12), (1, 130, 2, 40)])
def test_bfloat16_is_rounded_once(isa: str, shape: tuple[int, ...], causal: bool) -> None:
    """AMX takes probabilities as sums of two bfloat16 numbers: a few results are rounded the other way."""
    qkv, grad = qkv_and_gradient(shape, torch.bfloat16)
    wide = qkv.detach().float().requires_grad_()
    y, expected = (fused_attention(x, shape[2], 0.3, KEY, causal=causal) for x in (qkv, wide))
    (ours,), (theirs,) = torch.autograd.grad(y, qkv, grad), torch.autograd.grad(expected, wide, grad.float())
    for found, exact in ((y, expected), (ours, theirs)):
        assert found.dtype == torch.bfloat16
        if isa == "amx":
            assert (found == exact.bfloat16()).double().mean() > 0.97
            torch.testing.assert_close(found.float(), exact, rtol=2**-8, atol=2**-14)
        else:
            assert torch.equal(found, exact.bfloat16())


def test_one_and_two_threads_give_the_same_bits(isa: str) -> None:
    qkv, grad = qkv_and_gradient((4, 70, 3, 20), torch.bfloat16 if isa == "amx" else torch.float32)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        y = fused_attention(qkv, 3, 0.3, KEY, causal=True)
        results.append((y, *torch.autograd.grad(y, qkv, grad), dropout(qkv, 0.3, KEY)))
    torch.set_num_threads(1)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize("columns", [1, 15, 16, 77])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_is_its_definition_to_the_bit(isa: str, dtype: torch.dtype, columns: int) -> None:
    x = torch.randn(5, 9, columns, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    factors = reference.dropout_factors(KEY, torch.arange(45), columns, 0.3).view(5, 9, columns)
    y = dropout(x, 0.3, KEY)
    assert torch.equal(y, (x.float() * factors).to(dtype))
    (grad,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert torch.equal(grad, factors.to(dtype))


def test_what_is_dropped_looks_random() -> None:
    """The right fraction of every row and column; neighbours, keys and high bits of row numbers are independent."""
    rows, columns, p = torch.arange(400), 500, 0.2
    grids = {
        "key": reference.dropout_factors(KEY, rows, columns, p),
        "next key": reference.dropout_factors(KEY + 1, rows, columns, p),
        "high bits": reference.dropout_factors(KEY + (1 << 40), rows, columns, p),
        "far rows": reference.dropout_factors(KEY, rows + (1 << 32), columns, p),
    }
    dropped = {name: (grid == 0).double() for name, grid in grids.items()}
    for name, grid in dropped.items():
        spread = math.sqrt(p * (1 - p))
        assert abs(grid.mean() - p) < 5 * spread / math.sqrt(grid.numel()), name
        assert (grid.mean(dim=0) - p).abs().max() < 5 * spread / math.sqrt(len(rows)), name
        assert (grid.mean(dim=1) - p).abs().max() < 5 * spread / math.sqrt(columns), name
    first = dropped["key"]
    others = {
        "next column": (first[:, 1:], first[:, :-1]),
        "next row": (first[1:], first[:-1]),
        **{name: (grid, first) for name, grid in dropped.items() if name != "key"},
    }
    for name, (one, two) in others.items():
        correlation = torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]
        assert abs(correlation) < 5 / math.sqrt(one.numel()), name


@pytest.mark.parametrize("engine", ["reference", "avx512"])
def test_the_module_drops_in_training_alone_and_follows_the_generator(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    select_engine(engine, monkeypatch)
    x, module = torch.ones(50, 40), Dropout(0.25)

    def seeded(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.stack([module(x), module(x)])

    assert torch.equal(seeded(1), seeded(1)) and not torch.equal(seeded(1), seeded(2))
    first, second = seeded(1)
    assert not torch.equal(first, second) and 0.2 < float((first == 0).float().mean()) < 0.3
    assert first.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(module.eval()(x), x)


def test_no_kernel_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not kernels_available(torch.zeros(1, 2, 3, dtype=torch.float64))
    select_engine("reference", monkeypatch)
    assert not kernels_available(torch.zeros(1, 2, 3))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("p", "dtype"), [(0.0, torch.float32), (0.0, torch.bfloat16), (0.5, torch.float32)])
def test_models_see_the_same_attention_with_and_without_kernels(
    p: float, dtype: torch.dtype, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over many draws of dropout, too, is what PyTorch's attention gives."""
    qkv, _ = qkv_and_gradient((2, 9, 2, 4))
    results = []
    for engine in ("avx512", "reference"):
        select_engine(engine, monkeypatch)
        torch.manual_seed(0)
        draws = [attention(qkv.to(dtype), 2, p, causal=causal) for _ in range(2000 if p else 1)]
        results.append(torch.stack(draws).float().mean(dim=0))
    torch.testing.assert_close(*results, rtol=0.02, atol=1.0 if p else 0.02)
