"""QuWeiT Table 4 for whole models: each part of the energy of I-ViT-T and nanoGPT-baby, and the ratios."""

from __future__ import annotations

import dataclasses

from lutra.accelerators.block.schedule import FoldFactor
from lutra.cost.shapes import preset, vision_shape
from lutra.cost.systolic import SystolicArray, systolic_array
from lutra.cost.technology import quweit_paper
from lutra.cost.whole_model import PAPER_BLOCK_WIDTH, block_parts, dense_parts, ratio, total
from lutra.cost.workload import TransformerShape
from lutra.papers.records import Records
from lutra.papers.table import PaperTable, Row

FOLDS: tuple[tuple[str, FoldFactor], ...] = (
    ("as printed", "all"),
    ("F = 1", 1),
    ("F = 4", 4),
    ("F = 8", 8),
    ("F = 16", 16),
)
PAPER_RATIOS = {"I-ViT-T": 2.2, "nanoGPT-baby": 2.5}
"""Of one layer, with a block of no more than one cycle per token."""


def quweit_4_model(records: Records) -> PaperTable:
    """Whole models on a 32 x 32 array, dense and with weightless blocks."""
    array = systolic_array(32)
    shapes = (vision_shape("I-ViT-T", 192, 3, classes=10), dataclasses.replace(preset("gpt-baby"), name="nanoGPT-baby"))
    notes = (
        "One sequence: 197 tokens of an image with CIFAR's 10 classes; 256 characters with a head for each.",
        "Products: steady cycles and the energy per cycle of Table 3. Softmax, GELU, LayerNorm, residual sums and "
        "requantisation: I-ViT's integer formulas in 32-bit operations.",
        "Buffers: what our array reads and writes, in banks of 32 KB. Off chip: every weight once per sequence at the "
        "lower end of DRAM's energy; the blocks' tables and encoded values are logic.",
        "Operations and memory: Horowitz, ISSCC 2014, 45 nm. On the FPGA operations cost as many times more as the "
        "array does; block RAM is charged as in 45 nm.",
        "Blocks: the paper's 153 mW and 5.1 mW, in proportion to the width, though a block's stored values grow with "
        "its square; rows with F > 1 are optimistic.",
        "Left out: leakage and clock of idle logic, that is of all blocks but one at any time; fill and drain of the "
        "array; the saving of a causal mask.",
    )
    rows = [row for shape in shapes for row in _model_rows(shape, array)]
    return PaperTable("quweit-4-model", "QuWeiT Table 4 for whole models on a 32x32 array", tuple(rows), notes)


def _model_rows(shape: TransformerShape, array: SystolicArray) -> list[Row]:
    dense, name = dense_parts(shape, array), shape.name
    whole, mlp = total(dense), total(part for part in dense if part.mlp)
    rows = []
    for part in dense:
        rows.append(Row(f"{name}, {part.name}, FPGA energy", "uJ", None, 1e6 * part.fpga_energy_j))
        rows.append(Row(f"{name}, {part.name}, ASIC energy", "uJ", None, 1e6 * part.asic_energy_j))
    rows.append(Row(f"{name}, baseline, FPGA energy", "uJ", None, 1e6 * whole.fpga_energy_j))
    rows.append(Row(f"{name}, baseline, ASIC energy", "uJ", None, 1e6 * whole.asic_energy_j))
    for label, fold in FOLDS:
        blocks = block_parts(shape, array, fold)
        paper = PAPER_RATIOS[name] if fold == "all" else None
        all_parts, on_chip = ratio(dense, blocks), ratio(dense, blocks, off_chip=False)
        for kind in ("FPGA", "ASIC"):
            value, without = getattr(all_parts, kind.lower()), getattr(on_chip, kind.lower())
            of_layer = "; the paper's is of one layer" if paper else ""
            remark = f"{without:.3f}x without off-chip traffic{of_layer}"
            rows.append(Row(f"{name}, {label}, {kind} ratio", "x", paper, value, remark))
    limit, limit_on_chip = ratio(dense, ()), ratio(dense, (), off_chip=False)
    for kind in ("FPGA", "ASIC"):
        share = getattr(mlp, f"{kind.lower()}_energy_j") / getattr(whole, f"{kind.lower()}_energy_j")
        remark = f"{getattr(limit_on_chip, kind.lower()):.3f}x without off-chip traffic; MLP share {100 * share:.1f} %"
        rows.append(Row(f"{name}, upper limit, {kind} ratio", "x", None, getattr(limit, kind.lower()), remark))
    return rows + _hardware_rows(shape)


def _hardware_rows(shape: TransformerShape) -> list[Row]:
    """One block per layer beside the one array, in the paper's figures."""
    technology, wider = quweit_paper(), shape.width / PAPER_BLOCK_WIDTH
    remark = f"{shape.layers} blocks, each {wider:g} times Table 3's; the array {{}}"
    luts = shape.layers * wider * technology["weightless_block", "luts"]
    area_mm2 = shape.layers * wider * technology["weightless_block", "area_mm2"]
    array_luts, array_area_mm2 = technology["systolic_32", "luts"], technology["systolic_32", "area_mm2"]
    return [
        Row(f"{shape.name}, all blocks, LUTs", "LUT", None, luts, remark.format(f"{array_luts:,.0f}")),
        Row(f"{shape.name}, all blocks, area", "mm2", None, area_mm2, remark.format(f"{array_area_mm2} mm2")),
    ]
