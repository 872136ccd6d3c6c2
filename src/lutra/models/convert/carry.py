"""Blocks take the places that rows of a plan name, all or none of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from lutra.errors import ConversionError
from lutra.models.convert.fused import BlockExperts
from lutra.models.convert.places import Massive, Surgery, put_row
from lutra.models.convert.plan import Found, Places
from lutra.models.convert.record_of import Conversion, Converted, conversion_of
from lutra.models.convert.token_table import TokenIds, TokenTable, embedding_of
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig

Wrapper = TypeVar("Wrapper", bound=nn.Module)


def carry_out(model: nn.Module, converted: list[Converted]) -> None:
    """Put the blocks of `converted` into `model` and remember what was done; all or nothing."""
    surgery, watching = Surgery(model), list[Any]()
    ids = TokenIds() if any(each.token_table for each in converted) else None
    try:
        if ids is not None:
            watching += ids.watch(model)
        for each in converted:
            _put(surgery, each, ids)
    except BaseException:
        surgery.undo()
        for handle in watching:
            handle.remove()
        raise
    conversion = conversion_of(model) or Conversion(())
    model.lutra_conversion = Conversion((*conversion.converted, *converted))  # type: ignore[assignment]


def _put(surgery: Surgery, converted: Converted, ids: TokenIds | None) -> None:
    row, model = converted.row, surgery.model
    try:
        old = model.get_submodule(row.places.block)
    except AttributeError:
        raise ConversionError(f"{row.path}: no such module; the plan is of another model") from None
    like = next(iter(old.parameters()), None) if row.form != "none" else None
    blocks = [_block(row, converted.config, converted.seed + index, path) for index, path in enumerate(row.block_paths)]
    modules: list[nn.Module] = list(blocks)
    if converted.token_table and ids is not None:
        vocabulary = embedding_of(model)[0].num_embeddings
        modules = [TokenTable(module, row.outputs, vocabulary, ids) for module in modules]
    if converted.massive:
        modules = [Massive(module, row.outputs) for module in modules]
    if like is not None and like.device.type != "meta":
        for module in modules:
            module.to(like.device)
    put_modules(surgery, row, modules)


def wrapper_of(model: nn.Module, converted: Converted, kind: type[Wrapper]) -> Wrapper | None:
    """What of a kind (`Massive`, `TokenTable`) stands around the block of a row, if anything does."""
    path = converted.row.block_path
    while path.endswith(".block"):
        path = path.removesuffix(".block")
        found = model.get_submodule(path)
        if isinstance(found, kind):
            return found
    return None


def put_modules(surgery: Surgery, row: Found, modules: list[nn.Module]) -> None:
    """Put one function of rows, or one for each expert, into the places of a row."""
    if row.form == "fused_experts":
        surgery.put(surgery.model.get_submodule(row.places.block), BlockExperts(modules))
    else:
        put_row(surgery, row, modules[0])


@contextlib.contextmanager
def _float32_on_cpu() -> Iterator[None]:
    """Whatever the surroundings build with (transformers builds on the meta device, in the type of a checkpoint)."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(before)


def _block(row: Found, config: BlockConfig, seed: int, path: str) -> WeightlessBlock:
    with _float32_on_cpu():
        block = WeightlessBlock(row.inputs, config, seed, row.outputs)
    block.place = path
    return block


def relocated(row: Found, change: Callable[[str], str]) -> Found:
    """A row whose paths have been changed."""
    places = row.places
    return replace(
        row,
        path=change(row.path),
        aliases=tuple(map(change, row.aliases)),
        places=Places(
            change(places.block),
            tuple(map(change, places.passed)),
            tuple(map(change, places.silent)),
            change(places.end) if places.end else "",
        ),
        block_paths=tuple(map(change, row.block_paths)),
        parameters=tuple(map(change, row.parameters)),
    )
