"""Spaces of hardware: the paper's is the one that its figure is made from; a wrong one is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lutra.accelerators.bat.search import PAPER_SPACE
from lutra.errors import RecipeError
from lutra.explore.hardware.space import load_hardware_space

FOLDER = Path(__file__).parents[3] / "spaces"


def test_the_papers_space_is_that_of_its_figure():
    plan = load_hardware_space(FOLDER / "bmt-table-3.toml")
    assert plan.grids == (PAPER_SPACE,)
    assert plan.points == 5_832_000
    assert [grid.p_pe for grid in plan.compared] == [64, 96]
    assert all(scored.accuracy is None for scored in plan.scores.values())


def test_recorded_scores_stand_behind_the_models_of_mrpc():
    plan = load_hardware_space(FOLDER / "bat-mrpc.toml")
    known = {name: scored.accuracy for name, scored in plan.scores.items()}
    assert known.pop("BMT W1A4 384/1536") is None  # nobody trained it
    assert all(60 < accuracy < 90 for accuracy in known.values())
    assert plan.full > max(known.values())


def test_every_shared_parallelism_is_a_grid_of_its_own(write_hardware_space):
    changes = {"p_pe = [32, 64]": 'p_pe = [32, 64]\np_softmax = [2, 4]\nsums = ["count", "pe"]'}
    plan = load_hardware_space(write_hardware_space(changes))
    assert len({(grid.p_pe, grid.p_softmax, grid.sums) for grid in plan.grids}) == 8
    assert plan.points == 8 * 4 * 24**2


@pytest.mark.parametrize(
    ("changes", "added", "says"),
    [
        ({'name = "small"': 'name = "small"\ndevice = "zcu999"'}, "", "device must be one of zcu102"),
        ({"p_dpu = [4, 8, 16]": "p_dpu = [4, 4]"}, "", "modules.p_dpu: a value is there twice"),
        ({"p_dpu = [4, 8, 16]": "p_dpu = [0]"}, "", "p_dpu"),
        ({"p_dpu = [4, 8, 16]": "p_dpus = [4]"}, "", "p_dpus"),
        ({"heads = [4]": "heads = [4, 6]"}, "", "scores are of one model, but the row has 2"),
        ({"bits = [1]": "bits = [3]"}, "", "bits"),
        ({'method = "BMT W1A4 64/192"': 'method = "BMT"'}, "", "marked: no method BMT"),
        ({"attention = { p_dpu = 4,": "attention = { p_dpu = 5,"}, "", "is not in the space"),
        ({"attention = { p_dpu = 4,": "attention = {"}, "", "marked.attention needs p_dpu"),
        ({}, "[limits]\naccuracy_loss = 1.0", "give that, in points"),
        ({"robustness = 40.0": 'trained = { task = "MRPC", method = "bmt-w1a4" }'}, "", "not both"),
        (
            {"accuracy = 80.0\nrobustness = 40.0": 'trained = { task = "MRPC", method = "magic" }'},
            "",
            "no run of magic on MRPC is recorded",
        ),
        (
            {'name = "BinaryBERT"': 'name = "BMT"', "[6]\nintermediate = [192]": "[4]\nintermediate = [192]"},
            "",
            "BMT W1A4 64/192 is there twice",
        ),
    ],
)
def test_a_wrong_space_is_refused(write_hardware_space, changes, added, says):
    with pytest.raises(RecipeError, match=says) as refused:
        load_hardware_space(write_hardware_space(changes, added))
    assert "space.toml" in str(refused.value)


def test_a_space_that_would_not_fit_memory_is_refused(write_hardware_space):
    many = ", ".join(str(number) for number in range(1, 61))
    changes = {"p_dpu = [4, 8, 16]": f"p_dpu = [{many}]", "p_vu = [8, 16]": f"p_vu = [{many}]"}
    with pytest.raises(RecipeError, match="14,400 configurations of a module; at most 2,000"):
        load_hardware_space(write_hardware_space(changes))
