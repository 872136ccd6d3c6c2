"""QuWeiT's Table 2 from a recorded exploration."""

import json

import numpy as np
import pytest

from fabricated_run import exploration, make_started_run, spread
from lutra.errors import InputError, LutraError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.random_block import random_block
from lutra.papers.catalogue import table
from lutra.papers.experiments.integers import collect
from lutra.papers.records import Records
from lutra.runs.claim import save_recipe
from lutra.runs.files import write_json
from lutra.runs.schemas.recorded import VisionRecord
from lutra.runs.typed import write_record

BASELINE = {"seed": 1, "run": "baselines/a/seed-1", "used": True}
RECORD = exploration(
    baselines=[{**BASELINE, "ffn": "mlp", "error": None, "validation_loss": {"float": loss}} for loss in (1.5, 1.7)]
    + [{**BASELINE, "ffn": "none", "error": "killed"}],
    variants=[
        {
            "variant": "wide",
            "loss": spread(1.75, 0.5, 3),
            "recovery": spread(0.8, None, 3),
            "cost": {
                **dict.fromkeys(("thermometer_bits", "comparators", "distinct_comparators"), 1024),
                **{"luts": 4096, "additions_per_token": 65536, "table_bytes": 32768, "encoded_bytes": 65536},
            },
        },
        {"variant": "unfinished", "loss": None, "recovery": None, "cost": None},
    ],
)


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "explore" / "gpt-mini-recovery.json"
    path.parent.mkdir()
    path.write_text(json.dumps(RECORD))
    return tmp_path


def test_rows_of_ours_come_from_the_record(recorded):
    rows = {row.quantity: row for row in table("quweit-2", Records(recorded)).rows}
    assert rows["gpt-mini, MLP"].ours == pytest.approx(1.6)
    assert rows["gpt-mini, wide"].ours == 1.75
    assert rows["gpt-mini, wide"].remark == ("3 seeds, ± 0.5000; recovery 0.80; 4,096 LUTs, 65,536 additions per token")
    assert not any("unfinished" in name or "gpt-mini, no MLP" in name for name in rows)


def test_a_run_of_the_papers_model_stands_beside_the_papers_value(recorded):
    (recorded / "explore" / "gpt-baby.json").write_text(json.dumps(RECORD))
    rows = {row.quantity: row for row in table("quweit-2", Records(recorded)).rows}
    assert (rows["nanoGPT-baby, MLP"].paper, rows["nanoGPT-baby, MLP"].ours) == (1.469, pytest.approx(1.6))
    assert rows["nanoGPT-baby, wide"].ours == 1.75
    assert "not run" not in rows["nanoGPT-baby, MLP"].remark


def test_variants_with_baselines_of_their_own_name_them(tmp_path):
    """Models that differ outside of their blocks have an MLP each: no mean over them, and no name that is a hash."""
    losses = {"plain": (1.5, 1.7), "narrow": (2.5,)}
    run = {"stage": 1, "seed": 1, "error": "killed"}
    record = exploration(
        baselines=[
            {
                **{"ffn": "mlp", "seed": seed, "run": f"baselines/mlp-{name}/seed-{seed}", "used": True, "error": None},
                "validation_loss": {"float": loss},
            }
            for name, of_seeds in losses.items()
            for seed, loss in enumerate(of_seeds)
        ],
        runs=[
            {**run, "variant": name, "run": f"runs/{name}/seed-1", "baselines": {"mlp": f"baselines/mlp-{name}/seed-1"}}
            for name in losses
        ],
    )
    (tmp_path / "explore").mkdir()
    (tmp_path / "explore" / "binary-attention.json").write_text(json.dumps(record))
    rows = {row.quantity: row.ours for row in table("quweit-2", Records(tmp_path)).rows}
    assert rows["gpt-mini, binary attention, MLP beside plain"] == pytest.approx(1.6)
    assert rows["gpt-mini, binary attention, MLP beside narrow"] == 2.5


def test_what_has_not_run_says_so(tmp_path):
    rows = table("quweit-2", Records(tmp_path)).rows
    assert all(row.ours is None and "not run" in row.remark for row in rows)
    assert {row.paper for row in rows} >= {1.469, 1.465}


def test_a_damaged_record_is_one_clear_error(recorded):
    (recorded / "explore" / "gpt-mini-recovery.json").write_text("[]")
    with pytest.raises(InputError, match=r"gpt-mini-recovery\.json: an object is expected"):
        table("quweit-2", Records(recorded))


def test_the_papers_vision_models_name_the_recipe_that_would_run_them(tmp_path):
    rows = {row.quantity: row for row in table("quweit-2", Records(tmp_path)).rows}
    row = rows["I-ViT-T on CIFAR-100, QuWeiT"]
    assert (row.paper, row.ours) == (78.8, None)
    assert row.remark == "not run: needs a GPU; recipe ivit-t-cifar100"
    assert rows["I-ViT-T on CIFAR-10, no MLP at all"].paper is None


def _finished(root, seed, losses, **changes):
    files, recipe = make_started_run(root)
    store.save(FrozenModel((random_block(np.random.default_rng(seed), width=4, luts=(8,), inputs=(2,)),)), files.frozen)
    save_recipe(recipe.model_copy(update={"seed": seed, **changes}), files.recipe)
    floats = {"mlp": 1.5, "none": 2.0}
    evaluation = {
        "validation_loss": losses,
        "baselines": floats,
        "frozen_baselines": {ffn: loss + 0.001 * seed for ffn, loss in floats.items()},
        "recovery": None,
        "tokens": 100,
        "engine": "runtime",
        "frozen_hash": store.content_hash(files.frozen),
    }
    write_json(files.evaluate, evaluation)
    return root


