"""AdamW with a group per kind of parameter, and the learning rate of every iteration."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lutra.models.gpt import GPT
from lutra.nn.weightless import weightless_blocks
from lutra.recipe import TrainConfig


def create_optimiser(model: GPT, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW whose groups carry a `name` and the `peak` of their learning rate.

    Weight decay acts on matrices and embeddings outside of weightless blocks, as in nanoGPT. The parameters of a block
    have learning rates of their own by kind and do not decay: decay would pull table entries to their threshold, 0.
    """
    special: dict[str, list[nn.Parameter]] = {"tables": [], "mapping": [], "thresholds": [], "encoded": []}
    for block in weightless_blocks(model).values():
        for kind, parameters in block.parameter_groups().items():
            special[kind] += parameters
    grouped = {id(parameter) for parameters in special.values() for parameter in parameters}
    ordinary = [parameter for parameter in model.parameters() if id(parameter) not in grouped]
    peaks = {
        "tables": config.table_learning_rate,
        "mapping": config.mapping_learning_rate,
        "thresholds": config.threshold_learning_rate,
        "encoded": config.encoded_learning_rate,
    }
    groups = [
        _group("decayed", [p for p in ordinary if p.dim() >= 2], config.learning_rate, config.weight_decay),
        _group("undecayed", [p for p in ordinary if p.dim() < 2], config.learning_rate),
        *(_group(kind, parameters, peaks[kind]) for kind, parameters in special.items()),
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], betas=(config.beta1, config.beta2), fused=True
    )


def _group(name: str, parameters: list[nn.Parameter], peak: float, weight_decay: float = 0.0) -> dict[str, object]:
    return {"name": name, "params": parameters, "peak": peak, "weight_decay": weight_decay}


def learning_rate_shape(config: TrainConfig, iteration: int) -> float:
    """Learning rate of an iteration relative to its peak: linear warm-up, then cosine.

    It falls to min_learning_rate / learning_rate, and every group follows this one shape.
    """
    if iteration < config.warmup_iterations:
        return (iteration + 1) / (config.warmup_iterations + 1)
    progress = (iteration - config.warmup_iterations) / max(1, config.iterations - config.warmup_iterations)
    floor = config.min_learning_rate / config.learning_rate
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rates(optimiser: torch.optim.AdamW, shape: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * shape


def optimiser_tensors(optimiser: torch.optim.AdamW, model: GPT) -> dict[str, Tensor]:
    """The optimiser's state as `PARAMETER/KEY` -> tensor; `load_optimiser_tensors` reads it back."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in optimiser.state.items()
        for key, value in state.items()
    }


def load_optimiser_tensors(optimiser: torch.optim.AdamW, model: GPT, tensors: dict[str, Tensor]) -> None:
    """Undo `optimiser_tensors` for an optimiser that `create_optimiser` made for the same model."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ordered = [names[id(parameter)] for group in optimiser.param_groups for parameter in group["params"]]
    states: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, part = key.rpartition("/")
        states.setdefault(name, {})[part] = tensor
    state = {index: states[name] for index, name in enumerate(ordered) if name in states}
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
