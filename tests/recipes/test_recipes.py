"""The recipes that come with Lutra."""

from pathlib import Path

import pytest

from lutra.explore.hardware.space import is_hardware_space, load_hardware_space
from lutra.explore.space import load_space
from lutra.models.zoo import PRESETS
from lutra.recipes.kinds import load_any_recipe
from lutra.recipes.language import load_recipe

ROOT = Path(__file__).parents[2]
FOLDER, LANGUAGE = ROOT / "recipes", ROOT / "recipes" / "language"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_for_its_file(path):
    assert load_any_recipe(path).name in (path.stem, f"{path.parent.name}-{path.stem}")


@pytest.mark.parametrize("task", ["mrpc", "rte", "cola"])
def test_the_comparison_on_a_task_holds_the_methods_of_its_table(task):
    recipe = load_any_recipe(FOLDER / "glue" / f"{task}.toml")
    assert (recipe.name, recipe.task.lower()) == (f"glue-{task}", task)
    assert {"full", "half", "binarybert-w1a4", "tws-w1a4", "bmt-w1a4", "bmt-w1a2", "bit-w1a1"} <= set(recipe.methods)


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("*.toml")), ids=lambda path: path.stem)
def test_every_exploration_is_valid_and_named_for_its_file(path):
    load = load_hardware_space if is_hardware_space(path) else load_space
    assert load(path).space.name == path.stem


@pytest.mark.parametrize("ffn", ["mlp", "none"])
@pytest.mark.parametrize("name", ["gpt-mini", "gpt-baby"])
def test_baselines_differ_in_the_ffn_and_what_only_blocks_read(name, ffn):
    ours, baseline = load_recipe(LANGUAGE / f"{name}.toml"), load_recipe(LANGUAGE / f"{name}-{ffn}.toml")
    assert ours.without_block().with_ffn(ffn) == baseline.without_block()
    assert ours.model == PRESETS[name]
