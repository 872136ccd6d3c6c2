"""What goes into and comes out of the places of a conversion, in the original model and in the converted one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lutra.models.convert.plan import Found
from lutra.models.convert.token_table import TokenIds
from lutra.nn.calibrate import batch_arguments


class Reached(Exception):
    """Ends a forward pass that has come as far as it needs to."""


@dataclass(frozen=True)
class Rows:
    """Of one row of a plan, over some passes: all calls one after the other, without tokens that are masked out."""

    x: Tensor
    """(tokens, inputs)"""
    y: Tensor
    """(tokens, outputs)"""
    ids: Tensor | None
    """(tokens,), where they were asked for."""


def input_module(model: nn.Module, row: Found) -> nn.Module:
    return model.get_submodule(row.places.block)


def output_module(model: nn.Module, row: Found) -> nn.Module:
    """The module whose output is the feed-forward part's, in the original model."""
    if row.form in ("pair", "sequential"):
        return model.get_submodule(row.places.passed[-1])
    return model.get_submodule(row.places.end or row.places.block)


def rows_of(teacher: nn.Module, rows: list[Found], batches: Iterable[Any], with_ids: bool = False) -> dict[str, Rows]:
    """Of every row of a plan, by path, what the original model reads and returns there in all batches.

    Of a part that runs several times in a pass each token is taken from one call, drawn anew for every token, so that
    all calls are there and as many rows as tokens are kept.
    """
    parts: dict[str, list[Rows]] = {row.path: [] for row in rows}
    generator = torch.Generator().manual_seed(0)
    for found in each_pass(teacher, rows, batches, with_ids):
        for row in rows:
            parts[row.path].append(_one_call_each(found[row.path], row.calls, generator))
    return {path: _joined(found) for path, found in parts.items()}


@torch.no_grad()
def each_pass(
    teacher: nn.Module, rows: list[Found], batches: Iterable[Any], with_ids: bool = False
) -> Iterator[dict[str, Rows]]:
    """`rows_of`, batch by batch, so that not all of them must be in memory.

    Raises:
        ConversionError: ids were asked for of a model that has none.
    """
    given: dict[str, list[Tensor]] = {row.path: [] for row in rows}
    returned: dict[str, list[Tensor]] = {row.path: [] for row in rows}
    token_ids = TokenIds()
    with contextlib.ExitStack() as hooks:
        for row in rows:
            hooks.callback(_input_hook(input_module(teacher, row), given[row.path], row).remove)
            hooks.callback(_output_hook(output_module(teacher, row), returned[row.path], row).remove)
        for handle in token_ids.watch(teacher) if with_ids else ():
            hooks.callback(handle.remove)
        for mask in _forward(teacher, batches):
            ids = None if token_ids.ids is None else token_ids.ids.reshape(-1)
            yield {row.path: _one_pass(given[row.path], returned[row.path], ids, mask) for row in rows}
            for kept in (*given.values(), *returned.values()):
                kept.clear()


@torch.no_grad()
def inputs_at(model: nn.Module, row: Found, batches: Iterable[Any]) -> Tensor:
    """What a converted model gives to one of its blocks, (tokens, width); stops each pass at the first call."""
    parts: list[Tensor] = []

    def stop(*_: Any) -> None:
        raise Reached

    hook = _input_hook(input_module(model, row), parts, row)
    end = input_module(model, row).register_forward_pre_hook(stop)
    try:
        for mask in _forward(model, batches):
            parts[-1] = _counted(parts[-1], mask)
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


def _one_pass(given: list[Tensor], returned: list[Tensor], ids: Tensor | None, mask: Tensor | None) -> Rows:
    x, y = (torch.cat([_counted(part, mask) for part in parts]) for parts in (given, returned))
    return Rows(x, y, None if ids is None else _counted(ids, mask).repeat(len(given)))


def _one_call_each(rows: Rows, calls: int, generator: torch.Generator) -> Rows:
    if calls == 1 or len(rows.x) % calls:
        return rows
    tokens = len(rows.x) // calls
    call = torch.randint(calls, (tokens,), generator=generator)
    index = (call * tokens + torch.arange(tokens)).to(rows.x.device)
    return Rows(rows.x[index], rows.y[index], None if rows.ids is None else rows.ids[index])


def _joined(parts: list[Rows]) -> Rows:
    x, y = (torch.cat(tensors) for tensors in zip(*((part.x, part.y) for part in parts), strict=True))
    ids = [part.ids for part in parts if part.ids is not None]
    return Rows(x, y, torch.cat(ids) if ids else None)


def _counted(rows: Tensor, mask: Tensor | None) -> Tensor:
    return rows[mask] if mask is not None and len(rows) == len(mask) else rows


def _rows(x: Tensor, row: Found) -> Tensor:
    moved = x.movedim(1, -1) if row.channels_first else x
    return moved.detach().float().reshape(-1, moved.shape[-1])


def _input_hook(module: nn.Module, into: list[Tensor], row: Found) -> Any:
    return module.register_forward_pre_hook(lambda _, inputs: into.append(_rows(inputs[0], row)))


def _output_hook(module: nn.Module, into: list[Tensor], row: Found) -> Any:
    return module.register_forward_hook(lambda _, inputs, output: into.append(_rows(output, row)))
