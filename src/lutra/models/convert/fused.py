"""Experts whose weights are slices of one parameter: what they compute, tested, and blocks in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lutra.models.convert.record import Call, evaluating
from lutra.models.convert.segment import Segment


@dataclass(frozen=True, eq=False, repr=False)
class Experts:
    """A module that computes `sum_k weights[:, k] f_{index[:, k]}(x)`, tested to do so."""

    module: nn.Module
    count: int


class BlockExperts(nn.Module):
    """The same with a block for each expert: x (N, D), index (N, k), weights (N, k) -> (N, D_out)."""

    def __init__(self, experts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)

    def forward(self, x: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        y: Tensor | None = None
        for number, expert in enumerate(self.experts):
            column, rows = torch.where(index.t() == number)
            if len(rows) or y is None:
                part = expert(x[rows]) * weights[rows, column, None]
                y = x.new_zeros(len(x), part.shape[-1]) if y is None else y
                y = y.index_add(0, rows, part.to(y.dtype))
        assert y is not None
        return y


def recognise(group: list[Segment]) -> Experts | None:
    """The module of fused experts whose passes a group of segments are, if there is one."""
    names = frozenset().union(*(linear.parameters for s in group for linear in (*s.ups, s.down)))
    recording = group[0].recording
    for call in group[0].down.op.call.enclosing():
        own = {recording.name_of(p): p for p in call.module.parameters(recurse=False)}
        if names and names <= own.keys():
            stacked = [own[name] for name in names if own[name].dim() >= 3]
            counts = {len(parameter) for parameter in stacked}
            if len(counts) == 1 and len(stacked) >= 2 and _is_routed(call) and call.parent is not None:
                experts = Experts(call.module, counts.pop())
                without_memory = any(parameter.is_meta for parameter in stacked)
                return experts if without_memory or _computes_the_sum(experts, call) else None
    return None


def _is_routed(call: Call) -> bool:
    if len(call.arguments) != 3 or not call.returns_tensor:
        return False
    if not all(hasattr(argument, "tensor") for argument in call.arguments):
        return False
    x, index, weights = (argument.tensor for argument in call.arguments)
    integer = not index.is_floating_point() and index.dtype != torch.bool
    return bool(x.dim() == 2 and index.shape == weights.shape and len(index) == len(x) and integer)


@torch.no_grad()
def _computes_the_sum(experts: Experts, call: Call) -> bool:
    like, columns = call.arguments[0].tensor, call.arguments[1].tensor.shape[1]
    generator = torch.Generator().manual_seed(4)
    rows = 3 * experts.count
    x = torch.randn(rows, like.shape[1], generator=generator).to(like)
    index = torch.stack([torch.randperm(experts.count, generator=generator)[:columns] for _ in range(rows)])
    index = index.to(call.arguments[1].tensor)
    weights = torch.rand(rows, columns, generator=generator).to(call.arguments[2].tensor)
    try:
        with evaluating(experts.module), one_expert_at_a_time(experts.module):
            whole = experts.module(x, index, weights)
            parts = _one_by_one(experts.module, x, experts.count)
    except (RuntimeError, IndexError, TypeError):
        return False
    expected = sum(weights[:, k, None] * parts[index[:, k], torch.arange(rows)] for k in range(columns))
    tolerance = 1e-3 if like.dtype in (torch.float32, torch.float64) else 5e-2
    return bool((whole - expected).abs().max() <= tolerance * (whole.abs().max() + 1e-6))


def _one_by_one(module: nn.Module, x: Tensor, count: int) -> Tensor:
    return torch.stack([_expert(module, number, x) for number in range(count)])


def _expert(module: nn.Module, number: int, x: Tensor) -> Tensor:
    index = torch.full((len(x), 1), number, device=x.device)
    y: Tensor = module(x, index, torch.ones(len(x), 1, dtype=x.dtype, device=x.device))
    return y


class _OneExpert(nn.Module):
    def __init__(self, module: nn.Module, number: int) -> None:
        super().__init__()
        self._module, self.number = (module,), number

    def forward(self, x: Tensor) -> Tensor:
        return _expert(self._module[0], self.number, x)


def expert(module: nn.Module, number: int) -> nn.Module:
    """One expert of a module of fused experts as a function of rows."""
    return _OneExpert(module, number)


def original(experts: Experts) -> BlockExperts:
    """Blocks' places with the original experts in them."""
    return BlockExperts([expert(experts.module, number) for number in range(experts.count)])


@contextlib.contextmanager
def one_expert_at_a_time(model: nn.Module) -> Iterator[None]:
    """Hugging Face's experts as a loop over experts, not as one grouped product, so that each is to be seen."""
    configs: dict[int, Any] = {}
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "_experts_implementation_internal"):
            configs[id(config)] = config
    before = {key: config._experts_implementation_internal for key, config in configs.items()}
    for config in configs.values():
        config._experts_implementation_internal = "eager"
    try:
        yield
    finally:
        for key, config in configs.items():
            config._experts_implementation_internal = before[key]
