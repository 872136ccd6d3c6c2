"""Energy of whole models: parts that are counted by hand, and ratios that stay below their limit."""

from __future__ import annotations

import dataclasses

import pytest

from lutra.cost import layer as one_layer
from lutra.cost.shapes import preset, vision_shape
from lutra.cost.systolic import systolic_array
from lutra.cost.whole_model import block_parts, dense_parts, ratio, total
from lutra.cost.workload import TransformerShape, workload
from lutra.papers.quweit.whole_model import quweit_4_model
from lutra.papers.records import Records

ARRAY = systolic_array(32)
IVIT_T = vision_shape("I-ViT-T", 192, 3, classes=10)
TINY = TransformerShape("tiny", layers=3, width=8, heads=2, tokens=40, hidden=20, norms_outside=1)


def energies_of(shape):
    return {part.name: part for part in dense_parts(shape, ARRAY)}


def test_products_are_those_of_the_layers():
    layer, parts = one_layer.layer_cost(IVIT_T, ARRAY), energies_of(IVIT_T)
    for name, costs in (("attention, products", layer.attention), ("MLP, products", layer.mlp)):
        assert parts[name].fpga_energy_j == pytest.approx(12 * one_layer.total(costs, "fpga_energy_j"))
        assert parts[name].asic_energy_j == pytest.approx(12 * one_layer.total(costs, "asic_energy_j"))
    # Patches: 7 x 6 tiles of 768 terms; head: one tile of 192.
    cycles = 7 * 6 * 768 + 192
    around = parts["patch embedding and head, products"]
    assert around.asic_energy_j == pytest.approx(cycles * ARRAY.asic_j_per_cycle)


@pytest.mark.parametrize(
    ("name", "additions", "multiplications"),
    [
        ("softmax", 3 * 2 * 40 * (40 * 8 + 31), 3 * 2 * 40 * 40 * 3),
        ("GELU", 3 * 40 * (20 * (3 + 5 + 31 + 1) + 5), 3 * 40 * (20 * (2 + 2 + 1) + 2)),
        ("LayerNorm", 7 * 40 * (8 * 5 + 10 * 32 + 31), 7 * 40 * 8 * 3),
        ("residual sums", 2 * 3 * 40 * 8 * 3, 2 * 3 * 40 * 8 * 2),
        ("requantisation", 3 * 40 * (24 + 2 * 40 + 8 + 8), 3 * 40 * (24 + 2 * 40 + 8 + 8)),
        ("requantisation, MLP", 3 * 40 * (20 + 8), 3 * 40 * (20 + 8)),
    ],
)
def test_operations_by_hand(name, additions, multiplications):
    part = energies_of(TINY)[name]
    assert part.asic_energy_j == pytest.approx(additions * 0.1e-12 + multiplications * 3.1e-12)
    assert part.fpga_energy_j / part.asic_energy_j == pytest.approx(188.69 / 16.12)


def test_traffic_by_hand():
    parts = energies_of(TINY)
    # 40 rows are two rows of tiles, so that the weights cross twice.
    mlp_bytes = 3 * (40 * 8 + 2 * 8 * 20 + 40 * 20 + 40 * 20 + 2 * 20 * 8 + 40 * 8)
    assert parts["on-chip buffers, MLP"].asic_energy_j == pytest.approx(mlp_bytes / 8 * 20e-12)
    mlp_weights = 3 * (2 * 8 * 20 + 4 * (20 + 8))
    assert parts["off-chip weights, MLP"].fpga_energy_j == pytest.approx(mlp_weights / 8 * 1.3e-9)


def test_off_chip_bytes_are_all_parameters_and_the_image():

    parts = energies_of(IVIT_T)
    fetched = sum(part.asic_energy_j for part in parts.values() if part.off_chip) / 1.3e-9 * 8
    model = workload(IVIT_T)
    assert fetched == pytest.approx(model.weights() + 4 * (model.parameters() - model.weights()) + 3 * 224**2)


@pytest.mark.parametrize("shape", [IVIT_T, preset("gpt-baby")], ids=lambda shape: shape.name)
@pytest.mark.parametrize("off_chip", [True, False])
def test_ratios_rise_with_the_fold_factor_up_to_their_limit(shape, off_chip):
    dense = dense_parts(shape, ARRAY)
    ratios = [ratio(dense, block_parts(shape, ARRAY, fold), off_chip) for fold in (1, 4, 8, 16, "all")]
    limit = ratio(dense, (), off_chip)
    for kind in ("fpga", "asic"):
        values = [getattr(each, kind) for each in ratios]
        assert values == sorted(values) and values[-1] < getattr(limit, kind)
        counted = [part for part in dense if off_chip or not part.off_chip]
        share = getattr(total(part for part in counted if part.mlp), f"{kind}_energy_j")
        share /= getattr(total(counted), f"{kind}_energy_j")
        assert getattr(limit, kind) == pytest.approx(1 / (1 - share))


def test_blocks_at_fold_1_by_hand():
    block, buffers = block_parts(IVIT_T, ARRAY, 1)
    assert block.fpga_energy_j == pytest.approx(12 * 197 * 192 * 0.15e-6 / 196)
    assert buffers.asic_energy_j == pytest.approx(12 * 197 * 192 * 3 / 8 * 20e-12)
    (wide, _) = block_parts(dataclasses.replace(IVIT_T, width=384), ARRAY, "all")
    assert wide.fpga_energy_j == pytest.approx(12 * 197 * 2 * 0.15e-6 / 196)


def test_the_table_counts_one_block_per_layer(tmp_path):
    rows = {row.quantity: row for row in quweit_4_model(Records(tmp_path)).rows}
    assert rows["I-ViT-T, all blocks, LUTs"].ours == 12 * 23_984
    assert rows["I-ViT-T, as printed, FPGA ratio"].paper == 2.2
    assert rows["nanoGPT-baby, as printed, ASIC ratio"].ours < rows["nanoGPT-baby, upper limit, ASIC ratio"].ours
