"""The step `freeze` of a language model: all of it in integers, and real rows for the simulation of its blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from safetensors.numpy import save as dump_tensors
from torch import Tensor

from lutra.data.text import load_dataset, training_batch, validation_windows
from lutra.errors import InputError
from lutra.freeze.block import origin_of, quantise_blocks
from lutra.freeze.transformer import freeze_transformer
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph, block_inputs
from lutra.models.integer import IntegerTransformer
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles, replacing
from lutra.train.checkpoint import load_model

CALIBRATION_BATCHES, CALIBRATION_WINDOWS = 8, 32


def freeze_run(run: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """Freeze the best checkpoint of a run whole into `run.frozen`, and so every baseline that is trained.

    Scales come from training text. The rows (`run.samples`) are what each weightless block receives on the first
    windows of the validation text.

    Returns:
        `content_hash`, `graphs` (names of the blocks), `rows` per block, and the `baselines` that were frozen.

    Raises:
        CheckpointError, InputError: no usable checkpoint, or scales that do not fit together.
    """
    text = load_dataset(recipe.data.dataset)
    frozen = _freeze(run, recipe, text.train)
    names = [graph.name for graph in frozen.graphs]
    if names:
        samples = capture_inputs(frozen.require_whole(), text.validation, recipe.hardware.rows)
        with replacing(run.samples) as temporary:
            temporary.write_bytes(dump_tensors(samples))
    baselines = [ffn for ffn in recipe.baselines if run.baseline(ffn).best_checkpoint.exists()]
    for ffn in baselines:
        _freeze(run.baseline(ffn), recipe.with_ffn(ffn), text.train)
    return {
        "content_hash": store.content_hash(run.frozen),
        "graphs": names,
        "rows": recipe.hardware.rows,
        "baselines": baselines,
    }


def _freeze(run: RunFiles, recipe: Recipe, text: Tensor) -> FrozenModel:
    model = load_model(run)
    quantise_blocks(model)
    integer = IntegerTransformer(model)
    context = min(model.context, len(text) - 1)
    integer.calibrate_(
        training_batch(text, recipe.seed, batch, CALIBRATION_WINDOWS, context)[0]
        for batch in range(CALIBRATION_BATCHES)
    )
    frozen = FrozenModel.of_whole(freeze_transformer(integer), origin_of(recipe))
    store.save(frozen, run.frozen)
    return frozen


def capture_inputs(program: Graph, text: Tensor, rows: int) -> dict[str, np.ndarray]:
    """int8 input rows (rows, D) of every weightless block of a whole model, as `text`, character numbers (N,),
    produces them; by the block's name.

    Raises:
        InputError: the text has fewer rows.
    """
    if len(text) - 1 < rows:
        raise InputError(f"hardware.rows: the validation text has fewer than {rows} rows")
    context = program.context
    assert context is not None
    blocks = block_inputs(program)
    caught: dict[str, list[np.ndarray]] = {name: [] for name in blocks}
    found = 0
    for window, _ in validation_windows(text, 1, context):
        if found >= rows:
            break
        found += window.shape[1]
        values = golden.trace(program, window.numpy()[:, :, None])
        for name, source in blocks.items():
            caught[name].append(values[source][0].astype(np.int8))
    return {name: np.concatenate(parts)[:rows] for name, parts in caught.items()}
