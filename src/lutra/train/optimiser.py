"""AdamW with a group per kind of parameter, and the learning rate of every iteration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lutra.errors import CheckpointError
from lutra.kernels.adamw import AdamW
from lutra.names import shown
from lutra.nn.binary_linear import QuantisedLinear
from lutra.nn.quantizers import ActivationQuantiser
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import TrainConfig

UNDECAYED = {"cls_token", "pos_embed"}
"""Parameters of a vision transformer that do not decay, as in DeiT."""

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter: a number, and two tensors of its shape."""


def create_optimiser(model: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW whose groups carry a `name`, the `peak` of their learning rate, and its `floor` relative to the peak.

    Weight decay acts on matrices and embeddings outside of weightless blocks, as in nanoGPT. The parameters of a block
    have learning rates of their own by kind, a longer memory of squared gradients, and do not decay: decay would pull
    table entries to their threshold, 0. Their learning rates end at 0, so that bits and connections stop flipping
    before the last evaluation. Nor do quantiser steps and column scales of a binary attention decay.
    """
    floor = config.min_learning_rate / config.learning_rate
    special: dict[str, list[nn.Parameter]] = {"tables": [], "mapping": [], "thresholds": [], "encoded": []}
    for block in weightless_blocks(model).values():
        for kind, parameters in block.parameter_groups().items():
            special[kind] += parameters
    steps = _quantiser_steps(model)
    grouped = {id(parameter) for parameters in (*special.values(), steps) for parameter in parameters}
    ordinary = [parameter for parameter in model.parameters() if id(parameter) not in grouped]
    peaks = {
        "tables": config.table_learning_rate,
        "mapping": config.mapping_learning_rate,
        "thresholds": config.threshold_learning_rate,
        "encoded": config.encoded_learning_rate,
    }
    undecayed = {id(p) for name, p in model.named_parameters() if name in UNDECAYED}
    matrices = [p for p in ordinary if p.dim() >= 2 and id(p) not in undecayed]
    others = [p for p in ordinary if p.dim() < 2 or id(p) in undecayed]
    groups: list[dict[str, Any]] = [
        {"name": "decayed", "params": matrices, "weight_decay": config.weight_decay},
        {"name": "undecayed", "params": others},
    ]
    for group in groups:
        group |= {"peak": config.learning_rate, "floor": floor, "betas": (config.beta1, config.beta2)}
    binary = getattr(model.config, "binary_attention", None)  # of language models only
    if binary is not None:
        groups.append({**groups[1], "name": "steps", "params": steps, "peak": binary.step_learning_rate})
    block_betas = (config.beta1, config.block_beta2)
    groups += [
        {"name": kind, "params": special[kind], "peak": peak, "floor": 0.0, "betas": block_betas}
        for kind, peak in peaks.items()
    ]
    for group in groups:
        group["limit"] = 1.0 if group["name"] == "tables" else math.inf  # as `LutLayer.constrain_`
    regions = {block.summation.encoded: block.summation.live_regions() for block in weightless_blocks(model).values()}
    return AdamW([group for group in groups if group["params"]], weight_decay=0.0, regions=regions)


def _quantiser_steps(model: nn.Module) -> list[nn.Parameter]:
    """Steps of activation quantisers and column scales of binary linear layers."""
    modules = list(model.modules())
    scales = [module.column_scales for module in modules if isinstance(module, QuantisedLinear)]
    steps = [module.step for module in modules if isinstance(module, ActivationQuantiser)]
    return [*steps, *(scale for scale in scales if scale is not None)]


def learning_rate_shape(config: TrainConfig, iteration: int, floor: float) -> float:
    """Learning rate of an iteration relative to its peak: linear warm-up, then cosine down to `floor`."""
    if iteration < config.warmup_iterations:
        return (iteration + 1) / (config.warmup_iterations + 1)
    progress = (iteration - config.warmup_iterations) / max(1, config.iterations - config.warmup_iterations)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rates(optimiser: torch.optim.AdamW, config: TrainConfig, iteration: int) -> None:
    """Give every group of `create_optimiser` its learning rate of this iteration."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * learning_rate_shape(config, iteration, group["floor"])


def optimiser_tensors(optimiser: torch.optim.AdamW, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state as `PARAMETER/KEY` -> tensor; `load_optimiser_tensors` reads it back."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in optimiser.state.items()
        for key, value in state.items()
    }


def load_optimiser_tensors(
    optimiser: torch.optim.AdamW, model: nn.Module, tensors: dict[str, Tensor], path: Path
) -> None:
    """Undo `optimiser_tensors` for an optimiser made in the same way for the same model.

    Raises:
        CheckpointError: they are not the states of this optimiser; names the file that they come from, `path`.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ordered = [names[id(parameter)] for group in optimiser.param_groups for parameter in group["params"]]
    states: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, part = key.rpartition("/")
        states.setdefault(name, {})[part] = tensor
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for name, parts in states.items():
        expected = {part: torch.Size() if part == "step" else shapes.get(name) for part in ADAM_STATE}
        if name not in ordered or {part: tensor.shape for part, tensor in parts.items()} != expected:
            raise CheckpointError(
                f"{path}: the optimiser's state of {shown(name)} is damaged; delete it and train again"
            )
    state = {index: states[name] for index, name in enumerate(ordered) if name in states}
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
