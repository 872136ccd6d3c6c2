"""QuWeiT's tables of weights and hardware (1, 3, 4) rebuilt, with a word where the paper is inconsistent."""

from __future__ import annotations

import dataclasses
from typing import Any

from lutra.accelerators.block.schedule import FoldFactor
from lutra.accelerators.systolic.array import (
    ActivationConfig,
    SystolicConfig,
    activation_cycles,
    sufficient_output_lanes,
)
from lutra.cost.layer import LEAVES_OUT, EndToEnd, LayerCost, end_to_end, layer_cost, total
from lutra.cost.shapes import preset
from lutra.cost.systolic import mlp_gemms, systolic_array
from lutra.cost.technology import Technology, quweit_paper
from lutra.cost.weightless import (
    FITTED_POWER_LABEL,
    PAPER_POWER_LABEL,
    accumulation_cycles,
    paper_asic_energy,
    paper_fpga_energy,
)
from lutra.cost.workload import ENCODER, TransformerShape, Workload, workload
from lutra.papers.quweit.machine import headline_rows
from lutra.papers.quweit.recorded_asic import (
    BUFFERED_OPERANDS,
    PAPER_SHAPE,
    AsicArray,
    AsicBlock,
    recorded_array,
    recorded_blocks,
)
from lutra.papers.quweit.sums import summed_rows
from lutra.papers.recorded_designs import recorded, recorded_designs
from lutra.papers.records import Records
from lutra.papers.table import PaperTable, Row

RECORDED_BLOCK, RECORDED_ARRAYS, RECORDED_GELUS = "weightless-ivit-t", "systolic-ivit-t", "shiftgelu-ivit-t"
"""The `design` of the records of syntheses of Table 3's block, its systolic arrays and their ShiftGELU."""
FOLD_FACTORS: tuple[FoldFactor, ...] = (1, 4, 8, 16, "all")
SUMMED_BITS = 192
"""Second-layer LUTs of the paper's block for I-ViT-T."""


def quweit_1(records: Records) -> PaperTable:
    shape = preset("gpt3-4096")
    model, real = workload(shape), workload(preset("gpt3"))
    printed = {  # part: (parameters, MACs per token)
        "QKV": (43_486_543_872, 43_486_543_872),
        "QK^T": (None, 4_831_838_208),
        "softmax V": (None, 4_831_838_208),
        "projection": (14_495_514_624, 14_495_514_624),
        "MLP 1": (57_982_058_496, 57_982_058_496),
        "MLP 2": (57_982_058_496, 57_982_058_496),
    }
    rows = []
    for name, (parameters, macs) in printed.items():
        if parameters is not None:
            rows.append(Row(f"{name}, weights", "", parameters, model[name].weights))
        ours, real_macs = _macs_per_token(model, name), _macs_per_token(real, name)
        remark = f"{real_macs:,} with GPT-3's real context of 2048" if real_macs != ours else ""
        rows.append(Row(f"{name}, MACs per token", "", macs, ours, remark))
    share, real_share = (100 * each.mlp_share_of_macs(ENCODER) for each in (model, real))
    rows.append(Row("MLP share of MACs", "%", None, share, f"{real_share:.1f} % with the real context of 2048"))
    notes = (
        "GPT-3's context is 2048; the paper takes 4096.",
        "Attention is counted in full; biases, normalisations, embeddings and the head are left out.",
    )
    return PaperTable("quweit-1", "QuWeiT Table 1: weights and MACs of GPT-3 175B", tuple(rows), notes)


def _macs_per_token(model: Workload, part: str) -> int:
    return model[part].macs_per_sequence // model.shape.tokens


def quweit_3(records: Records) -> PaperTable:
    technology = quweit_paper()
    rows: list[Row] = []
    arrays = recorded(records, RECORDED_ARRAYS, lambda target: (target["size"], target))
    gelus = recorded(records, RECORDED_GELUS, lambda target: (target["size"], target))
    for size in (8, 16, 32, 64):
        rows += _systolic_rows(size, technology, arrays.get(size), recorded_array(records, size))
        if size in gelus:
            rows += _gelu_rows(size, gelus[size], arrays.get(size))
    rows += _block_rows(recorded(records, RECORDED_BLOCK, _block_at_fold_1), technology)
    rows += _asic_block_rows(recorded_blocks(records, _ivit_t().tokens), technology)
    rows += summed_rows(records)
    notes = (
        "Arrays of ours: 32-bit sums, buffers for K = 1024 in BRAM, one requantiser per output lane; the paper "
        "describes neither its buffers nor what its arrays do with the sums.",
        "ShiftGELU: a row of tiles is stored twice, because a row's sigmoids need its largest element; a pipelined "
        "division per lane. The paper leaves it out.",
        "LUTs print with inconsistent thousands separators in the paper: 7.792 is 7,792.",
        "The block's LUTs and area fit serial summation (F = 1), its 196 cycles need one token per cycle: at least 6 "
        "times the LUTs.",
        f"FPGA energy of ours: the summation's cycles at F = 1 and {PAPER_POWER_LABEL}.",
        "ASIC, ours: 45 nm at 1 GHz, without wires and clock tree; power from switching counted on real operands and "
        "rows. Arrays are counted up from pipelined elements, selectors and edges, without memories and requantisers.",
        "The 900x and 10,000x of the paper compare with the 64x64 array; the second rests on one significant digit.",
    )
    return PaperTable("quweit-3", "QuWeiT Table 3: the MLP of I-ViT-T, 196 tokens", tuple(rows), notes)


