"""The synthesis step with the real tools on a small block, and what it keeps, skips and refuses."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from frozen_blocks import random_rows
from lutra import settings
from lutra.accelerators.block import synthesise as step
from lutra.accelerators.block.emit import fold_folder, write_rtl
from lutra.accelerators.block.synthesise import synthesise_run
from lutra.errors import MismatchError, ToolError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.random_block import random_block
from lutra.recipes.language import HardwareConfig, Recipe
from lutra.runs.files import RunFiles, read_json
from lutra.runs.typed import read_evidence
from lutra.synth.tools.find import Tool, fpga_yosys, native_yosys, opensta, run_tool
from lutra.synth.tools.yosys import synthesise_fpga

MAPPED: dict[str, tuple] = {}
"""What `map_fpga` made of the block of the fixture `synthesised`."""
RECIPE = Recipe(name="small", hardware=HardwareConfig(fold_factors=(4,), synthesise_fold_factors=(4,)))


def make_run(root: Path, seed: int = 0) -> RunFiles:
    """A run with the RTL of one small block."""
    run = RunFiles(root)
    graph = random_block(
        np.random.default_rng(seed), width=6, thermometer_bits=2, luts=(12, 8), inputs=(6, 6), name="h.0.mlp"
    )
    store.save(FrozenModel((graph,)), run.frozen)
    write_rtl(run, RECIPE)
    return run


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory) -> RunFiles:
    if fpga_yosys() is None:
        pytest.skip("Yosys is not installed")
    run = make_run(tmp_path_factory.mktemp("run"))
    mapped = step.map_fpga

    def keep(*arguments):
        MAPPED["block_0"] = mapped(*arguments)
        return MAPPED["block_0"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "map_fpga", keep)
        patch.delenv(settings.LIBERTY.name, raising=False)
        synthesise_run(run, RECIPE)
    return run


@pytest.fixture(autouse=True)
def without_default_library(monkeypatch, request):
    """Only what a test gives counts; the variable of the tests is also the one of the step."""
    if "liberty" in request.fixturenames:
        request.getfixturevalue("liberty")
    monkeypatch.delenv(settings.LIBERTY.name, raising=False)


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
    before = read_evidence(synthesised, RECIPE, "synth")
    built = []

    def build(yosys, folder, sources, top):
        built.append(top)
        raise ToolError("built again")

    monkeypatch.setattr(step, "map_fpga", build)
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
    assert read_evidence(synthesised, RECIPE, "synth") == before


def test_rtl_of_another_model_is_generated_anew(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    old = (fold_folder(run, 4) / "block_0_network.sv").read_text()
    store.save(store.load(make_run(tmp_path / "other", seed=1).frozen), run.frozen)
    seen = []

    def build(yosys, folder, sources, top):
        seen.append((folder / "block_0_network.sv").read_text())
        raise ToolError("far enough")

    monkeypatch.setattr(step, "fpga_yosys", lambda: Tool(("none",), "Yosys 0.70"))
    monkeypatch.setattr(step, "map_fpga", build)
    with pytest.raises(ToolError, match="far enough"):
        synthesise_run(run, RECIPE)
    assert seen == [(fold_folder(run, 4) / "block_0_network.sv").read_text()] != [old]


def test_the_proof_of_tables_and_sums_is_recorded(synthesised):
    (target,) = read_json(synthesised.synth, "synth")["targets"]
    proof = target["blocks"][0]["proof"]
    assert proof["holds"] is True
    assert proof["luts"] > 0 and proof["assignments"] >= 64 * proof["luts"]
    assert proof["summation"]["outputs"] > 0


def test_a_netlist_with_a_wrong_table_fails_the_step_after_writing_the_evidence(tmp_path, synthesised, monkeypatch):
    run = make_run(tmp_path / "run")

    def with_a_wrong_table(yosys, folder, sources, top):
        use, netlist = copy.deepcopy(MAPPED[top])
        registers = set(netlist["netnames"]["bits_q"]["bits"])
        cells = netlist["cells"].values()
        taken = {c["connections"]["D"][0] for c in cells if c["connections"].get("Q", [None])[0] in registers}
        luts = (c for c in cells if c["type"].startswith("LUT") and c["connections"]["O"][0] in taken)
        parameters = next(luts)["parameters"]
        parameters["INIT"] = parameters["INIT"].translate(str.maketrans("01", "10"))
        return use, netlist

    monkeypatch.setattr(step, "map_fpga", with_a_wrong_table)
    with pytest.raises(MismatchError, match=r"synth, fold factor 4: block_0: bit \d+ of layer \d is"):
        synthesise_run(run, RECIPE)
    proof = read_json(run.synth, "synth")["targets"][0]["blocks"][0]["proof"]
    assert proof["holds"] is False
    with pytest.raises(MismatchError):  # a kept verdict fails the step as well
        synthesise_run(run, RECIPE)


@pytest.mark.slow
def test_area_timing_and_power_in_standard_cells(tmp_path, synthesised, liberty):
    if native_yosys() is None or opensta() is None:
        pytest.skip("a native Yosys and OpenSTA are not both installed")
    run = RunFiles(shutil.copytree(synthesised.root, tmp_path / "run"))
    graph = store.load(run.frozen).graphs[0]
    run.samples.write_bytes(save({graph.name: random_rows(np.random.default_rng(1), graph, 64).astype(np.int8)}))
    result = synthesise_run(run, RECIPE, liberty=liberty)
    _, plain, gated = result["targets"]
    assert [plain["target"], gated["target"]] == ["asic", "asic_gated"]
    assert [plain["clock_gating"], gated["clock_gating"]] == [False, True]
    for target in (plain, gated):
        (block,) = target["blocks"]
        assert target["clock_hz"] == 1e9
        assert 1e-4 < block["area_mm2"] < 1
        assert block["cells"] > 100
        assert -100 < block["slack_ns"] < 1
        for split in (block["power_uniform"], block["power_default"], block["power_measured"]):
            parts = split["internal_w"] + split["switching_w"] + split["leakage_w"]
            assert split["total_w"] == pytest.approx(parts, rel=1e-4)
            assert 1e-5 < split["total_w"] < 1
        assert block["power_w"] == block["power_uniform"]["total_w"]
        measured = block["power_measured"]
        assert 0.05 < measured["toggles_per_net_and_cycle"] < 0.6
        assert measured["energy_per_token_j"] == pytest.approx(measured["total_w"] * 2 / 1e9)  # 8 bits, 4 per cycle
    assert not {"asic", "asic_gated", "asic power from measured switching"} & {s["target"] for s in result["skipped"]}


def test_without_captured_rows_the_switching_is_not_measured(tmp_path, liberty, monkeypatch):
    monkeypatch.setattr(step, "_blocks", lambda *_: [])
    result = synthesise_run(make_run(tmp_path / "run"), RECIPE, liberty=liberty)
    reasons = {entry["target"]: entry["reason"] for entry in result["skipped"]}
    if native_yosys() is None:
        assert "native Yosys" in reasons["asic"]
    else:
        assert "lutra freeze" in reasons["asic power from measured switching"]


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
