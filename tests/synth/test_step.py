"""The synthesis step with the real tools on a small block, and what it keeps, skips and refuses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from frozen_blocks import random_block
from lutra.errors import ToolError
from lutra.files import RunFiles, read_json
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.recipe import HardwareConfig, Recipe
from lutra.rtl.emit import fold_folder, generate_run
from lutra.synth import step, synthesise_run
from lutra.synth.tools import Tool, fpga_yosys, native_yosys, opensta, run_tool
from lutra.synth.yosys import synthesise_fpga

RECIPE = Recipe(name="small", hardware=HardwareConfig(fold_factors=(4,), synthesise_fold_factors=(4,)))


def make_run(root: Path, seed: int = 0) -> RunFiles:
    """A run with the RTL of one small block."""
    run = RunFiles(root)
    graph = random_block(
        np.random.default_rng(seed), width=6, thermometer_bits=2, luts=(12, 8), inputs=(6, 6), name="h.0.mlp"
    )
    store.save(FrozenModel((graph,)), run.frozen)
    generate_run(run, RECIPE)
    return run


@pytest.fixture(scope="module")
def liberty() -> Path:
    path = os.environ.get("LUTRA_LIBERTY")
    if not path:
        pytest.skip("LUTRA_LIBERTY does not name a Liberty file of standard cells")
    return Path(path)


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory) -> RunFiles:
    if fpga_yosys() is None:
        pytest.skip("Yosys is not installed")
    run = make_run(tmp_path_factory.mktemp("run"))
    synthesise_run(run, RECIPE)
    return run


def test_luts_and_flip_flops_of_a_small_block(synthesised):
    result = read_json(synthesised.synth, "synth")
    assert result["frozen_hash"] == store.content_hash(synthesised.frozen)
    (target,) = result["targets"]
    assert (target["target"], target["fold_factor"]) == ("xcup", 4)
    assert target["tool"].startswith("Yosys ")
    (block,) = target["blocks"]
    assert (block["name"], block["graph"]) == ("block_0", "h.0.mlp")
    assert block["lut_raw"] >= block["lut_packed"] > block["lut_raw"] / 2 > 10
    assert block["ff"] >= 6 * 8 + 6 * 10  # one input row and the accumulators are held in registers
    assert (block["bram"], block["dsp"]) == (0, 0)
    skipped = {entry["target"]: entry["reason"] for entry in result["skipped"]}
    assert skipped.keys() == {"asic", "vivado", "dc"}
    assert "--liberty" in skipped["asic"]
    assert (synthesised.root / "synth" / "fold_4" / "vivado" / "block_0.tcl").exists()


def test_results_are_kept_by_content(synthesised, monkeypatch):
    before = read_json(synthesised.synth, "synth")
    built = []

    def build(yosys, folder, sources, top):
        built.append(top)
        raise ToolError("built again")

    monkeypatch.setattr(step, "synthesise_fpga", build)
    assert synthesise_run(synthesised, RECIPE) == before
    assert built == []
    with pytest.raises(ToolError, match="built again"):
        synthesise_run(synthesised, RECIPE, fresh=True)
    source = fold_folder(synthesised, 4) / "block_0.sv"
    text = source.read_text()
    source.write_text(text + "// touched\n")
    with pytest.raises(ToolError, match="built again"):
        synthesise_run(synthesised, RECIPE)
    source.write_text(text)
    assert read_json(synthesised.synth, "synth") == before


def test_rtl_of_another_model_is_generated_anew(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    old = (fold_folder(run, 4) / "block_0_network.sv").read_text()
    store.save(store.load(make_run(tmp_path / "other", seed=1).frozen), run.frozen)
    seen = []

    def build(yosys, folder, sources, top):
        seen.append((folder / "block_0_network.sv").read_text())
        raise ToolError("far enough")

    monkeypatch.setattr(step, "fpga_yosys", lambda: Tool(("none",), "Yosys 0.70"))
    monkeypatch.setattr(step, "synthesise_fpga", build)
    with pytest.raises(ToolError, match="far enough"):
        synthesise_run(run, RECIPE)
    assert seen == [(fold_folder(run, 4) / "block_0_network.sv").read_text()] != [old]


def test_area_timing_and_power_in_standard_cells(tmp_path, liberty, monkeypatch):
    if native_yosys() is None or opensta() is None:
        pytest.skip("a native Yosys and OpenSTA are not both installed")
    monkeypatch.setattr(step, "fpga_yosys", lambda: None)
    result = synthesise_run(make_run(tmp_path), RECIPE, liberty=liberty)
    (target,) = result["targets"]
    (block,) = target["blocks"]
    assert (target["target"], target["clock_hz"]) == ("asic", 1e9)
    assert 1e-4 < block["area_mm2"] < 1
    assert block["cells"] > 100
    assert -100 < block["slack_ns"] < 1
    assert 1e-5 < block["power_w"] < 1
    assert "xcup" in {entry["target"] for entry in result["skipped"]}


def test_errors_of_the_design_are_reported(tmp_path):
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    (tmp_path / "broken.sv").write_text("module top (input logic a_i;\n")
    with pytest.raises(ToolError, match=r"Yosys .* failed with status 1: .*syntax error"):
        synthesise_fpga(yosys, tmp_path, ["broken.sv"], "top")


def test_a_tool_that_dies_silently_is_noticed(tmp_path):
    with pytest.raises(ToolError, match="left no netlist of top"):
        synthesise_fpga(Tool(("true",), "Yosys 0.0"), tmp_path, ["any.sv"], "top")
    with pytest.raises(ToolError, match="cannot start not-a-tool"):
        run_tool(Tool(("not-a-tool",), "Tool 1"), [], tmp_path, tmp_path / "log")
