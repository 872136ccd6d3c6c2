"""Blocks of ours whose synthesis is recorded: their cycles, power, energy and recovery."""

from __future__ import annotations

import pytest

from fabricated_run import exploration, spread
from lutra.errors import InputError
from lutra.papers.catalogue import table
from lutra.papers.recorded_designs import recorded_designs
from lutra.papers.records import Records
from lutra.runs.files import write_json

TARGET = {
    "dataflow": "tree",
    "shape": "8D-in-8-groups",
    "fold_factor": 12,
    "cycles_per_token": 16,
    "latency_cycles": 38,
    "total": {"lut_raw": 29000, "lut_packed": 20000, "ff": 5000, "bram": 0.0},
}


@pytest.fixture
def results(tmp_path):
    write_json(tmp_path / "synth" / "designs.json", {"design": "weightless-designs-ivit-t", "targets": [TARGET]})
    return tmp_path


def test_energy_is_cycles_times_the_power_of_its_own_luts(results):
    (design,) = recorded_designs(Records(results), tokens=196)
    assert design.cycles_per_sequence == 195 * 16 + 38
    assert design.power_w == pytest.approx(0.123 + 20000 * 1.16e-6)
    assert design.energy_j == pytest.approx(design.power_w * (195 * 16 + 38) / 200e6)
    assert design.recovery is None


def test_recovery_comes_from_the_exploration_of_the_same_shape(results):
    variants = [{"variant": "another", "recovery": None, "loss": None}]
    variants.append({"variant": "8D-in-8-groups", "recovery": spread(0.83), "loss": None})
    write_json(results / "explore" / "gpt-mini-recovery.json", exploration(variants=variants))
    (design,) = recorded_designs(Records(results), tokens=196)
    assert design.recovery == 0.83
    write_json(results / "explore" / "gpt-mini-recovery.json", exploration(variants=[{}]))
    with pytest.raises(InputError, match=r"variants\.0\.variant: field required"):
        recorded_designs(Records(results), tokens=196)


def test_table_4_ends_with_the_recorded_designs(results):
    rows = {row.quantity: row for row in table("quweit-4", Records(results)).rows}
    row = rows["8D-in-8-groups, tree, F = 12, FPGA ratio"]
    # 334.63 uJ against 145.94 uJ of attention and 2.31 uJ of the block
    assert row.ours == pytest.approx(334.63 / (145.94 + 2.31), abs=2e-3)
    assert row.remark.startswith("3,158 cycles, 20,000 LUTs packed (29,000 raw), 5,000 FF, 146 mW")


def test_table_4_has_a_block_that_is_not_free_for_nanogpt_baby(tmp_path):
    write_json(tmp_path / "synth" / "baby.json", {"design": "weightless-designs-gpt-baby", "targets": [TARGET]})
    rows = {row.quantity: row for row in table("quweit-4", Records(tmp_path)).rows}
    assert rows["nanoGPT-baby, FPGA ratio"].ours == pytest.approx(2.5)
    energy_uj = (255 * 16 + 38) / 200e6 * (0.123 + 20000 * 1.16e-6) * 1e6
    row = rows["nanoGPT-baby, 8D-in-8-groups, tree, F = 12, FPGA ratio"]
    # 862.58 uJ of the MLP and 575.06 uJ of attention
    assert row.ours == pytest.approx((575.06 + 862.58) / (575.06 + energy_uj), abs=2e-3)
    assert "8D-in-8-groups, tree, F = 12, FPGA ratio" not in rows