def test_models_whole_in_integers_are_recorded_from_runs_and_stand_beside_float(tmp_path):
    runs = [_finished(tmp_path / f"{seed}", seed, {"float": 1.6, "runtime": 1.6 + 0.002 * seed}) for seed in (1, 3)]
    records = tmp_path / "results"
    path = records / "integers" / "gpt-mini-integers.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(collect(runs)))
    rows = {row.quantity: row for row in table("quweit-2", Records(records)).rows}
    row = rows["gpt-mini whole in integers, weightless blocks"]
    assert row.ours == pytest.approx(1.604)
    assert row.remark == "2 seeds, gaps +0.0020 to +0.0060; +0.0040 against the same checkpoints in float"
    assert rows["gpt-mini whole in integers, MLP"].ours == pytest.approx(1.502)
    assert rows["gpt-mini whole in integers, no MLP at all"].ours == pytest.approx(2.002)


def test_runs_that_are_not_alike_or_not_in_integers_make_no_record(tmp_path):
    sound = _finished(tmp_path / "a", 1, {"float": 1.6, "runtime": 1.7})
    with pytest.raises(InputError, match="differ in their seeds alone"):
        collect([sound, _finished(tmp_path / "b", 2, {"float": 1.6, "runtime": 1.7}, name="another")])
    with pytest.raises(InputError, match="not of its frozen model"):
        collect([_finished(tmp_path / "c", 1, {"float": 1.6})])
    store.save(store.load(tmp_path / "b" / "frozen"), sound / "frozen")
    with pytest.raises(InputError, match="not of its frozen model"):
        collect([sound])


@pytest.mark.parametrize(
    "text", ['{"models": {"mlp": []}}', "[", '{"models": 3}', '{"models": {"mlp": [{"float": true}]}}']
)
def test_a_record_of_integers_that_is_not_one_is_refused(tmp_path, text):
    path = tmp_path / "integers" / "gpt-mini-integers.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(LutraError, match=r"gpt-mini-integers\.json: .*record it again"):
        table("quweit-2", Records(tmp_path))


def test_accuracies_of_vision_runs_stand_in_percent_and_recipes_apart(tmp_path):
    def entry(seed, iterations, engine="runtime", settings="0" * 16, recovered=None):
        shares = {"mlp": 0.6, "none": 0.5}
        accuracy = {
            "ours": {"float": 0.58, **({} if engine == "torch" else {engine: 0.56 + 0.01 * seed})},
            "baselines": shares,
            "frozen_baselines": {ffn: share - 0.002 for ffn, share in shares.items()},
        }
        evaluate = {
            "validation_loss": {"float": 1.2},
            "baselines": {},
            "frozen_baselines": {},
            "accuracy": accuracy,
            "recovery": recovered,
            "images": 100,
            "engine": engine,
        }
        recipe = {"name": "vit-mini-cifar10", "seed": seed, "hash": "0123456789abcdef", "iterations": iterations}
        recipe["settings"] = settings
        return {"recipe": recipe, "recorded": "2026-01-01", "evaluate": evaluate}

    path = tmp_path / "vision" / "vit-mini-cifar10.json"
    path.parent.mkdir()
    results = [entry(1, 1955, recovered=0.7), entry(2, 1955, recovered=0.8), entry(3, 1955, "torch", recovered=5.0)]
    results += [entry(1, 11730), entry(9, 1955, settings="1" * 16, recovered=0.5), entry(9, 1955, settings="1" * 16)]
    write_record(path, VisionRecord, {"name": "vit-mini-cifar10", "results": results})
    rows = [row for row in table("quweit-2", Records(tmp_path)).rows if row.quantity.startswith("vit-mini")]
    found = [(row.quantity, row.ours, row.remark) for row in rows]
    model = "vit-mini on CIFAR-10, "
    both = "2 seeds, 57.00 to 58.00; in float 58.00; 1,955 iterations; recovery 0.70, 0.80"
    one_known = "2 seeds, 65.00 to 65.00; in float 58.00; 1,955 iterations; recovery 0.50"
    assert found == [
        (f"{model}weightless blocks", pytest.approx(57.5), both),
        (f"{model}MLP", pytest.approx(59.8), "2 seeds, 59.80 to 59.80; in float 60.00; 1,955 iterations"),
        (f"{model}no MLP at all", pytest.approx(49.8), "2 seeds, 49.80 to 49.80; in float 50.00; 1,955 iterations"),
        (f"{model}weightless blocks", pytest.approx(57.0), "one seed; in float 58.00; 11,730 iterations"),
        (f"{model}MLP", pytest.approx(59.8), "one seed; in float 60.00; 11,730 iterations"),
        (f"{model}no MLP at all", pytest.approx(49.8), "one seed; in float 50.00; 11,730 iterations"),
        (f"{model}weightless blocks", pytest.approx(65.0), one_known),
        (f"{model}MLP", pytest.approx(59.8), "2 seeds, 59.80 to 59.80; in float 60.00; 1,955 iterations"),
        (f"{model}no MLP at all", pytest.approx(49.8), "2 seeds, 49.80 to 49.80; in float 50.00; 1,955 iterations"),
    ]