def _systolic_rows(
    size: int, technology: Technology, recorded: dict[str, Any] | None, asic: AsicArray | None
) -> list[Row]:
    section, name = f"systolic_{size}", f"{size}x{size} systolic"
    gemms = mlp_gemms(_ivit_t())
    steady = sum(gemm.steady_cycles(size) for gemm in gemms)
    lanes = sufficient_output_lanes(size, min(gemm.inner for gemm in gemms))
    real = sum(gemm.cycles(size, lanes) for gemm in gemms)
    use: dict[str, Any] = recorded["total"] if recorded else {}
    remark = (
        f"{recorded['without_requantisers']['lut_raw']:,} without requantisers; {recorded['tool']}" if recorded else ""
    )
    return [
        Row(f"{name}, cycles", "cycles", technology[section, "mlp_cycles"], steady, f"{real:,} with fill, drain, load"),
        Row(f"{name}, LUTs", "LUT", technology[section, "luts"], use.get("lut_raw"), remark),
        Row(f"{name}, flip-flops", "FF", technology[section, "flip_flops"], use.get("ff")),
        Row(f"{name}, BRAMs", "BRAM", technology[section, "brams"], use.get("bram")),
        Row(f"{name}, FPGA energy", "uJ", 1e6 * technology[section, "fpga_mlp_energy_j"], None),
        *_asic_array_rows(name, technology, section, steady, asic),
    ]


def _asic_array_rows(
    name: str, technology: Technology, section: str, cycles: int, array: AsicArray | None
) -> list[Row]:
    area_mm2, energy_uj = technology[section, "area_mm2"], 1e6 * technology[section, "asic_mlp_energy_j"]
    if array is None:
        return [Row(f"{name}, ASIC area", "mm2", area_mm2, None), Row(f"{name}, ASIC energy", "uJ", energy_uj, None)]
    whole_mm2 = array.area_mm2 + array.buffer_area_mm2
    buffers = f"{whole_mm2:.2f} mm2 with {BUFFERED_OPERANDS} operands of flip-flops per edge lane"
    return [
        Row(f"{name}, ASIC area", "mm2", area_mm2, array.area_mm2, buffers),
        Row(f"{name}, ASIC slack", "ns", None, array.slack_ns, "at 1 GHz, elements pipelined"),
        Row(f"{name}, ASIC energy", "uJ", energy_uj, 1e6 * array.energy_j(cycles), f"{1e3 * array.power_w:.0f} mW"),
    ]


def _gelu_rows(size: int, recorded: dict[str, Any], array: dict[str, Any] | None) -> list[Row]:
    """What the activation between the products adds to an array that keeps its pace."""
    use, name = recorded["total"], f"{size}x{size} systolic, ShiftGELU"
    first, second = mlp_gemms(_ivit_t())
    lanes = recorded["output_lanes"]
    config = SystolicConfig(size, 1 << (second.inner - 1).bit_length(), lanes)
    fields = ("unit", "shift", "multiplier", "multiplier_shift", "max_tiles")
    later = activation_cycles(ActivationConfig(**{field: recorded[field] for field in fields}), first.columns, config)
    whole = f"{use['lut_raw'] + array['total']['lut_raw']:,} with the array; " if array else ""
    cycles = sum(gemm.cycles(size, lanes) for gemm in (first, second)) + later
    lanes_text = f"{lanes} lane{'s' if lanes > 1 else ''}"
    return [
        Row(f"{name}, cycles", "cycles", None, later, f"beside the products, {cycles:,} with them"),
        Row(f"{name}, LUTs", "LUT", None, use["lut_raw"], f"{lanes_text}; {whole}{recorded['tool']}"),
        Row(f"{name}, flip-flops", "FF", None, use["ff"]),
        Row(f"{name}, BRAMs", "BRAM", None, use["bram"]),
    ]


