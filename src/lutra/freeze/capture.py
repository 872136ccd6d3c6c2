"""Real rows of the frozen blocks of any model: what each receives when the model runs on given batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.frozen import golden
from lutra.frozen.graph import FrozenModel, Graph
from lutra.nn.calibrate import batch_arguments


@torch.no_grad()
def capture(model: nn.Module, frozen: FrozenModel, batches: Iterable[Any], rows: int) -> dict[str, np.ndarray]:
    """int8 input rows (rows, D) of every frozen block, by graph name; padding does not count.

    Raises:
        InputError: the batches give a block fewer than `rows` rows.
    """
    caught: dict[str, list[np.ndarray]] = {graph.name: [] for graph in frozen.graphs}
    mask: list[Tensor | None] = [None]

    def catch(graph: Graph) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            real = inputs[0].float().reshape(-1, graph.input_width)
            if mask[0] is not None and len(real) == mask[0].numel():
                real = real[mask[0].reshape(-1)]
            caught[graph.name].append(golden.quantise(real.cpu().numpy(), graph.input_type).astype(np.int8))

        return hook

    with contextlib.ExitStack() as hooks:
        for graph in frozen.graphs:
            handle = model.get_submodule(graph.name).register_forward_pre_hook(catch(graph))
            hooks.callback(handle.remove)
        for batch in batches:
            args, kwargs = batch_arguments(batch)
            given = kwargs.get("attention_mask")
            mask[0] = given.bool() if isinstance(given, Tensor) and given.dim() == 2 else None
            model(*args, **kwargs)
            if all(sum(map(len, parts)) >= rows for parts in caught.values()):
                break
    for name, parts in caught.items():
        if sum(map(len, parts)) < rows:
            raise InputError(f"hardware.rows: {name} got fewer than {rows} rows; give more text or ask for fewer rows")
    return {name: np.concatenate(parts)[:rows] for name, parts in caught.items()}
