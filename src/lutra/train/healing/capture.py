"""What goes into and comes out of the places of a conversion, in the original model and in the converted one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lutra.models.convert.plan import Found
from lutra.nn.calibrate import batch_arguments


class Reached(Exception):
    """Ends a forward pass that has come as far as it needs to."""


def input_module(model: nn.Module, row: Found) -> nn.Module:
    return model.get_submodule(row.places.block)


def output_module(model: nn.Module, row: Found) -> nn.Module:
    """The module whose output is the feed-forward part's, in the original model."""
    if row.form in ("pair", "sequential"):
        return model.get_submodule(row.places.passed[-1])
    return model.get_submodule(row.places.end or row.places.block)


@torch.no_grad()
def inputs_and_outputs(
    teacher: nn.Module, rows: list[Found], batches: Iterable[Any]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Of every row of a plan, what the original model reads and returns there: two tensors (tokens, width)."""
    given: dict[str, list[Tensor]] = {row.path: [] for row in rows}
    returned: dict[str, list[Tensor]] = {row.path: [] for row in rows}
    with contextlib.ExitStack() as hooks:
        for row in rows:
            taken = _input_hook(input_module(teacher, row), given[row.path], row)
            hooks.callback(taken.remove)
            hooks.callback(_output_hook(output_module(teacher, row), returned[row.path], row).remove)
        for mask in _forward(teacher, batches):
            for kept in (given, returned):
                for parts in kept.values():
                    _mask_last(parts, mask)
    return {row.path: (torch.cat(given[row.path]), torch.cat(returned[row.path])) for row in rows}


@torch.no_grad()
def inputs_at(model: nn.Module, row: Found, batches: Iterable[Any]) -> Tensor:
    """What a converted model gives to one of its blocks, (tokens, width); stops each pass there."""
    parts: list[Tensor] = []

    def stop(*_: Any) -> None:
        raise Reached

    hook = _input_hook(input_module(model, row), parts, row)
    end = input_module(model, row).register_forward_pre_hook(stop)
    try:
        for mask in _forward(model, batches):
            _mask_last(parts, mask)
    finally:
        hook.remove()
        end.remove()
    return torch.cat(parts)


def _forward(model: nn.Module, batches: Iterable[Any]) -> Iterator[Tensor | None]:
    """One pass for each batch in evaluation mode; yields the mask of the tokens that count."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for batch in batches:
            args, kwargs = batch_arguments(batch)
            with contextlib.suppress(Reached):
                model(*args, **kwargs)
            mask = kwargs.get("attention_mask")
            yield mask.bool().reshape(-1) if isinstance(mask, Tensor) and mask.dim() == 2 else None
    finally:
        for module, training in modes.items():
            module.training = training


def _mask_last(parts: list[Tensor], mask: Tensor | None) -> None:
    if parts and mask is not None and len(parts[-1]) == len(mask):
        parts[-1] = parts[-1][mask]


def _rows(x: Tensor, row: Found) -> Tensor:
    moved = x.movedim(1, -1) if row.channels_first else x
    return moved.detach().float().reshape(-1, moved.shape[-1])


def _input_hook(module: nn.Module, into: list[Tensor], row: Found) -> Any:
    return module.register_forward_pre_hook(lambda _, inputs: into.append(_rows(inputs[0], row)))


def _output_hook(module: nn.Module, into: list[Tensor], row: Found) -> Any:
    return module.register_forward_hook(lambda _, inputs, output: into.append(_rows(output, row)))
