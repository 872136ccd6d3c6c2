"""The steps of a run for its whole model: RTL with what the memories hold, simulation with its evidence, its tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

from frozen_transformers import random_gpt
from lutra.accelerators.transformer import emit, runs
from lutra.errors import InputError, MismatchError, RecipeError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel
from lutra.recipes.kinds import LANGUAGE, kind_of
from lutra.recipes.language import Recipe
from lutra.recipes.sections import validate
from lutra.report.machine.tables import machine_tables, machine_verdict
from lutra.runs.files import RunFiles
from lutra.runs.schemas.simulation import MachineSimulation
from lutra.runs.typed import read_record

pytestmark = pytest.mark.usefixtures("unoptimised")

MACHINE = {"size": 2, "characters": 6}


def recipe_of(**machine):
    return validate(Recipe, {"name": "small", "model": {"ffn": "mlp"}, "machine": machine}, "small")


def frozen_run(tmp_path):
    program = random_gpt(np.random.default_rng(1), layers=1, width=6, heads=1, context=6, vocabulary=5, ffn="mlp")
    files = RunFiles(tmp_path / "run")
    store.save(FrozenModel.of_whole(program), files.frozen)
    return files, program


def test_a_run_writes_its_machine_and_compares_it(tmp_path, monkeypatch):
    monkeypatch.setenv("LUTRA_CACHE", str(tmp_path / "cache"))
    files, program = frozen_run(tmp_path)
    recipe = recipe_of(**MACHINE)
    written = runs.write_rtl(files, recipe)
    assert written["machine"]["folder"] == "rtl/machine"
    assert {"transformer.sv", "image.bin", "rtl.json"} <= {path.name for path in (files.rtl / "machine").iterdir()}
    result = runs.simulate_run(files, recipe)
    assert (result["mismatches"], result["cycles_match"]) == (0, True)
    found = read_record(files.machine, MachineSimulation, "simulate")
    assert found["design_hash"] == written["machine"]["design_hash"]
    assert [(call["rows"], call["past"], call["stalled"]) for call in found["calls"]] == [
        (6, 0, False),
        *((1, past, False) for past in range(6)),
        (6, 0, True),
    ]
    compared, shares = machine_tables(found)
    assert [row[0] for row in compared.rows] == [
        "all tokens at once",
        "one token after the other",
        "with stalls, reset in the middle",
    ]
    assert shares.rows[-1][1] == f"{found['calls'][0]['cycles_measured'] - 2:,}"  # without the end of the program
    assert f"all {found['values']:,} values" in machine_verdict(found)
    # The text is golden's: what follows a token is drawn from its logits, and the same seed gives the same text.
    tokens = runs.written_tokens(program, 6, recipe.seed)
    assert tokens[:, 0].tolist() == found["tokens"]
    assert golden.run(program, tokens[None]).shape == (1, 6, 5)


@pytest.mark.slow
def test_a_machine_that_differs_leaves_evidence_and_a_waveform(tmp_path, monkeypatch):
    monkeypatch.setenv("LUTRA_CACHE", str(tmp_path / "cache"))
    files, _ = frozen_run(tmp_path)
    library, file = emit.library_files, "lutra_transformer_product.sv"

    def faulty(*folders):
        found = dict(library(*folders))
        return found | {
            file: found[file].replace("6'd16", "6'd16").replace("result_shift + exponent_i", "result_shift")
        }

    monkeypatch.setattr(emit, "library_files", faulty)
    with pytest.raises(
        MismatchError, match=r"whole machine: h\.0\.context\[\d+, \d+\]: golden -?\d+, RTL .*machine\.vcd"
    ):
        runs.simulate_run(files, recipe_of(**MACHINE))
    assert json.loads(files.machine.read_text())["mismatches"] > 0
    assert (files.root / "waveforms" / "machine.vcd").stat().st_size > 1000


def test_a_recipe_asks_for_steps_that_overlap():
    program = random_gpt(np.random.default_rng(1), layers=1, width=6, heads=1, context=6, vocabulary=5, ffn="mlp")
    recipes = [recipe_of(**MACHINE), recipe_of(**MACHINE, overlap=True)]
    serial, overlapping = (runs.machine_image(program, recipe.machine, "tree") for recipe in recipes)
    assert (serial.config.overlap, overlapping.config.overlap) == (False, True)
    assert (serial.config.normed_words, overlapping.config.normed_words) == (1, 3 * 3)  # words of 2 of 6, 3 row tiles
    shares = [runs.cycle_shares(image, 6) for image in (serial, overlapping)]
    for column in ("prefill", "decode"):
        before, after = (sum(getattr(share, column) for share in each) for each in shares)
        assert after < before
    assert recipes[0].content_hash() != recipes[1].content_hash()


def test_only_runs_with_hardware_have_these_steps():
    steps = {step.name: step for step in LANGUAGE.steps}
    for machine, blocks, wanted in (({}, "mlp", False), (MACHINE, "mlp", True), ({}, "weightless", True)):
        recipe = validate(Recipe, {"name": "any", "model": {"ffn": blocks}, "machine": machine}, "any")
        assert [steps[name].concerns(recipe) for name in ("rtl", "simulate", "synth", "cost")] == 4 * [wanted]
        assert kind_of(recipe) is LANGUAGE


def test_the_default_machine_leaves_a_recipes_hash_as_it_was():
    plain = validate(Recipe, {"name": "same"}, "same")
    assert plain.content_hash() == validate(Recipe, {"name": "same", "machine": {}}, "same").content_hash()
    assert plain.content_hash() != validate(Recipe, {"name": "same", "machine": {"size": 4}}, "same").content_hash()
    assert recipe_of(size=4).content_hash() == recipe_of(size=4, synthesise=False).content_hash()
    assert recipe_of(size=4).without_block().machine.size == 0


@pytest.mark.parametrize(
    ("machine", "problem"),
    [
        ({"size": 6}, "size must be a power of two, got 6"),
        ({"size": 1}, "size must be from 2 to 64"),
        ({"size": 128}, "size must be from 2 to 64"),
        ({"size": 4, "lanes": 8}, "norm_lanes <= lanes <= size"),
        ({"size": 4, "lanes": 2, "norm_lanes": 4}, "norm_lanes <= lanes <= size"),
        ({"size": 4, "fold_factor": 0}, "fold_factor is an integer from 1"),
    ],
)
def test_a_machine_out_of_range_is_refused_with_the_recipe(machine, problem):
    with pytest.raises(RecipeError, match=problem):
        recipe_of(**machine)


def test_what_no_machine_runs_is_refused_before_anything_is_built(tmp_path):
    files, _ = frozen_run(tmp_path)
    files.rtl.mkdir(parents=True)
    deep = random_gpt(np.random.default_rng(1), layers=43, width=2, heads=1, context=3, vocabulary=5, ffn="none")
    store.save(FrozenModel.of_whole(deep), files.frozen)
    with pytest.raises(InputError, match="program_words must be at most 256, got 262"):
        runs.write_rtl(files, recipe_of(**MACHINE))
    assert list(files.rtl.iterdir()) == []
