"""Table 4 on the whole machine: from the records that come with Lutra, and from what the model gives today."""

from __future__ import annotations

import json

import pytest

from lutra.cost.machine_work import Work
from lutra.papers.experiments.machine import works_of
from lutra.papers.quweit.hardware import quweit_4
from lutra.papers.quweit.machine import projected_ratio, quweit_4_machine
from lutra.papers.quweit.machine_models import MODELS, SIZES
from lutra.papers.quweit.recorded_machine import (
    MACHINES,
    WORK,
    Energies,
    Point,
    element_leakage_w,
    overlapped_cycles,
    recorded_work,
    tree_designs,
    tree_leakage_w,
)
from lutra.papers.records import RECORDED, Records
from lutra.runs.files import write_json

SHIPPED = Records(RECORDED)


@pytest.fixture(scope="module")
def table():
    return quweit_4_machine(SHIPPED)


@pytest.fixture(scope="module")
def rows(table):
    return {row.quantity: row for row in table.rows}


def test_the_recorded_work_is_what_the_machine_does_today():
    recorded = recorded_work(SHIPPED)
    assert {(point.model, point.size) for point in recorded} == {(model, size) for model in MODELS for size in SIZES}
    overlapped = overlapped_cycles(SHIPPED)
    for entry in works_of("gpt-mini", 8):
        point = Point("gpt-mini", 8, entry["fold_factor"], entry["call"])
        assert recorded[point] == Work(**entry["work"]), f"{point}: run lutra table quweit-4-machine --fresh"
        assert overlapped[point] == entry["overlapped_cycles"] < recorded[point].cycles


def test_every_model_has_its_ratios_at_every_size(rows):
    for model in MODELS.values():
        for size in SIZES:
            assert rows[f"{model.label}, {size}x{size}, FPGA ratio"].ours > 1
    assert rows["I-ViT-T, 32x32, FPGA ratio"].paper == 2.2
    assert rows["nanoGPT-baby, 32x32, 45 nm ratio"].paper == 2.5
    assert rows["gpt-mini, 32x32, FPGA ratio"].paper is None
    assert "I-ViT-T, a token alone, 32x32, FPGA ratio" not in rows


def test_a_ratio_is_of_the_energies_that_stand_beside_it():
    energies = Energies(SHIPPED)
    dense = energies.of(Point("ivit-t", 32, None, "sequence"))
    best = energies.best("ivit-t", 32, "sequence")
    folds = [energies.of(Point("ivit-t", 32, fold, "sequence")) for fold in tree_designs(SHIPPED, "ivit-t")]
    assert best.fpga_j() == min(each.fpga_j() for each in folds if each is not None)
    assert best.fpga_j() < best.fpga_j(off_chip=True)
    whole = {row.quantity: row for row in quweit_4(SHIPPED).rows}
    row = whole["whole machine, I-ViT-T, 32x32, FPGA ratio"]
    assert row.ours == pytest.approx(dense.fpga_j() / best.fpga_j())
    assert row.projected == pytest.approx(projected_ratio("ivit-t", 32, "FPGA"))


def test_the_projection_is_the_papers_one_layer():
    assert projected_ratio("ivit-t", 32, "FPGA") == pytest.approx(2.29, abs=0.01)
    assert projected_ratio("gpt-baby", 32, "FPGA") == pytest.approx(2.5, abs=0.01)


def test_what_waits_leaks_in_our_own_figures():
    own = Energies(SHIPPED, own=True)
    parts = {part.name: part for part in own.of(Point("ivit-t", 32, 12, "sequence")).parts}
    work = own.work[Point("ivit-t", 32, 12, "sequence")]
    waits_s = 1e-9 * (12 * work.cycles - work.block_cycles)
    array_s = 1e-9 * (work.cycles - work.array_cycles)
    leaked = tree_leakage_w(SHIPPED, "ivit-t")[12] * waits_s + 1024 * element_leakage_w(SHIPPED) * array_s
    assert parts["leakage while waiting"].asic_energy_j == pytest.approx(leaked)
    assert parts["edge buffers"].asic_energy_j > 0
    assert parts["array"].fpga_energy_j == 0


def test_nothing_is_shown_of_what_is_not_recorded(tmp_path):
    assert quweit_4_machine(Records(tmp_path)).rows == ()
    work = json.loads(json.dumps({"work": Work(cycles=4, array_cycles=2).__dict__}))
    dense = {"fold_factor": None, "call": "sequence", "overlapped_cycles": 3, **work}
    target = {"model": "gpt-mini", "size": 8, "works": [dense]}
    write_json(tmp_path / "synth" / "work.json", {"design": WORK, "targets": [target]})
    assert quweit_4_machine(Records(tmp_path)).rows == ()


def test_the_column_of_projections_is_there_where_a_table_has_some(table):
    assert table.to_table().header[3] == "as the paper projects it"
    assert len({len(row) for row in table.to_table().rows} | {len(table.to_table().header)}) == 1
    assert "| as the paper projects it |" in table.to_markdown()


def test_built_machines_are_counted_up_with_their_blocks(tmp_path):
    use = {"lut_raw": 9, "lut_packed": 7, "ff": 5, "bram": 0.5, "dsp": 0, "carry4": 0, "carry8": 0}
    use |= {"muxf7": 0, "muxf8": 0, "muxf9": 0}
    modules = [
        {"name": name, "instances": n, "use": use} for name, n in (("lutra_systolic_pe", 64), ("lutra_memory", 2))
    ]
    targets = [
        {"model": "ivit-t", "ffn": ffn, "config": {"size": 8}, "modules": modules} for ffn in ("mlp", "weightless")
    ]
    write_json(tmp_path / "synth" / "built.json", {"design": MACHINES, "targets": targets})
    records = Records(tmp_path, RECORDED)
    found = {row.quantity: row for row in quweit_4_machine(records).rows}
    dense, blocks = (found[f"I-ViT-T, 8x8, {what}, LUTs packed"] for what in ("dense MLP", "blocks"))
    assert (dense.ours, dense.remark) == (66 * 7, f"array {64 * 7}, memories {2 * 7}")
    fold = Energies(records).best("ivit-t", 8, "sequence").point.fold_factor
    assert blocks.ours - dense.ours == 12 * tree_designs(records, "ivit-t")[fold].lut_packed
    assert found["I-ViT-T, 8x8, dense MLP, BRAMs"].ours == 33
