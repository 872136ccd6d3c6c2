"""One baseline may serve all recipes that differ in what only weightless blocks read."""

from __future__ import annotations

import torch

from lutra.recipes.language import BlockConfig, HardwareConfig, TrainConfig
from lutra.runs.files import RunFiles
from lutra.train.checkpoint import load_model
from lutra.train.loop import train_run
from tiny_training import tiny_recipe


def test_a_baseline_does_not_depend_on_block_and_hardware(tmp_path):
    keys = (key for key in TrainConfig.model_fields if key.endswith("_learning_rate") and key != "min_learning_rate")
    recipe = tiny_recipe("weightless", quantise_fraction=0.9, **dict.fromkeys(keys, 0.5)).model_copy(
        update={"block": BlockConfig(window=3), "hardware": HardwareConfig(rows=5)}
    )
    assert recipe.without_block() == tiny_recipe("weightless").without_block() != recipe
    for name, ours in (("own", recipe), ("shared", recipe.without_block())):
        train_run(RunFiles(tmp_path / name), ours.with_ffn("mlp"))
    own, shared = (load_model(RunFiles(tmp_path / name)).weights() for name in ("own", "shared"))
    assert own.keys() == shared.keys()
    assert all(torch.equal(own[name], shared[name]) for name in own)
