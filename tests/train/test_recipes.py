"""The recipes that come with Lutra."""

from pathlib import Path

import pytest

from lutra.models.zoo import PRESETS
from lutra.recipe import load_recipe

FOLDER = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_for_its_file(path):
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("ffn", ["mlp", "none"])
@pytest.mark.parametrize("name", ["gpt-mini", "gpt-baby"])
def test_baselines_differ_in_the_ffn_alone(name, ffn):
    ours, baseline = load_recipe(FOLDER / f"{name}.toml"), load_recipe(FOLDER / f"{name}-{ffn}.toml")
    assert ours.with_ffn(ffn) == baseline
    assert ours.model == PRESETS[name]
