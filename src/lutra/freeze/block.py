"""A trained weightless block becomes an integer graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from lutra.errors import InputError
from lutra.frozen.graph import FrozenModel, Graph
from lutra.frozen.ops import ConditionalSum, LutLayer, Requantise, Thermometer
from lutra.frozen.types import TensorType
from lutra.nn.weightless import WeightlessBlock, weightless_blocks
from lutra.recipes.sections import Experiment
from lutra.version import __version__


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
    multiplier = np.int64(1) << np.maximum(-shift, 0)
    ops.append(Requantise(("sum",), "y", multiplier, np.maximum(shift, 0), output_type))
    input_type = TensorType(signed=True, bits=8, scale=integers.input_scale)
    graph = Graph(name, "x", input_type, block.width, tuple(ops))
    graph.check()
    return graph


def freeze_model(model: nn.Module, origin: dict[str, str] | None = None) -> FrozenModel:
    """Freeze every weightless block of `model`; blocks that are not quantised yet are quantised first.

    Raises:
        InputError: there is no weightless block, or one was never calibrated.
    """
    blocks = weightless_blocks(model)
    if not blocks:
        raise InputError(
            "the model has no weightless block to freeze; train one with ffn = weightless, or call replace_mlp"
        )
    quantise_blocks(model)
    graphs = tuple(freeze_block(name, block) for name, block in blocks.items())
    return FrozenModel(graphs, {**versions(), **(origin or {})})


def versions() -> dict[str, str]:
    """What a frozen model was made with."""
    return {"lutra": __version__, "torch": torch.__version__}


def origin_of(recipe: Experiment) -> dict[str, str]:
    """Where a frozen model of a recipe came from."""
    return {**versions(), "recipe": recipe.name, "recipe_hash": recipe.content_hash(), "seed": str(recipe.seed)}


def quantise_blocks(model: nn.Module) -> None:
    """Switch the blocks of `model` to integers; those that were trained with integers keep their input scale."""
    for block in weightless_blocks(model).values():
        if not block.quantised:
            block.quantise_()