def _block_rows(recorded: dict[str, dict[str, Any]], technology: Technology) -> list[Row]:
    section, tokens = "weightless_block", _ivit_t().tokens
    cycles = tokens * accumulation_cycles(SUMMED_BITS, 1)
    fpga, tool = recorded.get("xcup", {}), ""
    if fpga:
        tool = f"F = 1, {fpga['tool']}"
    fpga_uj = 1e6 * cycles * paper_fpga_energy(technology).j_per_cycle
    packed = fpga.get("lut_packed")
    remark = f"{packed:,} packed; {tool}" if packed is not None else ""
    return [
        Row("QuWeiT block, cycles", "cycles", technology[section, "cycles"], cycles, "F = 1: 192 cycles per token"),
        Row("QuWeiT block, LUTs", "LUT", technology[section, "luts"], fpga.get("lut_raw"), remark),
        Row("QuWeiT block, flip-flops", "FF", technology[section, "flip_flops"], fpga.get("ff"), tool),
        Row("QuWeiT block, BRAMs", "BRAM", technology[section, "brams"], fpga.get("bram")),
        Row("QuWeiT block, FPGA energy", "uJ", 1e6 * technology[section, "fpga_energy_j"], fpga_uj, "F = 1"),
    ]


def _asic_block_rows(blocks: list[AsicBlock], technology: Technology) -> list[Row]:
    """The paper's block at F = 1 as we map it, with a plain and with gated clocks."""
    section, name = "weightless_block", "QuWeiT block"
    area_mm2, energy_uj = technology[section, "area_mm2"], 1e6 * technology[section, "asic_energy_j"]
    ours = [each for each in blocks if (each.shape, each.dataflow, each.fold_factor) == (PAPER_SHAPE, "accumulate", 1)]
    if not ours:
        return [Row(f"{name}, ASIC area", "mm2", area_mm2, None), Row(f"{name}, ASIC energy", "uJ", energy_uj, None)]
    rows = []
    for block in sorted(ours, key=lambda block: block.gated):
        gated = ", gated clocks" if block.gated else ""
        power = f"F = 1, {1e3 * block.power_w:.0f} mW, {block.cycles_per_sequence:,} cycles"
        rows += [
            Row(f"{name}{gated}, ASIC area", "mm2", area_mm2, block.area_mm2, "F = 1"),
            Row(f"{name}{gated}, ASIC slack", "ns", None, block.slack_ns, "F = 1, at 1 GHz"),
            Row(f"{name}{gated}, ASIC energy", "uJ", energy_uj, 1e6 * block.energy_j, power),
        ]
    return rows


