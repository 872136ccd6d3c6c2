"""From a trained model to integers and back into it: the only module that knows both PyTorch and the frozen model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lutra import __version__
from lutra.errors import InputError
from lutra.frozen import golden
from lutra.frozen.graph import FrozenModel, Graph
from lutra.frozen.ops import ConditionalSum, LutLayer, Requantise, Thermometer
from lutra.frozen.types import TensorType
from lutra.nn.weightless import WeightlessBlock

IntegerEngine = Callable[[Graph, np.ndarray], np.ndarray]
"""Runs a graph on int8 rows (N, D) and returns its integer output rows (N, D_out)."""


def freeze_block(name: str, block: WeightlessBlock) -> Graph:
    """The integer graph of a quantised block.

    Raises:
        InputError: the block is not quantised.
    """
    integers = block.export()
    ops: list[Thermometer | LutLayer | ConditionalSum | Requantise] = [
        Thermometer(("x",), "bits0", integers.thresholds),
    ]
    for layer, (connections, tables) in enumerate(integers.lut_layers, start=1):
        ops.append(LutLayer((f"bits{layer - 1}",), f"bits{layer}", connections, tables))
    sources = tuple(f"bits{source}" for source in integers.sum_sources)
    ops.append(ConditionalSum(sources, "sum", integers.encoded, integers.bias, integers.groups))
    width = len(integers.bias)
    output_type = TensorType(signed=True, bits=integers.output_bits, scale=integers.output_scale)
    shift = np.full(width, integers.shift)
    ops.append(Requantise(("sum",), "y", np.ones(width, np.int64), shift, output_type))
    input_type = TensorType(signed=True, bits=8, scale=integers.input_scale)
    graph = Graph(name, "x", input_type, block.width, tuple(ops))
    graph.check()
    return graph


def freeze(model: nn.Module, origin: dict[str, str] | None = None) -> FrozenModel:
    """Freeze every weightless block of `model`; blocks that are not quantised yet are quantised first.

    Raises:
        InputError: there is no weightless block, or one was never calibrated.
    """
    blocks = weightless_blocks(model)
    if not blocks:
        raise InputError("the model has no weightless block to freeze; train one with ffn = weightless, or replace_mlp")
    for block in blocks.values():
        if not block.quantised:
            block.quantise_()
    graphs = tuple(freeze_block(name, block) for name, block in blocks.items())
    return FrozenModel(graphs, {"lutra": __version__, "torch": torch.__version__, **(origin or {})})


def weightless_blocks(model: nn.Module) -> dict[str, WeightlessBlock]:
    """Every weightless block of `model` by its path."""
    return {name: module for name, module in model.named_modules() if isinstance(module, WeightlessBlock)}


class FrozenBlock(nn.Module):
    """A frozen graph in the place of the module that it was frozen from; inference only."""

    def __init__(self, graph: Graph, engine: IntegerEngine) -> None:
        super().__init__()
        self.graph, self.engine = graph, engine

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(..., D) float -> (..., D_out) float32: quantise, integer engine, dequantise."""
        rows = x.detach().float().reshape(-1, self.graph.input_width).cpu().numpy()
        integers = golden.quantise(rows, self.graph.input_type).astype(np.int8)
        y = golden.dequantise(self.engine(self.graph, integers), self.graph.output_type)
        return torch.from_numpy(y).to(x.device).view(*x.shape[:-1], self.graph.output_width)


def install(model: nn.Module, frozen: FrozenModel, engine: IntegerEngine = golden.run) -> None:
    """Put the frozen graphs in the place of the modules that they were frozen from.

    Raises:
        FrozenModelError, InputError: the frozen model lacks a block of `model`, or has one that `model` lacks.
    """
    expected, found = set(weightless_blocks(model)), {graph.name for graph in frozen.graphs}
    if expected != found:
        odd = sorted(expected ^ found)
        raise InputError(f"frozen model and checkpoint differ in {', '.join(odd)}; run `lutra freeze` again")
    for graph in frozen.graphs:
        parent, _, attribute = graph.name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, FrozenBlock(graph, engine))
