"""A tiny BERT of Hugging Face with its tokenizer, text for it, and a recipe that converts it."""

import random

import torch
import transformers

from lutra.recipes.convert import ConvertRecipe
from lutra.recipes.sections import validate

WORDS = [
    "the",
    "cat",
    "sat",
    "dog",
    "ran",
    "sun",
    "sea",
    "up",
    "in",
    "on",
    "red",
    "big",
    "old",
    "new",
    "and",
    "or",
    "but",
    "so",
    "far",
    "near",
]


BLOCK = {"thermometer_bits": 3, "lut_layers": [{"luts": "4D", "inputs": 4}], "groups": 2, "encoded_scale": "output"}


def recipe_of(folder, **changes):
    tree = {
        "name": "tiny", "seed": 3,
        "source": {"model": str(write_model(folder / "model"))},
        "data": {"text": str(write_text(folder / "text.txt")), "tokens": 12, "batch": 8, "held_out": 24},
        "block": BLOCK, "fit": {"texts": 64, "local_steps": 5},
        "heal": {"steps": 12, "save_every": 4}, "hardware": {"fold_factors": ["all"], "rows": 32,
                                                             "synthesise_fold_factors": ["all"]},
    }  # fmt: skip
    return validate(ConvertRecipe, {**tree, **changes}, "test")


def error(model, teacher, batches):
    with torch.no_grad():
        model.eval()
        parts = [
            (model(**b).last_hidden_state - teacher(**b).last_hidden_state)[b["attention_mask"].bool()] for b in batches
        ]
    return float(torch.cat(parts).square().mean())


def write_model(folder, kind=transformers.BertModel, **changes):
    """A folder as Hugging Face writes one: 2 layers, width 16, random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    config = transformers.BertConfig(vocab_size=5 + len(WORDS), max_position_embeddings=32, **{**sizes, **changes})
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)  # so that the parts matter
    model.save_pretrained(folder)
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def write_text(path, lines=160):
    """Different lines of 3 to 9 words."""
    draw = random.Random(1)
    path.write_text("".join(" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) + "\n" for _ in range(lines)))
    return path
