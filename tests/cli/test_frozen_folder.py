"""A folder that holds nothing but a frozen model and rows goes through everything from RTL on."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import lutra
from frozen_blocks import random_rows
from lutra.cli.commands import app
from lutra.errors import InputError
from lutra.frozen.graph import FrozenModel
from lutra.frozen.random_block import random_block


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    graphs = tuple(random_block(rng, width=6, luts=(10,), inputs=(4,), name=f"layers.{i}.mlp") for i in range(2))
    rows = {graph.name: random_rows(rng, graph, 20) for graph in graphs}
    lutra.save_frozen(FrozenModel(graphs, {"model": "my own net"}), tmp_path / "taken-over", rows)
    return tmp_path / "taken-over"


def test_hardware_and_report_from_a_bare_folder(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["frozen"]
    assert call("rtl", folder).exit_code == 0
    assert (folder / "rtl" / "fold_1").is_dir() and 'kind = "frozen"' in (folder / "recipe.toml").read_text()
    simulated = call("simulate", folder, "--fold", "2", "--json")
    told = json.loads(simulated.stdout)
    assert simulated.exit_code == 0 and told["mismatches"] == 0 and told["rows"] == 40
    cost = call("cost", folder, "--json")
    assert cost.exit_code == 0, cost.stderr
    costs = json.loads(cost.stdout)
    assert costs["dense_layer"] is None and costs["model"] == {"sequence_tokens": 128}
    assert {block["graph"] for block in costs["blocks"]} == {"layers.0.mlp", "layers.1.mlp"}
    assert call("report", folder).exit_code == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "my own net" in page and "rows that came with the frozen model" in page and "shakespeare" not in page.lower()
    refused = call("results", "add", folder, "--into", folder.parent / "results")
    assert refused.exit_code == 2 and "no evaluation" in refused.stderr


def test_a_recipe_says_what_was_replaced(folder):
    recipe = folder.parent / "mine.toml"
    recipe.write_text(
        'kind = "frozen"\nname = "mine"\ntokens = 16\n[dense]\nhidden = 24\nheads = 2\n[hardware]\nfold_factors = [1]\n'
    )
    assert call("run", recipe, "--out", folder, "--to", "rtl").exit_code == 0
    told = call("cost", folder, "--json")
    assert told.exit_code == 0, told.stderr
    model = json.loads(told.stdout)["model"]
    assert (model["layers"], model["width"], model["hidden"], model["sequence_tokens"]) == (2, 6, 24, 16)
    assert json.loads(told.stdout)["layers"][0]["fpga_ratio_paper_power"] > 0


def test_what_cannot_be_taken_over(folder):
    graph = random_block(np.random.default_rng(1), width=6, name="a")
    wrong = {"no rows": {}, "other rows": {"b": np.zeros((3, 6), np.int8)}, "floats": {"a": np.zeros((3, 6))}}
    wrong |= {"narrow": {"a": np.zeros((3, 5), np.int8)}, "large": {"a": np.full((3, 6), 300)}}
    for rows in wrong.values():
        with pytest.raises(InputError, match="rows"):
            lutra.save_frozen(FrozenModel((graph,)), folder.parent / "other", rows)
    assert not (folder.parent / "other").exists()
    (folder / "notes.txt").write_text("mine")
    refused = call("rtl", folder)
    assert refused.exit_code == 2 and "no run there" in refused.stderr
    (folder / "notes.txt").unlink()
    (folder / "frozen" / "samples.safetensors").unlink()
    for step in ("simulate", "report"):
        assert call(step, folder).exit_code == (2 if step == "simulate" else 0)
