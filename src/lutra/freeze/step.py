"""The step `freeze` of a language model: its blocks as integers, and real rows for the simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save as dump_tensors
from torch import Tensor, nn

from lutra.data.text import load_dataset, validation_windows
from lutra.errors import InputError
from lutra.freeze.block import freeze_model
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.models.gpt import GPT
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles, replacing
from lutra.train.checkpoint import load_model


def freeze_run(run: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """Freeze the best checkpoint of a run into `run.frozen`, and capture real input rows for the simulation.

    The rows (`run.samples`) are what each block receives on the first windows of the validation text.

    Returns:
        `content_hash`, `graphs` (names) and `rows` per graph.

    Raises:
        CheckpointError, InputError: no usable checkpoint, or a model without weightless blocks.
    """
    model = load_model(run)
    frozen = freeze_model(
        model, {"recipe": recipe.name, "recipe_hash": recipe.content_hash(), "seed": str(recipe.seed)}
    )
    store.save(frozen, run.frozen)
    samples = capture_inputs(model, frozen, load_dataset(recipe.data.dataset).validation, recipe.hardware.rows)
    with replacing(run.samples) as temporary:
        temporary.write_bytes(dump_tensors(samples))
    names = [graph.name for graph in frozen.graphs]
    return {"content_hash": store.content_hash(run.frozen), "graphs": names, "rows": recipe.hardware.rows}


@torch.no_grad()
def capture_inputs(model: GPT, frozen: FrozenModel, text: Tensor, rows: int) -> dict[str, np.ndarray]:
    """int8 input rows (rows, D) of every frozen block, as `text`, character numbers (N,), produces them."""
    caught: dict[str, list[np.ndarray]] = {graph.name: [] for graph in frozen.graphs}

    def catch(graph: Graph) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            real = inputs[0].float().reshape(-1, graph.input_width).numpy()
            caught[graph.name].append(golden.quantise(real, graph.input_type).astype(np.int8))

        return hook

    hooks = [model.get_submodule(graph.name).register_forward_pre_hook(catch(graph)) for graph in frozen.graphs]
    windows = validation_windows(text, 1, model.config.context)
    try:
        while sum(map(len, caught[frozen.graphs[0].name])) < rows:
            model(next(windows)[0])
    except StopIteration:
        raise InputError(f"hardware.rows: the validation text has fewer than {rows} rows") from None
    finally:
        for hook in hooks:
            hook.remove()
    return {name: np.concatenate(parts)[:rows] for name, parts in caught.items()}
