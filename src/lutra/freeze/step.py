"""The step `freeze`: the whole model in integers, its baselines too, and real rows for the simulation of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import save as dump_tensors
from torch import Tensor

from lutra.data.images import evaluation_batches, load_images, resized, training_images
from lutra.data.text import load_dataset, training_batch, validation_windows
from lutra.errors import InputError
from lutra.freeze.block import freeze_model, origin_of, quantise_blocks
from lutra.freeze.capture import capture
from lutra.freeze.transformer import PIXELS, freeze_transformer
from lutra.freeze.whole import rows_of_pixels
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph, block_inputs
from lutra.models.gpt import GPT
from lutra.models.integer_ivit import integer_transformer
from lutra.models.vit import VisionTransformer
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import Recipe
from lutra.recipes.vision import VisionRecipe
from lutra.runs.files import RunFiles, replacing
from lutra.train.checkpoint import load_model, load_vision_model

CALIBRATION_BATCHES, CALIBRATION_WINDOWS = 8, 32


def freeze_run(files: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """Freeze the best checkpoint of a run whole into `files.frozen`, and so every baseline that is trained.

    Scales come from training text. The rows (`files.samples`) are what each weightless block receives on the first
    windows of the validation text. Attention with 1-bit weights has no integer form yet: of such a model the blocks
    alone are frozen, and nothing where it has none.

    Returns:
        `content_hash` (None where nothing was frozen), `graphs` (names of the blocks), `rows` per block, and the
        `baselines` that were frozen.

    Raises:
        CheckpointError, InputError: no usable checkpoint, or scales that do not fit together.
    """
    text = load_dataset(recipe.data.dataset)
    context = min(recipe.model.context, len(text.train) - 1)

    def batches() -> Iterator[Tensor]:
        for batch in range(CALIBRATION_BATCHES):
            yield training_batch(text.train, recipe.seed, batch, CALIBRATION_WINDOWS, context)[0]

    def inputs() -> Iterator[np.ndarray]:
        for window, _ in validation_windows(text.validation, 1, recipe.model.context):
            yield window.numpy()[:, :, None]

    def freeze(trained: RunFiles, each: Recipe) -> FrozenModel:
        return freeze_whole(load_model(trained), each, batches(), trained)

    if recipe.model.binary_attention is not None:
        windows = (window for window, _ in validation_windows(text.validation, 1, recipe.model.context))
        return _freeze_blocks(files, recipe, windows)
    return freeze_all(files, recipe, freeze, inputs())


def _freeze_blocks(files: RunFiles, recipe: Recipe, windows: Iterator[Tensor]) -> dict[str, Any]:
    """Freeze the weightless blocks of a run's model, if it has any, and capture their rows on `windows` of tokens."""
    model = load_model(files)
    if not weightless_blocks(model):
        return {"content_hash": None, "graphs": [], "rows": 0, "baselines": []}
    frozen = freeze_model(model, origin_of(recipe))
    store.save(frozen, files.frozen)
    write_samples(files, capture(model, frozen, windows, recipe.hardware.rows))
    names = [graph.name for graph in frozen.graphs]
    return {
        "content_hash": store.content_hash(files.frozen),
        "graphs": names,
        "rows": recipe.hardware.rows,
        "baselines": [],
    }


def write_samples(files: RunFiles, samples: dict[str, np.ndarray]) -> None:
    """Write `files.samples`, whole or not at all."""
    with replacing(files.samples) as temporary:
        temporary.write_bytes(dump_tensors(samples))


def freeze_vision(files: RunFiles, recipe: VisionRecipe) -> dict[str, Any]:
    """As `freeze_run`, of a vision transformer: scales from training images, rows from test images.

    Raises:
        CheckpointError, InputError: as `freeze_run`; or images that are not there.
    """
    data, side = load_images(recipe.data.dataset, recipe.data.folder), recipe.model.image
    train = data.train.first(recipe.data.train_images)

    def batches() -> Iterator[Tensor]:
        for batch in range(CALIBRATION_BATCHES):
            size = min(CALIBRATION_WINDOWS, len(train) // CALIBRATION_BATCHES or 1)
            yield resized(training_images(train, recipe.seed, batch, size)[0], side)

    def inputs() -> Iterator[np.ndarray]:
        for pixels, _ in evaluation_batches(data.test, 1, side):
            yield rows_of_pixels(pixels)

    def freeze(trained: RunFiles, each: VisionRecipe) -> FrozenModel:
        return freeze_whole(load_vision_model(trained), each, batches(), trained)

    images = {}
    if recipe.machine.size:
        pixels, _ = next(evaluation_batches(data.test, recipe.machine.images, side))
        images[PIXELS] = rows_of_pixels(pixels).astype(np.uint8)
    return freeze_all(files, recipe, freeze, inputs(), images)


AnyRecipe = TypeVar("AnyRecipe", Recipe, VisionRecipe)


def freeze_all(
    files: RunFiles,
    recipe: AnyRecipe,
    freeze: Callable[[RunFiles, AnyRecipe], FrozenModel],
    inputs: Iterator[np.ndarray],
    images: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Freeze a run's model and its baselines, and capture the rows of the blocks on `inputs`; `images` go with them."""
    frozen = freeze(files, recipe)
    names = [graph.name for graph in frozen.graphs]
    samples = capture_inputs(frozen.require_whole(), inputs, recipe.hardware.rows) if names else {}
    if samples := {**samples, **(images or {})}:
        write_samples(files, samples)
    baselines = [ffn for ffn in recipe.baselines if files.baseline(ffn).best_checkpoint.exists()]
    for ffn in baselines:
        freeze(files.baseline(ffn), recipe.with_ffn(ffn))
    return {
        "content_hash": store.content_hash(files.frozen),
        "graphs": names,
        "rows": recipe.hardware.rows,
        "baselines": baselines,
    }


def freeze_whole(
    model: GPT | VisionTransformer, recipe: Recipe | VisionRecipe, batches: Iterator[Tensor], files: RunFiles
) -> FrozenModel:
    """Calibrate a trained model on `batches`, and write its program into `files.frozen`."""
    quantise_blocks(model)
    integer = integer_transformer(model, recipe.functions)
    integer.calibrate_(batches)
    frozen = FrozenModel.of_whole(freeze_transformer(integer), origin_of(recipe))
    store.save(frozen, files.frozen)
    return frozen


def capture_inputs(program: Graph, inputs: Iterator[np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """int8 input rows (rows, D) of every weightless block of a whole model, by the block's name, as `inputs`, sequences
    (1, T, width) of the program's input, produce them.

    Raises:
        InputError: the inputs have fewer rows.
    """
    blocks = block_inputs(program)
    caught: dict[str, list[np.ndarray]] = {name: [] for name in blocks}
    while min(sum(map(len, parts)) for parts in caught.values()) < rows:
        try:
            values = golden.trace(program, next(inputs))
        except StopIteration:
            raise InputError(f"hardware.rows: the validation data has fewer than {rows} rows") from None
        for name, source in blocks.items():
            caught[name].append(values[source][0].astype(np.int8))
    return {name: np.concatenate(parts)[:rows] for name, parts in caught.items()}
