"""Spaces: which variants a file makes, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lutra.errors import RecipeError
from lutra.explore.hardware.space import is_hardware_space, load_hardware_space
from lutra.explore.space import baseline_recipe, load_space

FOLDER = Path(__file__).parents[2] / "spaces"


def test_a_variant_changes_the_base_after_the_common_changes(write_space):
    plan = load_space(
        write_space(
            """
            seeds = [3, 4]
            [set]
            train.iterations = 6
            block.window = 0.25
            [[variant]]
            name = "wide"
            set = { "block.window" = 2.0, "block.lut_layers.0.luts" = "2D" }
            [[stage]]
            set = { "train.iterations" = 2 }
            keep = 1
            """
        )
    )
    (variant,) = plan.variants
    recipe = plan.recipe(variant, 4, None)
    assert (recipe.name, recipe.seed, recipe.baselines) == ("wide", 4, ())
    assert (recipe.train.iterations, recipe.block.window, recipe.block.lut_layers[0].luts) == (6, 2.0, "2D")
    assert recipe.block.lut_layers[1] == plan.base.block.lut_layers[1]
    assert plan.recipe(variant, 4, plan.space.stage[0]).train.iterations == 2


def test_a_grid_makes_every_combination_under_readable_names(write_space):
    plan = load_space(
        write_space(
            """
            seeds = [1]
            [grid]
            "block.window" = [0.25, 1]
            "block.lut_layers.0.luts" = ["4D", 7]
            "block.lut_layers.1.luts" = [5]
            "block.sum_reads" = [[], [1, 2]]
            """
        )
    )
    assert [variant.name for variant in plan.variants][:3] == [
        "window-0.25_0.luts-4D_1.luts-5_sum_reads-1",
        "window-0.25_0.luts-4D_1.luts-5_sum_reads-2",
        "window-0.25_0.luts-7_1.luts-5_sum_reads-1",
    ]
    assert len(plan.variants) == 8
    assert plan.recipe(plan.variants[-1], 1, None).block.sum_reads == (1, 2)


def test_a_combination_that_equals_a_written_variant_is_left_out(write_space):
    text = 'seeds = [1]\n[[variant]]\nname = "paper"\n[grid]\n"block.window" = [0.25, 0.5]\n'
    plan = load_space(write_space(text))
    assert plan.base.block.window == 0.5
    assert [variant.name for variant in plan.variants] == ["paper", "window-0.25"]


def test_baselines_differ_only_where_the_block_does_not_matter(write_space):
    plan = load_space(
        write_space(
            """
            seeds = [1]
            [[variant]]
            name = "base"
            [[variant]]
            name = "block"
            set = { "block.window" = 2, "train.table_learning_rate" = 0.5, "hardware.rows" = 7 }
            [[variant]]
            name = "training"
            set = { "train.learning_rate" = 0.5 }
            """
        )
    )
    base, block, training = (baseline_recipe(plan.recipe(variant, 1, None), "mlp") for variant in plan.variants)
    assert base == block != training
    assert base.model.ffn == "mlp"


VARIANT = '[[variant]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seeds = [1]\n", ["nothing to explore", "[[variant]]", "[grid]"]),
        (f"seeds = []\n{VARIANT}", ["seeds"]),
        (f"seeds = [1, 1]\n{VARIANT}", ["seeds must differ", "[1, 1]"]),
        (VARIANT, ["seeds", "required"]),
        (f"seeds = [1]\n{VARIANT}sett = 1\n", ["unknown key variant.0.sett", "allowed here: group, marked, name, set"]),
        (f"seeds = [1]\nsed = 1\n{VARIANT}", ["unknown key sed", "allowed here: base, grid, name"]),
        (f"seeds = [1]\n{VARIANT}set = {{ 'train.batsch' = 4 }}", ["variant a", "unknown key train.batsch", "batch"]),
        (f"seeds = [1]\n{VARIANT}set = {{ 'train.batch' = 0 }}", ["variant a", "train.batch", "got 0"]),
        (f"seeds = [1]\n{VARIANT}set = {{ 'seed' = 4 }}", ["seed cannot be changed here", "write seeds"]),
        (f"seeds = [1]\n{VARIANT}set = {{ 'name.x.y' = 4 }}", ["variant a", "name.x.y does not lead"]),
        (f"seeds = [1]\n{VARIANT}{VARIANT}", ["a names several variants"]),
        ("seeds = [1]\n[[variant]]\nname = 'a b'\n", ["variant.0.name", "pattern"]),
        ("seeds = [1]\n[grid]\n'block.window' = 2\n", ["block.window must be a list", "got 2"]),
        ("seeds = [1]\n[grid]\n'block.window' = []\n", ["block.window must be a list"]),
        ("seeds = [1]\n[grid]\n'block.window' = [0.5, -1]\n", ["variant window--1", "block.window", "got -1"]),
        (f"seeds = [1]\n{VARIANT}[[stage]]\nkeep = 0\n", ["stage.0.keep"]),
        (f"seeds = [1]\n{VARIANT}[[stage]]\nkeep = 1\nset = {{ 'train.iterations' = 0 }}", ["train.iterations"]),
        ("seeds = [1\n", ["not TOML"]),
    ],
)
def test_a_wrong_space_is_one_line_with_file_key_and_remedy(write_space, text, parts):
    path = write_space(text)
    with pytest.raises(RecipeError) as raised:
        load_space(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert [part for part in parts if part not in message] == []


def test_a_missing_base_is_named(write_space):
    path = write_space(f"seeds = [1]\n{VARIANT}")
    path.with_name("tiny.toml").unlink()
    with pytest.raises(RecipeError, match=r"tiny\.toml: cannot read"):
        load_space(path)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_space_that_comes_with_lutra_is_valid(path):
    if is_hardware_space(path):
        assert load_hardware_space(path).space.name == path.stem
        return
    plan = load_space(path)
    assert plan.space.name == path.stem
    of_neither_paper = {"binary-attention"}  # it joins both
    assert sum(variant.marked for variant in plan.variants) == (path.stem not in of_neither_paper)
