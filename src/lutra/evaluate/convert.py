"""How near a converted model is to the original on held-out text: float, fake-quantised, frozen; beside no FFN."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.errors import RunDirectoryError
from lutra.escape import brief
from lutra.freeze.engines import install
from lutra.frozen import store
from lutra.limits import TENSOR_BYTES
from lutra.models.convert.save import from_pretrained
from lutra.nn.weightless import weightless_blocks
from lutra.reading import read_bytes
from lutra.recipes.convert import ConvertRecipe
from lutra.runs.files import RunFiles
from lutra.runs.typed import write_evidence
from lutra.train.healing.heal import distance, hidden_state, pooled
from lutra.train.healing.run import MODEL, NONE, teacher_of, without_mlps
from lutra.train.healing.text import Texts


def evaluate_run(files: RunFiles, recipe: ConvertRecipe) -> dict[str, Any]:
    """Write evaluate.json: scores of every arithmetic and of the baselines against the original.

    Where the model gives hidden states, `cosine` of the sentence embeddings and `spearman` of their pair similarities;
    where it gives logits, `divergence`. `recovery` is 0 for the healed model without feed-forward parts, 1 for the
    original.
    """
    teacher, texts = teacher_of(files, recipe), Texts(recipe)
    batches = texts.batches(texts.held_out)
    reference = _outputs(teacher, batches)
    model = from_pretrained(files.root / MODEL)
    scores = {"fake_quantised": _score(model, batches, reference)}
    frozen = store.load(files.frozen)
    blocks = list(weightless_blocks(model).values())
    for block in blocks:
        block.dequantise_()
    scores["float"] = _score(model, batches, reference)
    for block in blocks:
        block.quantise_()
    install(model, frozen)
    scores["golden"] = _score(model, batches, reference)
    bare = without_mlps(files, recipe)
    baselines = {"none_untouched": _score(bare, batches, reference)}
    if recipe.baseline:
        baselines["none"] = _score(_fill(files, bare), batches, reference)
    result = {
        "scores": scores,
        "baselines": baselines,
        "recovery": _recovery(scores["golden"], baselines.get("none")),
        "held_out_texts": len(texts.held_out),
        "frozen_hash": store.content_hash(files.frozen),
        "engine": "golden",
    }
    write_evidence(files, recipe, "evaluate", result)
    return result


def _fill(files: RunFiles, model: nn.Module) -> nn.Module:
    path = files.root / NONE / "model.safetensors"
    try:
        tensors = parse_tensors(read_bytes(path, TENSOR_BYTES))
    except OSError:
        raise RunDirectoryError(f"{path}: not there; run the step baselines first") from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunDirectoryError(f"{path}: damaged ({brief(str(error))}); run the step baselines again") from None
    found = model.load_state_dict(tensors, strict=False)
    tied = {tensor.data_ptr() for name, tensor in model.state_dict().items() if name in tensors}
    own = model.state_dict()
    if found.unexpected_keys or any(own[name].data_ptr() not in tied for name in found.missing_keys):
        raise RunDirectoryError(f"{path}: of another model; run the step baselines again")
    return model


@torch.no_grad()
def _outputs(model: nn.Module, batches: list[dict[str, Any]]) -> list[Any]:
    model.eval()
    return [model(**batch) for batch in batches]


def _score(model: nn.Module, batches: list[dict[str, Any]], reference: list[Any]) -> dict[str, float]:
    found = _outputs(model, batches)
    masks = [batch.get("attention_mask") for batch in batches]
    if getattr(reference[0], "logits", None) is not None:
        parts = [distance(*each, losses=("logits",)) for each in zip(found, reference, masks, strict=True)]
        return {"divergence": float(torch.stack(parts).mean())}
    ours, theirs = (_embeddings(outputs, masks) for outputs in (found, reference))
    return {
        "cosine": float((ours * theirs).sum(dim=1).mean()),
        "spearman": _spearman(_similarities(ours), _similarities(theirs)),
    }


def _embeddings(outputs: list[Any], masks: list[Tensor | None]) -> Tensor:
    rows = []
    for output, mask in zip(outputs, masks, strict=True):
        hidden = hidden_state(output)
        assert hidden is not None
        rows.append(F.normalize(pooled(hidden, mask), dim=-1))
    return torch.cat(rows)


def _similarities(embeddings: Tensor) -> Tensor:
    """Of all pairs, (N * (N - 1) / 2,)."""
    first, second = torch.triu_indices(len(embeddings), len(embeddings), 1)
    return (embeddings @ embeddings.t())[first, second]


def _spearman(a: Tensor, b: Tensor) -> float:
    ranks = torch.stack([values.argsort().argsort().double() for values in (a, b)])
    return float(torch.corrcoef(ranks)[0, 1])


def _recovery(ours: dict[str, float], none: dict[str, float] | None) -> float | None:
    if none is None:
        return None
    if "cosine" in ours:
        return (ours["cosine"] - none["cosine"]) / max(1e-9, 1 - none["cosine"])
    return 1 - ours["divergence"] / max(1e-9, none["divergence"])