def _block_at_fold_1(target: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    return (target["target"], {**target["blocks"][0], "tool": target["tool"]}) if target["fold_factor"] == 1 else None


def quweit_4(records: Records) -> PaperTable:
    layer = layer_cost(_ivit_t(), systolic_array(32))
    rows = [
        Row(f"{cost.gemm.name}, {kind} energy", "uJ", None, 1e6 * getattr(cost, field))
        for cost in layer.attention + layer.mlp
        for kind, field in (("FPGA", "fpga_energy_j"), ("ASIC", "asic_energy_j"))
    ]
    for kind, field in (("FPGA", "fpga_energy_j"), ("ASIC", "asic_energy_j")):
        rows.append(Row(f"attention, {kind} energy", "uJ", None, 1e6 * total(layer.attention, field)))
        rows.append(Row(f"baseline, {kind} energy", "uJ", None, 1e6 * total(layer.attention + layer.mlp, field)))
    rows += _ratio_rows(layer)
    rows += [
        Row(f"{design.label}, FPGA ratio", "x", 2.2, layer.fpga_ratio(design.energy_j), design.remark)
        for design in recorded_designs(records, _ivit_t().tokens)
    ]
    array = recorded_array(records, layer.array.size)
    own = None if array is None else layer_cost(_ivit_t(), array.as_systolic())
    rows += _measured_asic_rows(recorded_blocks(records, _ivit_t().tokens), "", 2.2, layer, own)
    baby = layer_cost(preset("gpt-baby"), systolic_array(32))
    rows.append(Row("nanoGPT-baby, FPGA ratio", "x", 2.5, baby.upper_limit, "the weightless block is taken as free"))
    rows += [
        Row(f"nanoGPT-baby, {design.label}, FPGA ratio", "x", 2.5, baby.fpga_ratio(design.energy_j), design.remark)
        for design in recorded_designs(records, preset("gpt-baby").tokens, "gpt-baby")
    ]
    own = None if array is None else layer_cost(preset("gpt-baby"), array.as_systolic())
    blocks = recorded_blocks(records, preset("gpt-baby").tokens, "gpt-baby")
    rows += _measured_asic_rows(blocks, "nanoGPT-baby, ", 2.5, baby, own)
    rows += [dataclasses.replace(row, quantity=f"whole machine, {row.quantity}") for row in headline_rows(records)]
    notes = (
        'The paper\'s rows are not in its text; the ratios are ("over 2.2x", "2.5x").',
        f"FPGA, rows F = ...: the block is charged {PAPER_POWER_LABEL}; those with F > 1 are optimistic.",
        f"FPGA, rows of ours with a shape: synthesised (random contents), all cycles counted, and power from the "
        f"block's own packed LUTs: {FITTED_POWER_LABEL}. accumulate: F bits per cycle and output, as in the paper; "
        "tree: F outputs per cycle. Recovery: 0 where the block does nothing, 1 where it replaces the MLP.",
        "ASIC, rows F = ...: the block is charged the paper's 5.1 mW, from one significant digit and below what "
        "ungated flip-flops draw.",
        "ASIC, rows of ours with a clock: trained blocks in 45 nm at 1 GHz, power from counted switching; beside the "
        "paper's array (0.25 W), and beside ours, whose elements were counted too (docs/power.md).",
        f"Upper limit for a block of no cost: {layer.upper_limit:.3f}x for I-ViT-T, {baby.upper_limit:.3f}x for "
        "nanoGPT-baby.",
        "Left out: "
        + "; ".join(LEAVES_OUT)
        + ". `quweit-4-model` adds what it can; the rows of the whole machine have all of "
        "it but idle power (`quweit-4-machine`).",
    )
    return PaperTable("quweit-4", "QuWeiT Table 4: one encoder layer of I-ViT-T on a 32x32 array", tuple(rows), notes)


def _ratio_rows(layer: LayerCost) -> list[Row]:
    """Our rebuilding of the printed ratio, then the same with the summation's real cycles."""
    printed = ivit_t_end_to_end(layer, "all")
    remark = "one cycle per token, which the printed size can not reach"
    rows = [
        Row("as printed, FPGA ratio", "x", 2.2, printed.fpga_ratio, remark),
        Row("as printed, ASIC ratio", "x", 2.2, printed.asic_ratio, remark),
    ]
    for fold in FOLD_FACTORS:
        ours = ivit_t_end_to_end(layer, fold)
        remark = "one cycle per token, at 6 to 11 times the LUTs" if fold == "all" else f"{ours.block_cycles:,} cycles"
        rows.append(Row(f"F = {fold}, FPGA ratio", "x", 2.2, ours.fpga_ratio, remark))
        rows.append(Row(f"F = {fold}, ASIC ratio", "x", 2.2, ours.asic_ratio, remark))
    return rows


def _measured_asic_rows(
    blocks: list[AsicBlock], name: str, paper: float, layer: LayerCost, own: LayerCost | None
) -> list[Row]:
    """A layer with blocks of ours whose power in 45 nm was counted, on the paper's array and, if recorded, on ours."""
    rows = []
    for block in blocks:
        clock = "" if block.slack_ns >= 0 else f"; reaches {block.reached_hz / 1e6:.0f} MHz"
        remark = (
            f"{block.cycles_per_sequence:,} cycles, {block.area_mm2:.3f} mm2, {1e3 * block.power_w:.0f} mW, "
            f"{1e6 * block.energy_j:.2f} uJ{clock}"
        )
        rows.append(Row(f"{name}{block.label}, ASIC ratio", "x", paper, layer.asic_ratio(block.energy_j), remark))
        if own is not None:
            ratio = own.asic_ratio(block.energy_j)
            rows.append(Row(f"{name}{block.label}, ASIC ratio, array of ours", "x", paper, ratio))
    return rows


def ivit_t_end_to_end(layer: LayerCost, fold: FoldFactor) -> EndToEnd:
    """A layer of I-ViT-T with the paper's block at fold factor `fold`, its summation alone counted."""
    cycles = _ivit_t().tokens * accumulation_cycles(SUMMED_BITS, fold)
    return end_to_end(layer, f"F = {fold}", cycles, paper_fpga_energy(), paper_asic_energy())


def _ivit_t() -> TransformerShape:
    """DeiT-T as the paper's Tables 3 and 4 count it: 196 tokens, without the class token."""
    return dataclasses.replace(preset("deit-t"), tokens=196)
