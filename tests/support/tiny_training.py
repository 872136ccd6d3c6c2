"""A tiny recipe and a short text, so that a training run takes a fraction of a second; shared by several tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lutra.data.text import CharacterData, load_shakespeare
from lutra.recipes.language import BlockConfig, Feedforward, LutLayerConfig, ModelConfig, Recipe, TrainConfig


def tiny_recipe(ffn: Feedforward = "mlp", **train: Any) -> Recipe:
    layers = (LutLayerConfig(luts=24, mapping="learnable", table_init="smooth"), LutLayerConfig(luts=12, inputs=4))
    defaults = {"iterations": 8, "batch": 4, "warmup_iterations": 2, "evaluate_every": 4, "quantise_fraction": 0.5}
    return Recipe(
        name="tiny",
        model=ModelConfig(layers=2, heads=2, width=12, context=16, dropout=0.1, ffn=ffn),
        block=BlockConfig(thermometer_bits=3, thresholds="learned", lut_layers=layers, groups=2),
        train=TrainConfig(**{**defaults, **train}),
    )


def short_text(name: str = "shakespeare-char") -> CharacterData:
    data = load_shakespeare()
    return CharacterData(data.characters, data.train[:5000], data.validation[:777])


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file under `folder` by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
