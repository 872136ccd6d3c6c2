"""The cost step on runs with and without the results of earlier steps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lutra.accelerators.block.schedule import schedule
from lutra.cost.layer import LEAVES_OUT
from lutra.cost.step import cost_run
from lutra.errors import FrozenModelError, RunDirectoryError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel, as_weightless
from lutra.frozen.random_block import random_block
from lutra.recipes.language import HardwareConfig, ModelConfig, Recipe
from lutra.runs.files import RunFiles, write_json
from lutra.runs.typed import read_evidence, write_evidence

RECIPE = Recipe(
    name="small",
    model=ModelConfig(layers=2, heads=2, width=16, context=32),
    hardware=HardwareConfig(fold_factors=(1, 4, "all")),
)
GRAPHS = ("transformer.h.0.mlp", "transformer.h.1.mlp")
NAMES = ("block_0", "block_1")


@pytest.fixture
def run(tmp_path) -> RunFiles:
    rng = np.random.default_rng(0)
    graphs = tuple(random_block(rng, width=16, luts=(64, 16), inputs=(6, 6), name=name) for name in GRAPHS)
    files = RunFiles(tmp_path)
    store.save(FrozenModel(graphs), files.frozen)
    return files


def simulation(frozen_hash: str) -> dict:
    compared = {"rows": 100, "mismatches": 0, "mismatches_with_stalls": 0}
    cycles = {"cycles_measured": 1607, "cycles_predicted": 1607}
    block = {"name": NAMES[0], **compared, **cycles, "interval_cycles": 16, "latency_cycles": 23, "steps": 16}
    return {
        "frozen_hash": frozen_hash,
        "simulator": "Verilator",
        "rows": 100,
        "mismatches": 0,
        "cycles_match": True,
        "designs": [{"fold_factor": 1, "blocks": [block]}],
    }


def synthesis(frozen_hash: str, luts: int) -> dict:
    blocks = [{"name": name, "lut_packed": luts, "ff": 9, "bram": 0, "dsp": 0} for name in NAMES]
    target = {"target": "xcup", "tool": "Yosys", "fold_factor": 1, "blocks": blocks}
    return {"frozen_hash": frozen_hash, "targets": [target]}


def test_costs_of_a_run(run):
    result = cost_run(run, RECIPE)
    assert read_evidence(run, RECIPE, "cost") == result
    rows = {(row["name"], row["fold_factor"]): row for row in result["blocks"]}
    assert rows.keys() == {(name, fold) for name in NAMES for fold in (1, 4, "all")}
    for (_, fold), row in rows.items():
        plan = schedule(as_weightless(store.load(run.frozen)[row["graph"]]), fold)
        assert row["cycles_per_token"] == plan.interval_cycles == (1 if fold == "all" else math.ceil(16 / fold))
        assert row["cycles_per_sequence"] == plan.cycles(32)
        assert row["fpga_energy_paper_power_j"] == pytest.approx(plan.cycles(32) * 0.15e-6 / 196)
        assert row["measured_cycles"] is None
        assert row["fpga_energy_interpolated_j"] is None
    ratios = [layer["fpga_ratio_paper_power"] for layer in result["layers"]]
    assert ratios == sorted(ratios)
    assert all(0 < ratio < layer["upper_limit_ratio"] for ratio, layer in zip(ratios, result["layers"], strict=True))
    assert result["dense_layer"]["mlp"]["steady_cycles"] == 2 * 16 + 64
    assert result["dense_layer"]["mlp"]["cycles"] > result["dense_layer"]["mlp"]["steady_cycles"]
    assert result["model"]["mlp_share_of_layer_macs"] == pytest.approx(8 * 16 / (12 * 16 + 2 * 32))
    assert result["leaves_out"] == list(LEAVES_OUT)
    assert "which holds for F = 1 at best" in result["energy_basis"]["fpga_paper_power"]


def test_measured_cycles_and_synthesised_luts_are_used(run):
    frozen_hash = store.content_hash(run.frozen)
    write_evidence(run, RECIPE, "simulate", simulation(frozen_hash))
    write_evidence(run, RECIPE, "synth", synthesis(frozen_hash, luts=1000))
    result = cost_run(run, RECIPE)
    rows = {(row["name"], row["fold_factor"]): row for row in result["blocks"]}
    first = rows[NAMES[0], 1]
    plan = schedule(as_weightless(store.load(run.frozen)[GRAPHS[0]]), 1)
    assert (first["measured_rows"], first["measured_cycles"]) == (100, 1607)
    assert first["predicted_cycles_of_measured_rows"] == plan.cycles(100)
    power_w = 0.123 + 1000 * 1.16e-6
    assert first["fpga_energy_interpolated_j"] == pytest.approx(plan.cycles(32) * power_w / 200e6)
    assert rows[NAMES[0], 4]["measured_cycles"] is None
    by_fold = {layer["fold_factor"]: layer for layer in result["layers"]}
    assert by_fold[1]["fpga_ratio_interpolated"] > by_fold[1]["fpga_ratio_paper_power"]
    assert by_fold[4]["fpga_ratio_interpolated"] is None


def test_energy_in_standard_cells_comes_from_measured_switching(run):
    def asic(target: str, watts: list[float | None]) -> dict:
        of_a_token = {"toggles_per_net_and_cycle": 0.2, "tokens": 9, "energy_per_token_j": 1e-9}
        parts = {"internal_w": 0.0, "switching_w": 0.0, "leakage_w": 0.0, **of_a_token}
        measured = [None if each is None else {"total_w": each, **parts} for each in watts]
        area = {"area_mm2": 0.1, "slack_ns": None, "power_w": None}
        blocks = [{"name": n, "power_measured": power, **area} for n, power in zip(NAMES, measured, strict=True)]
        gated = target == "asic_gated"
        flow = {"tool": "Yosys", "clock_hz": 0.5e9, "clock_gating": gated}
        return {"target": target, "fold_factor": 4, **flow, "blocks": blocks}

    targets = [asic("asic_gated", [0.02, None]), asic("asic", [0.03, 0.05])]
    content = {"frozen_hash": store.content_hash(run.frozen), "targets": targets}
    write_evidence(run, RECIPE, "synth", content)
    result = cost_run(run, RECIPE)
    rows = {(row["name"], row["fold_factor"]): row for row in result["blocks"]}
    cycles = rows[NAMES[0], 4]["cycles_per_sequence"]
    energies = [rows[name, 4]["asic_energy_measured_switching_j"] for name in NAMES]
    assert energies == pytest.approx([cycles * 0.02 / 0.5e9, cycles * 0.05 / 0.5e9])
    assert rows[NAMES[0], 1]["asic_energy_measured_switching_j"] is None
    assert "without wires" in result["energy_basis"]["asic_measured_switching"]


def test_results_of_another_frozen_model_are_left_out(run, caplog):
    write_evidence(run, RECIPE, "simulate", simulation("a0"))
    write_evidence(run, RECIPE, "synth", synthesis("a0", luts=1000))
    result = cost_run(run, RECIPE)
    assert all(row["measured_cycles"] is None for row in result["blocks"])
    assert "made from another frozen model" in caplog.text


def test_every_quantity_names_its_unit(run):
    result = cost_run(run, RECIPE)
    without_unit = {"name", "graph", "fold_factor"}
    for row in result["blocks"]:
        for key in row.keys() - without_unit:
            assert any(word in key for word in ("cycles", "_j", "rows")), key


def test_damaged_results_and_missing_models_are_named(run, tmp_path):
    write_json(run.simulate, {"frozen_hash": store.content_hash(run.frozen), "designs": [{}]})
    with pytest.raises(
        RunDirectoryError, match=r"simulate\.json: simulator: field required; run `lutra simulate` again"
    ):
        cost_run(run, RECIPE)
    with pytest.raises(FrozenModelError, match="run `lutra freeze` first"):
        cost_run(RunFiles(tmp_path / "empty"), RECIPE)
