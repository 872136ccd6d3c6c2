"""Frozen graphs in the place of the modules that they were frozen from, computed by an integer engine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.freeze.whole import FrozenGpt, FrozenVit, WholeEngine
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.models.gpt import GPT
from lutra.nn.weightless import weightless_blocks
from lutra.runs.files import RunFiles
from lutra.runtime.whole.engine import GoldenWhole, whole_runtime
from lutra.train.checkpoint import load_model

EngineName = Literal["torch", "golden", "runtime"]

IntegerEngine = Callable[[np.ndarray], np.ndarray]
"""Turns int8 input rows (N, D) of one graph into its integer output rows (N, D_out)."""


class FrozenBlock(nn.Module):
    """A frozen graph in the place of the module that it was frozen from; inference only."""

    def __init__(self, graph: Graph, engine: IntegerEngine) -> None:
        super().__init__()
        self.graph, self.engine = graph, engine

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(..., D) float -> (..., D_out) of the same type: quantise, integer engine, dequantise."""
        rows = x.detach().float().reshape(-1, self.graph.input_width).cpu().numpy()
        integers = golden.quantise(rows, self.graph.input_type).astype(np.int8)
        y = golden.dequantise(self.engine(integers), self.graph.output_type)
        return torch.from_numpy(y).to(x.device, x.dtype).view(*x.shape[:-1], self.graph.output_width)


def golden_engine(graph: Graph) -> IntegerEngine:
    """The NumPy definition as an engine."""
    return functools.partial(golden.run, graph)


def install(
    model: nn.Module, frozen: FrozenModel, create_engine: Callable[[Graph], IntegerEngine] = golden_engine
) -> None:
    """Put the frozen graphs in the place of the modules that they were frozen from.

    Raises:
        FrozenModelError, InputError: the frozen model lacks a block of `model`, or has one that `model` lacks.
    """
    replace_blocks(model, frozen, lambda graph: FrozenBlock(graph, create_engine(graph)))


def replace_blocks(model: nn.Module, frozen: FrozenModel, make: Callable[[Graph], nn.Module]) -> None:
    """Put what `make` makes of each frozen graph everywhere where the block that it was frozen from stands.

    Raises:
        FrozenModelError, InputError: see `install`.
    """
    expected, found = set(weightless_blocks(model)), {graph.name for graph in frozen.graphs}
    require_same_blocks(expected, found)
    for graph in frozen.graphs:
        block, made = model.get_submodule(graph.name), make(graph)
        places = [path for path, module in model.named_modules(remove_duplicate=False) if module is block]
        for path in places:  # a block that several layers share stands in several
            parent, _, attribute = path.rpartition(".")
            setattr(model.get_submodule(parent), attribute, made)


def load_with_engine(files: RunFiles, engine: EngineName) -> GPT | FrozenGpt:
    """The best model of a run: as trained ("torch"), or whole in integers ("golden", "runtime").

    Of a run in which only blocks were frozen, the trained model with its frozen blocks in place.

    Raises:
        CheckpointError, FrozenModelError, InputError: see `load_model`, `store.load` and `install`.
    """
    model = load_model(files)
    if engine == "torch":
        return model
    frozen = store.load(files.frozen)
    if frozen.whole is not None:
        expected, found = set(weightless_blocks(model)), {graph.name for graph in frozen.graphs}
        require_same_blocks(expected, found)
        return FrozenGpt(frozen.whole, WHOLE_ENGINES[engine](frozen.whole))
    install(model, frozen, ENGINES[engine])
    return model


def load_vision_with_engine(files: RunFiles, engine: EngineName) -> FrozenVit:
    """The frozen vision transformer of a run, computed by "golden" or "runtime".

    Raises:
        FrozenModelError: it was not frozen; InputError: engine "torch", which computes no integers.
    """
    if engine == "torch":
        raise InputError('engine "torch" computes no integers; choose golden or runtime')
    whole = store.load(files.frozen).require_whole()
    return FrozenVit(whole, WHOLE_ENGINES[engine](whole))


def require_same_blocks(expected: set[str], found: set[str]) -> None:
    """Raise InputError unless a checkpoint and a frozen model have the same blocks, by name."""
    if expected != found:
        odd = ", ".join(sorted(expected ^ found))
        raise InputError(f"frozen model and checkpoint differ in {odd}; run `lutra freeze` again")


def _runtime_engine(graph: Graph) -> IntegerEngine:
    from lutra.runtime.engine import BlockRuntime

    return BlockRuntime(graph)


ENGINES: dict[str, Callable[[Graph], IntegerEngine]] = {"golden": golden_engine, "runtime": _runtime_engine}
"""What creates the engine of a graph, by name."""
WHOLE_ENGINES: dict[str, Callable[[Graph], WholeEngine]] = {"golden": GoldenWhole, "runtime": whole_runtime}
"""The same of a whole model."""
