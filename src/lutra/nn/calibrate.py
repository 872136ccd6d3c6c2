"""Thresholds of all weightless blocks of a model from real batches."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.nn.weightless import WeightlessBlock, weightless_blocks


class _Enough(Exception):
    """Ends a forward pass of which nothing more is to be learned."""


def calibrate_(
    model: nn.Module,
    *data: Any,
    batches: int | None = None,
    mask: str | None = "attention_mask",
    without_rows: Literal["error", "neighbours"] = "error",
    **keywords: Any,
) -> None:
    """Set the thresholds of every weightless block in `model` from what it is given in evaluation mode.

    `data` is what the model is called with, tensors, a tuple or a dictionary (`keywords` are further arguments), or one
    iterable of such batches (a DataLoader, a list, a generator), of which at most `batches` are used. Many batches are
    one union, and so are many calls of one block within a forward pass; a later `calibrate_` starts anew. Blocks are
    calibrated in the order in which they run: each sees what the calibrated blocks before it produce. Of a block that
    feeds itself, the later calls are those behind thresholds from the first. Where a batch is a dictionary, tokens that
    its `mask` rules out do not count, in every block whose input has the mask's shape.

    A block that no row reaches (an expert) is an error, or takes the rows of all experts beside it (`without_rows`).
    The modes of all modules are as before afterwards.

    Raises:
        InputError: NaN or infinite activations, or a block that got fewer than two rows (with its path), or no block.
    """
    blocks = {block: name for name, block in weightless_blocks(model).items()}
    if not blocks:
        raise InputError("there is no weightless block to calibrate; call replace_mlp first")
    calls = list(_calls(data, keywords, batches))
    if not calls:
        raise InputError("calibrate_ was given no batch")
    with _evaluating(model), torch.no_grad():
        _Calibration(model, blocks, calls, mask, without_rows).run()


def batch_arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a model is called with one batch: a dictionary holds keywords, a tuple or list arguments."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, (tuple, list)):
        return tuple(batch), {}
    return (batch,), {}


def _calls(
    data: Sequence[Any], keywords: dict[str, Any], limit: int | None
) -> Iterable[tuple[tuple[Any, ...], dict[str, Any]]]:
    if len(data) == 1 and not keywords and _is_loader(data[0]):
        return map(batch_arguments, itertools.islice(data[0], limit))
    if limit is not None:
        raise InputError("batches: only where the data is one iterable of batches")
    if len(data) == 1 and isinstance(data[0], (Mapping, tuple, list)):
        args, kwargs = batch_arguments(data[0])
        return [(args, {**kwargs, **keywords})]
    return [(tuple(data), keywords)] if data or keywords else []


def _is_loader(data: Any) -> bool:
    if isinstance(data, (Tensor, Mapping, str, bytes)):
        return False
    if isinstance(data, (tuple, list)):  # of batches, and not one batch of tensors
        return bool(data) and all(isinstance(batch, (Mapping, tuple, list)) for batch in data)
    return isinstance(data, Iterable)


class _Calibration:
    """One or several passes over all batches, until every block has its thresholds.

    A block without thresholds returns NaN, which follows the data: who is given NaN waits for a later pass, and who is
    not has seen all that it will see. Where every block waits for itself, the first is calibrated on its first call.
    """

    def __init__(
        self,
        model: nn.Module,
        blocks: dict[WeightlessBlock, str],
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]],
        mask: str | None,
        without_rows: str,
    ) -> None:
        self.model, self.blocks, self.calls, self.mask, self.without_rows = model, blocks, calls, mask, without_rows
        self.waiting = dict.fromkeys(blocks)  # in order
        self.provisional: set[WeightlessBlock] = set()
        self.seen: dict[WeightlessBlock, list[Tensor]] = {}
        self.clean: dict[WeightlessBlock, bool] = {}
        self.masked: Tensor | None = None

    def run(self) -> None:
        hooks = [block.register_forward_pre_hook(self._before) for block in self.blocks]
        for block in self.blocks:
            block.thermometer.calibrated = False
        try:
            with _unset(self.blocks, self._forward):
                while self.waiting:
                    self._pass()
        finally:
            for hook in hooks:
                hook.remove()

    def _pass(self) -> None:
        self.seen, self.clean = {}, {}
        for args, kwargs in self.calls:
            self.masked = self._mask(kwargs)
            try:
                self.model(*args, **kwargs)
            except _Enough:
                pass
            except InputError:
                # The NaN of a block that waits may be refused on its way, by a quantiser that looks for its step.
                if not self.waiting.keys() & self.seen.keys():
                    raise
        ready = [block for block in self.waiting if self.seen.get(block) and self.clean[block]]
        for block in ready:
            self._set(block, torch.cat(self.seen[block]))
            del self.waiting[block]
            self.provisional.discard(block)
        if ready:
            return
        started = [block for block in self.waiting if self.seen.get(block) and block not in self.provisional]
        if started:
            self._set(started[0], torch.cat(self.seen[started[0]]))
            self.provisional.add(started[0])
            return
        reached = next((block for block in self.waiting if block in self.clean), None)
        if reached is not None:
            raise InputError(
                f"{self.blocks[reached]}: calibration needs finite activations, got NaN or infinite values"
            )
        self._neighbours(next(iter(self.waiting)))

    def _before(self, block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(block, WeightlessBlock)
        x = inputs[0].detach()
        block.require_width(x)
        rows = x.float().reshape(-1, block.width)
        finite = bool(rows.isfinite().all())
        self.clean[block] = self.clean.get(block, True) and finite
        if not finite:
            if not self.waiting.keys() & self.seen.keys():
                raise InputError(
                    f"{self.blocks[block]}: calibration needs finite activations, got NaN or infinite values"
                )
            if block in self.waiting and block not in self.seen:
                raise _Enough
        elif block in self.waiting and len(rows):
            self.seen.setdefault(block, []).append(self._counted(x, rows))

    def _not_finite(self, block: WeightlessBlock) -> InputError:
        return InputError(f"{self.blocks[block]}: calibration needs finite activations, got NaN or infinite values")

    def _forward(self, block: WeightlessBlock, x: Tensor) -> Tensor | None:
        """What a block returns while it has no thresholds; None if it has."""
        if block.thermometer.calibrated and bool(x.isfinite().all()):
            return None
        return x.new_full((*x.shape[:-1], block.output_width), torch.nan)

    def _set(self, block: WeightlessBlock, rows: Tensor) -> None:
        try:
            block.calibrate_(rows)
        except InputError as error:
            raise InputError(f"{self.blocks[block]}: {error}") from None

    def _neighbours(self, block: WeightlessBlock) -> None:
        """A block that no row reached takes the thresholds that the rows of all its neighbours give."""
        name = self.blocks[block]
        family = _family(name)
        beside = [b for b, n in self.blocks.items() if _family(n) == family and b not in self.waiting]
        if self.without_rows == "error" or not beside:
            raise InputError(
                f"{name}: calibration needs at least 2 rows of finite activations, got 0 rows; give more batches"
                + (', or without_rows="neighbours"' if beside else "")
            )
        collected: list[Tensor] = []
        hooks = [b.register_forward_pre_hook(lambda b, i: collected.append(i[0].reshape(-1, b.width))) for b in beside]
        try:
            for args, kwargs in self.calls:
                with contextlib.suppress(_Enough):
                    self.model(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        self._set(block, torch.cat([rows.float() for rows in collected]))
        del self.waiting[block]

    def _mask(self, kwargs: dict[str, Any]) -> Tensor | None:
        found = kwargs.get(self.mask) if self.mask else None
        two_sided = any(key.startswith("decoder_") for key in kwargs)  # whose tokens it is about cannot be told
        usable = isinstance(found, Tensor) and found.dim() == 2 and not two_sided
        return found.bool() if usable and found is not None else None

    def _counted(self, x: Tensor, rows: Tensor) -> Tensor:
        if self.masked is not None:
            if x.shape[:-1] == self.masked.shape:
                return rows[self.masked.reshape(-1).to(rows.device)]
            if x.dim() == 2 and len(x) == self.masked.numel():
                return rows[self.masked.reshape(-1).to(rows.device)]
        return rows


@contextlib.contextmanager
def _unset(
    blocks: Iterable[WeightlessBlock], forward: Callable[[WeightlessBlock, Tensor], Tensor | None]
) -> Iterator[None]:
    """Let `forward` answer in the place of the blocks' own, where it has an answer."""
    chosen = list(blocks)
    for block in chosen:
        block.instead = forward
    try:
        yield
    finally:
        for block in chosen:
            block.instead = None


def _family(name: str) -> str:
    """The list in which a block stands, or its own path if it stands in none."""
    stem = name
    while stem.endswith(".block"):
        stem = stem.removesuffix(".block")
    parent, _, last = stem.rpartition(".")
    return parent if last.isdecimal() else name


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
