"""The systolic baseline and one layer end to end: Table 3's cycles, Table 4 rebuilt, the paper's ratios."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.cost.layer import end_to_end, layer_cost, total
from lutra.cost.shapes import preset
from lutra.cost.systolic import Gemm, attention_gemms, mlp_gemms, systolic_array
from lutra.cost.weightless import accumulation_cycles, fitted_fpga_energy, paper_asic_energy, paper_fpga_energy
from lutra.cost.workload import TransformerShape, workload
from lutra.errors import InputError

IVIT_T = dataclasses.replace(preset("deit-t"), tokens=196)


@pytest.mark.parametrize(("size", "cycles"), [(8, 921_600), (16, 239_616), (32, 64_512), (64, 18_432)])
def test_cycles_of_table_3(size, cycles):
    for tokens in (196, 197):
        shape = dataclasses.replace(IVIT_T, tokens=tokens)
        assert sum(gemm.steady_cycles(size) for gemm in mlp_gemms(shape)) == cycles


@pytest.mark.parametrize(
    ("size", "fpga_nj", "asic_nj"),
    [(8, 0.635, 0.0570), (16, 1.365, 0.1176), (32, 2.925, 0.2499), (64, 7.345, 0.5610)],
)
def test_energy_per_cycle_of_table_3(size, fpga_nj, asic_nj):
    array = systolic_array(size)
    assert array.fpga_j_per_cycle * 1e9 == pytest.approx(fpga_nj, abs=6e-4)
    assert array.asic_j_per_cycle * 1e9 == pytest.approx(asic_nj, abs=6e-5)


def test_rows_of_table_4():
    layer = layer_cost(IVIT_T, systolic_array(32))
    rows = {cost.gemm.name: cost for cost in layer.attention + layer.mlp}
    expected = {
        "QKV": (24_192, 70.76, 6.045),
        "QK^T": (9_408, 27.52, 2.351),
        "softmax V": (8_232, 24.08, 2.057),
        "projection": (8_064, 23.59, 2.015),
        "MLP 1": (32_256, 94.34, 8.060),
        "MLP 2": (32_256, 94.34, 8.060),
    }
    for name, (cycles, fpga_uj, asic_uj) in expected.items():
        assert rows[name].steady_cycles == cycles
        assert rows[name].fpga_energy_j * 1e6 == pytest.approx(fpga_uj, abs=0.006)
        assert rows[name].asic_energy_j * 1e6 == pytest.approx(asic_uj, abs=6e-4)
    assert rows.keys() == expected.keys()
    assert total(layer.attention, "steady_cycles") == 49_896
    assert total(layer.attention, "fpga_energy_j") * 1e6 == pytest.approx(145.94, abs=0.006)
    assert total(layer.attention, "asic_energy_j") * 1e6 == pytest.approx(12.468, abs=6e-4)
    assert total(layer.attention + layer.mlp, "fpga_energy_j") * 1e6 == pytest.approx(334.63, abs=0.006)
    assert total(layer.attention + layer.mlp, "asic_energy_j") * 1e6 == pytest.approx(28.588, abs=6e-4)


def test_the_class_token_changes_only_softmax_v():
    with_token, without = (layer_cost(dataclasses.replace(IVIT_T, tokens=n), systolic_array(32)) for n in (197, 196))
    changed = {
        after.gemm.name: after.steady_cycles
        for before, after in zip(without.attention + without.mlp, with_token.attention + with_token.mlp, strict=True)
        if before.steady_cycles != after.steady_cycles
    }
    assert changed == {"softmax V": 8_274}


@pytest.mark.parametrize(
    ("label", "cycles_per_token", "block_uj", "fpga_ratio"),
    [("as printed", 1, 0.15, 2.291), ("F = 8", 24, 3.6, 2.24), ("F = 4", 48, 7.2, 2.19), ("F = 1", 192, 28.8, 1.915)],
)
def test_end_to_end_ratios_of_ivit_t(label, cycles_per_token, block_uj, fpga_ratio):
    layer = layer_cost(IVIT_T, systolic_array(32))
    result = end_to_end(layer, label, 196 * cycles_per_token, paper_fpga_energy(), paper_asic_energy())
    assert result.block_fpga_energy_j * 1e6 == pytest.approx(block_uj, abs=0.05)
    assert result.fpga_ratio == pytest.approx(fpga_ratio, abs=0.005)
    assert result.fpga_ratio < layer.upper_limit == pytest.approx(2.293, abs=5e-4)
    if cycles_per_token == 1:
        assert result.asic_ratio == pytest.approx(2.293, abs=5e-4)


def test_gpt_baby_reaches_2_5_with_a_free_block():
    layer = layer_cost(preset("gpt-baby"), systolic_array(32))
    assert [cost.steady_cycles for cost in layer.attention] == [110_592, 24_576, 24_576, 36_864]
    assert total(layer.attention, "steady_cycles") == 196_608
    assert total(layer.mlp, "steady_cycles") == 294_912
    assert total(layer.attention, "fpga_energy_j") * 1e6 == pytest.approx(575.06, abs=0.01)
    assert total(layer.mlp, "fpga_energy_j") * 1e6 == pytest.approx(862.58, abs=0.01)
    assert layer.upper_limit == pytest.approx(2.5)
    assert layer.fpga_ratio(0.0) == pytest.approx(2.5)


def test_accumulation_cycles():
    assert [accumulation_cycles(192, fold) for fold in (1, 4, 8, 16, 5, "all")] == [192, 48, 24, 12, 39, 1]


def test_power_of_the_papers_block_and_the_fit_of_its_five_points():
    assert paper_fpga_energy().j_per_cycle * 200e6 == pytest.approx(0.153, abs=5e-4)
    assert paper_asic_energy().j_per_cycle * 1e9 == pytest.approx(0.0051, abs=5e-5)
    points = [(7792, 0, 0.127), (25266, 3, 0.273), (94619, 11, 0.585), (370939, 27, 1.469), (23984, 0, 0.153)]
    for luts, brams, power_w in points:
        assert fitted_fpga_energy(luts, brams).j_per_cycle * 200e6 == pytest.approx(power_w, rel=0.07)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.integers(1, 12), st.sampled_from([8, 32]))
def test_true_cycles_cover_work_and_steady_state(rows, inner, columns, count, size):
    gemm = Gemm("any", rows, inner, columns, count)
    macs = rows * inner * columns * count
    assert macs <= gemm.steady_cycles(size) * size**2
    ends = count * (inner + 2 * size + 3)
    assert gemm.cycles(size) >= gemm.steady_cycles(size) + ends
    if inner >= size:  # operands load and results leave behind the computation: only beginning and end add cycles
        assert gemm.cycles(size) == gemm.steady_cycles(size) + ends


def test_true_cycles_of_one_tile_by_hand():
    # 4 x 4 array, 4 x 10 times 10 x 4: 10 to load, 10 to compute, 4 for the last wavefront, 4 for the rows of results,
    # 3 between them.
    assert Gemm("one tile", 4, 10, 4).cycles(4) == 10 + 10 + 4 + 4 + 3
    # Two tiles of 2 steps each hold the array for 4 cycles each, because their results leave one row per cycle.
    assert Gemm("short", 4, 2, 8).cycles(4) == 2 + 2 * 4 + 4 + 4 + 3
    # A single output lane, 16 beats per tile, holds up tiles of 10 steps.
    assert Gemm("two tiles", 8, 10, 4).cycles(4, output_lanes=1) == 10 + 10 + 2 * 16 + 4 + 3


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 40), st.integers(1, 50), st.booleans())
def test_gemms_do_the_macs_that_the_workload_counts(kv_heads, groups, head_width, tokens, gated):
    shape = TransformerShape(
        "any", 3, 24, kv_heads * groups, tokens, hidden=60, gated=gated, kv_heads=kv_heads, head_width=head_width
    )
    gemms = attention_gemms(shape) + mlp_gemms(shape)
    macs = sum(gemm.rows * gemm.inner * gemm.columns * gemm.count for gemm in gemms)
    assert shape.layers * macs == workload(shape).macs_per_sequence(("attention", "mlp"))


def test_an_array_that_the_paper_did_not_measure_is_named():
    with pytest.raises(InputError, match="no systolic array of size 20; there are 8, 16, 32, 64"):
        systolic_array(20)
