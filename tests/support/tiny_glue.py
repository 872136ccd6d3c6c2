"""A tiny BERT in Hugging Face's form, tiny GLUE files and recipes of kind "bert"; shared by several tests."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lutra.data.glue import EncodedSplit
from lutra.models.bert import Bert
from lutra.recipes.bert import BertRecipe, Lesson, OptimiserConfig
from lutra.runs.files import StageFiles
from lutra.train.session import StopRequest
from lutra.train.stage import Lessons, load_stage, train_stage

WORDS = ["the", "cat", "sat", "dog", "ran", "sun", "sea", "up", "in", "on", "red", "big"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
SHAPE = {"layers": 2, "heads": 4, "width": 16, "intermediate": 32}


def write_checkpoint(folder: Path, **changes: Any) -> Path:
    """A folder as Hugging Face writes one for a pretrained BERT without a classifier."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
        "num_hidden_layers": SHAPE["layers"],
        "num_attention_heads": SHAPE["heads"],
        "hidden_size": SHAPE["width"],
        "intermediate_size": SHAPE["intermediate"],
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": 16,
        "type_vocab_size": 2,
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    save_file(_weights(config), folder / "model.safetensors")
    return folder


def _weights(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    width, inner = config["hidden_size"], config["intermediate_size"]
    weights = {}

    def linear(name: str, inputs: int, outputs: int) -> None:
        weights[f"{name}.weight"] = 0.2 * torch.randn(outputs, inputs, generator=generator)
        weights[f"{name}.bias"] = torch.zeros(outputs)

    def norm(name: str) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = torch.ones(width), torch.zeros(width)

    for table, rows in (("word", "vocab_size"), ("position", "max_position_embeddings"), ("token_type", None)):
        count = config[rows] if rows else config["type_vocab_size"]
        weights[f"embeddings.{table}_embeddings.weight"] = 0.5 * torch.randn(count, width, generator=generator)
    norm("embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            linear(f"{prefix}.attention.self.{part}", width, width)
        linear(f"{prefix}.attention.output.dense", width, width)
        norm(f"{prefix}.attention.output.LayerNorm")
        linear(f"{prefix}.intermediate.dense", width, inner)
        linear(f"{prefix}.output.dense", inner, width)
        norm(f"{prefix}.output.LayerNorm")
    linear("pooler.dense", width, width)
    return weights


def write_tsv(folder: Path, examples: int = 96) -> Path:
    """MRPC files whose label says whether the second sentence begins with "cat"."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, seed, count in (("train", 1, examples), ("dev", 2, 40)):
        draw = random.Random(seed)
        lines = ["sentence1\tsentence2\tlabel"]
        for _ in range(count):
            label = draw.random() < 0.5
            first, second = (" ".join(draw.choices(WORDS[3:], k=draw.randint(1, 5))) for _ in range(2))
            lines.append(f"{first}\t{'cat' if label else 'sun'} {second}\t{int(label)}")
        (folder / f"MRPC-{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def tiny_tree(checkpoint: Path, *methods: str, **changes: Any) -> dict[str, Any]:
    """A recipe as nested dictionaries: every lesson takes a few iterations."""
    two = {
        "intermediate_learning_rate": 2e-3,
        "intermediate_epochs": 0.5,
        "logits_learning_rate": 1e-3,
        "logits_epochs": 0.5,
        "batch": 16,
        "evaluate_every": 2,
    }
    one = {"learning_rate": 5e-3, "epochs": 1, "batch": 16, "evaluate_every": 4}
    lanes = {"p_dpu": 2, "p_pe": 8, "p_vu": 2, "p_quan": 2, "p_ln": 2, "p_softmax": 2}
    return {
        "kind": "bert",
        "name": "tiny",
        "seed": 5,
        "task": "MRPC",
        "checkpoint": str(checkpoint),
        "methods": list(methods),
        "max_length": 16,
        "fine_tune": one,
        "width": one,
        "q8": one,
        "bit": one,
        "ternary": two,
        "binary": two,
        "accelerator": {"modules": 1, "attention": lanes, "sentences": 2},
        **changes,
    }


def tiny_recipe(checkpoint: Path, *methods: str, **changes: Any) -> BertRecipe:
    return BertRecipe.model_validate(tiny_tree(checkpoint, *methods, **changes))


def teach(
    folder: Path,
    model: Bert,
    lesson: Lesson,
    data: EncodedSplit,
    dev: EncodedSplit,
    teacher: Bert | None = None,
    evaluate_every: int = 30,
) -> Bert:
    """The best model after one lesson."""
    optimiser = OptimiserConfig(batch=32, evaluate_every=evaluate_every, step_learning_rate=1e-3)
    plan = Lessons((lesson,), optimiser, data, dev, seed=42, teacher=teacher)
    files = StageFiles(folder)
    train_stage(files, plan, lambda: model, StopRequest(None), title="test", recipe_hash="0", keep_latent=True)
    return load_stage(files)
