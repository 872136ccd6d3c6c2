"""Losses of an exploration stand beside each other in one arithmetic."""

import pytest

from fabricated_run import exploration
from lutra.explore.table import exploration_tables, markdown


def record_of(baseline_losses):
    """Two variants, each with an MLP of its own; their losses by variant."""
    return exploration(
        baselines=[
            {
                **{"ffn": "mlp", "seed": 1, "run": f"baselines/mlp-{name}/seed-1", "used": True, "error": None},
                "validation_loss": losses,
            }
            for name, losses in baseline_losses.items()
        ],
        runs=[
            {
                **{"stage": 1, "variant": name, "seed": 1, "run": f"runs/{name}/seed-1", "error": None},
                "baselines": {"mlp": f"baselines/mlp-{name}/seed-1"},
                "validation_loss": {"golden": 2.1, "fake_quantised": 2.05, "float": 2.0},
                "recovery": None,
            }
            for name in baseline_losses
        ],
    )


@pytest.mark.parametrize(
    ("narrow", "expected", "said"),
    [
        ({"float": 1.5, "golden": 1.6}, ["1.7000", "1.6000"], "of models whole in integers"),
        ({"float": 1.5}, ["1.4000", "1.5000"], "of integer blocks in float models"),
    ],
)
def test_one_model_without_integers_makes_all_losses_those_of_integer_blocks(narrow, expected, said):
    record = record_of({"plain": {"float": 1.4, "golden": 1.7}, "narrow": narrow})
    *_, baselines = exploration_tables(record)
    assert [row[2] for row in baselines.rows] == expected
    assert said in markdown(record)


def test_what_failed_does_not_decide():
    record = record_of({"plain": {"float": 1.4, "golden": 1.7}, "narrow": {"float": 1.5}})
    record["baselines"][1] = {**record["baselines"][1], "error": "killed", "validation_loss": {}}
    *_, baselines = exploration_tables(record)
    assert [row[2] for row in baselines.rows] == ["1.7000"]
