"""Loss and accuracy of a vision transformer: floating point beside whole in integers, and its baselines in both."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn import functional as F

from lutra.data.images import Images, evaluation_batches, load_images
from lutra.evaluate.recovery import recovery
from lutra.evaluate.unfinished import unfinished_trainings
from lutra.freeze.block import quantise_blocks
from lutra.freeze.engines import EngineName, load_vision_with_engine
from lutra.frozen import store
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.vision import VisionRecipe
from lutra.runs.files import RunFiles
from lutra.runs.typed import write_evidence
from lutra.train.checkpoint import load_vision_model
from lutra.train.vision import classification_figures

Figures = tuple[float, float]
"""Cross-entropy in nats, and accuracy."""


def evaluate_vision(files: RunFiles, recipe: VisionRecipe, engine: EngineName = "golden") -> dict[str, Any]:
    """Losses and accuracies on all test images: of the trained model, of the frozen one, of the baselines in both; and
    the recovery, of accuracies. Writes `files.evaluate`.

    Returns:
        `validation_loss`, `baselines` and `frozen_baselines` as of a language model, in nats; `accuracy` with the same
        three as `ours`, `baselines` and `frozen_baselines`; `recovery` (None unless all three models are trained to the
        end), `unfinished` (see `unfinished_trainings`), `images`, `engine`.

    Raises:
        CheckpointError, FrozenModelError, InputError: a model or the images are missing or do not fit.
    """
    data, batch = load_images(recipe.data.dataset, recipe.data.folder), recipe.train.evaluate_batch
    ours: dict[str, Figures] = {}
    if engine != "torch":
        ours[engine] = frozen_figures(files, data.test, batch, engine)
    model = load_vision_model(files)
    if blocks := weightless_blocks(model).values():
        quantise_blocks(model)
        ours["fake_quantised"] = classification_figures(model, data.test, batch)
        for block in blocks:
            block.dequantise_()
    ours["float"] = classification_figures(model, data.test, batch)
    unfinished = unfinished_trainings(files, recipe)
    begun = [ffn for ffn in recipe.baselines if files.baseline(ffn).best_checkpoint.exists()]
    trained = [ffn for ffn in begun if ffn not in unfinished]
    real = {ffn: classification_figures(load_vision_model(files.baseline(ffn)), data.test, batch) for ffn in trained}
    frozen = {
        ffn: frozen_figures(files.baseline(ffn), data.test, batch, engine)
        for ffn in trained
        if engine != "torch" and store.exists(files.baseline(ffn).frozen)
    }
    compared = frozen if frozen.keys() == real.keys() else real
    accuracy = {
        name: {key: figures[1] for key, figures in each.items()}
        for name, each in (("ours", ours), ("baselines", real), ("frozen_baselines", frozen))
    }
    counted = engine if engine in ours else "float"
    all_three = {"mlp", "none"} <= compared.keys() and "ours" not in unfinished
    order = (compared["none"], ours[counted], compared["mlp"]) if all_three else ()
    result = {
        "frozen_hash": store.content_hash(files.frozen) if engine in ours else None,
        "validation_loss": {key: figures[0] for key, figures in ours.items()},
        "baselines": {ffn: figures[0] for ffn, figures in real.items()},
        "frozen_baselines": {ffn: figures[0] for ffn, figures in frozen.items()},
        "accuracy": accuracy,
        "recovery": recovery(*(1 - each[1] for each in order)) if all_three else None,
        "unfinished": unfinished,
        "images": len(data.test),
        "engine": engine,
    }
    write_evidence(files, recipe, "evaluate", result)
    return result


def frozen_figures(files: RunFiles, images: Images, batch: int, engine: EngineName) -> Figures:
    """Of the frozen model of a run on all `images`.

    Raises:
        FrozenModelError, InputError: see `load_vision_with_engine`.
    """
    model: nn.Module = load_vision_with_engine(files, engine)
    side = load_vision_model(files).config.image
    total, right = 0.0, 0
    for pixels, labels in evaluation_batches(images, batch, side):
        logits = model(pixels)  # (B, classes)
        total += float(F.cross_entropy(logits, labels, reduction="none").double().sum())
        right += int((logits.argmax(dim=1) == labels).sum())
    return total / len(images), right / len(images)
