"""The step `freeze` of a converted model."""

from __future__ import annotations

from typing import Any

from safetensors.numpy import save as dump_tensors

from lutra.freeze.block import freeze_model
from lutra.freeze.capture import capture
from lutra.frozen import store
from lutra.models.convert.save import from_pretrained
from lutra.recipes.convert import ConvertRecipe
from lutra.runs.files import RunFiles, replacing
from lutra.runs.schemas.conversion import Source
from lutra.runs.typed import read_record
from lutra.train.healing.run import MODEL
from lutra.train.healing.text import Texts


def freeze_run(files: RunFiles, recipe: ConvertRecipe) -> dict[str, Any]:
    """Freeze the blocks of the healed model into `files.frozen`, with real rows of held-out text for the simulation."""
    model, texts = from_pretrained(files.root / MODEL), Texts(recipe)
    source = read_record(files.root / "source.json", Source, "run")
    origin = {
        "recipe": recipe.name,
        "recipe_hash": recipe.content_hash(),
        "seed": str(recipe.seed),
        "model": str(source["model"]),
        "weights_sha256": str(source["weights_sha256"]),
    }
    frozen = freeze_model(model, origin)
    store.save(frozen, files.frozen)
    rows = capture(model, frozen, texts.batches(texts.held_out), recipe.hardware.rows)
    with replacing(files.samples) as temporary:
        temporary.write_bytes(dump_tensors(rows))
    names = [graph.name for graph in frozen.graphs]
    return {"content_hash": store.content_hash(files.frozen), "graphs": names, "rows": recipe.hardware.rows}
