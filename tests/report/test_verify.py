"""`lutra verify`: a sound run holds; whatever is changed in it is found, signed again or not; nothing is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from fabricated_run import small_recipe
from lutra.accelerators.block.emit import write_rtl
from lutra.cli.commands import app
from lutra.cost.step import cost_run
from lutra.errors import InputError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.random_block import random_block
from lutra.reading import digest
from lutra.recipes.kinds import kind_of
from lutra.report.trust.verify import verify
from lutra.runs.claim import save_recipe
from lutra.runs.files import RunFiles
from lutra.runs.record import write_steps
from lutra.runs.typed import write_evidence

SHAPE = {"width": 16, "thermometer_bits": 8, "luts": (64, 16), "inputs": (6, 6)}


def make_run(root: Path) -> RunFiles:
    """Steps that need neither PyTorch nor a tool, signed as `lutra run` does."""
    files = RunFiles(root)
    recipe = small_recipe(hardware={"fold_factors": [4], "synthesise_fold_factors": [4], "rows": 8})
    save_recipe(recipe, files.recipe)
    rng = np.random.default_rng(0)
    graphs = tuple(random_block(rng, **SHAPE, name=f"transformer.h.{layer}.mlp") for layer in range(2))
    store.save(FrozenModel(graphs, {"recipe": recipe.content_hash()}), files.frozen)
    save_file({graph.name: np.zeros((8, 16), np.int8) for graph in graphs}, files.samples)
    write_rtl(files, recipe)
    write_evidence(files, recipe, "evaluate", {"validation_loss": {"float": 1.5}})
    cost_run(files, recipe)
    finished = {}
    for step in kind_of(recipe).steps:
        paths = [path for pattern in step.writes for path in sorted(root.glob(pattern)) if path.is_file()]
        if paths:
            outputs = {path.relative_to(root).as_posix(): digest(path) for path in paths}
            base = {"recipe": recipe.content_hash(), "seconds": 1.0, "ended": "now", "environment": {}}
            finished[step.name] = {**base, "outputs": outputs}
    write_steps(files, finished, {})
    return files


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("sound") / "run")


@pytest.fixture
def run(sound, tmp_path):
    shutil.copytree(sound.root, tmp_path / "run")
    return RunFiles(tmp_path / "run")


def failing(root: Path) -> dict[str, str]:
    return {each.subject: each.what for each in verify(root) if each.verdict == "FAILS"}


def sign(files: RunFiles) -> None:
    """As somebody would who wants a change to go unseen."""
    steps = json.loads(files.steps.read_text())
    for step in steps["finished"].values():
        step["outputs"] = {path: digest(files.root / path) for path in step["outputs"]}
    files.steps.write_text(json.dumps(steps))


def test_a_sound_run_holds_and_says_what_was_not_checked(run):
    found = verify(run.root)
    assert failing(run.root) == {}
    holds = {each.subject for each in found if each.verdict == "holds"}
    assert {"recipe", "steps.json", "frozen", "rtl/fold_4", "cost.json, its sources"} <= holds
    assert {each.subject for each in found if each.verdict == "not checked"} >= {"origin", "training and losses"}
    ran = CliRunner().invoke(app, ["verify", str(run.root)])
    assert ran.exit_code == 0 and "every byte as the frozen model gives it" in " ".join(ran.stdout.split())


def edit_rtl(files):
    path = files.rtl / "fold_4" / "block_0_summation.sv"
    path.write_text(path.read_text().replace("8'", "8'", 1) + "\n")


def inject_rtl(files):
    path = files.rtl / "fold_4" / "block_0.sv"
    path.write_text(path.read_text().replace("endmodule", 'initial $system("touch canary");\nendmodule', 1))


def add_rtl(files):
    (files.rtl / "fold_4" / "more.sv").write_text("module more; endmodule\n")


def another_fold(files):
    shutil.copytree(files.rtl / "fold_4", files.rtl / "fold_2")


def better_cost(files):
    content = json.loads(files.cost.read_text())
    content["layers"][0]["upper_limit_ratio"] *= 2
    files.cost.write_text(json.dumps(content))


def another_model(files):
    graphs = store.load(files.frozen).graphs
    store.save(FrozenModel(graphs[::-1]), files.frozen)


def changed_tensor(files):
    path = files.frozen / store.TENSOR_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def text_for_a_loss(files):
    files.evaluate.write_text('{"validation_loss": {"float": "low"}}')


@pytest.mark.parametrize(
    ("change", "subject", "words"),
    [
        (edit_rtl, "rtl/fold_4", "block_0_summation.sv is not what the frozen model gives"),
        (inject_rtl, "rtl/fold_4", "which no RTL of Lutra has"),
        (add_rtl, "rtl/fold_4", "more.sv does not belong to the design"),
        (another_fold, "rtl/fold_2", "no design of this recipe"),
        (better_cost, "cost.json, its sources", "not what follows from"),
        (another_model, "cost.json, its sources", "not the one here"),
        (changed_tensor, "frozen", "content hash differs"),
        (text_for_a_loss, "evaluate.json", "validation_loss.float"),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_a_change_is_found_signed_again_or_not(run, change, subject, words, signed):
    change(run)
    if signed:
        sign(run)
    found = failing(run.root)
    assert words in found[subject]
    assert ("steps.json" in found) == (not signed and change not in (add_rtl, another_fold))
    assert not list(run.root.rglob("canary"))
    ran = CliRunner().invoke(app, ["verify", str(run.root), "--json"])
    assert ran.exit_code == 1 and json.loads(ran.stdout)["findings"]
    assert "checks fail" in ran.stderr and ran.stderr.count("\n") == 1


def test_a_failed_step_and_another_recipe_are_told(run):
    steps = json.loads(run.steps.read_text())
    run.steps.write_text(json.dumps({**steps, "failed": {"simulate": "the RTL differs"}}))
    assert "simulate (the RTL differs)" in failing(run.root)["steps.json"]
    text = run.recipe.read_text()
    run.recipe.write_text(text.replace("seed = 1337", "seed = 7"))
    assert "steps of another recipe" in failing(run.root)["steps.json"]
    run.recipe.write_text("seed = []")
    assert set(failing(run.root)) == {"recipe"}


def test_a_frozen_model_alone(run, tmp_path):
    for folder in (run.frozen, tmp_path / "only"):
        if folder != run.frozen:
            shutil.copytree(run.frozen, folder / "frozen")
        found = verify(folder)
        assert found[0].verdict == "holds" and "2 blocks" in found[0].what
    changed_tensor(run)
    assert verify(run.frozen)[0].verdict == "FAILS"
    with pytest.raises(InputError, match="neither a run"):
        verify(tmp_path)
