"""The syntheses behind Table 3: the paper's block, systolic arrays and their ShiftGELU, each a piece of a record."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.systolic.array import (
    REGULAR_MODULES,
    ActivationConfig,
    SystolicConfig,
    sufficient_output_lanes,
    systolic_design,
)
from lutra.cost.shapes import preset
from lutra.cost.systolic import mlp_gemms
from lutra.frozen.random_block import random_block
from lutra.frozen.shift import EXPONENT_SHIFT, gelu_unit
from lutra.hardware.design import Design
from lutra.papers.experiments.run import Piece, identity_of, needed_yosys
from lutra.synth.tools.find import Tool
from lutra.synth.tools.hierarchy import hierarchy_script, synthesise_hierarchy
from lutra.synth.tools.yosys import copy_sources, fpga_script, sources_of, synthesise_fpga

SEED = 0
BLOCK_SHAPE: dict[str, Any] = {
    "width": 192,
    "thermometer_bits": 8,
    "luts": (768, 192),
    "inputs": (6, 6),
    "output_bits": 8,
}
"""The paper's block for I-ViT-T."""
SIZES = (8, 16, 32, 64)
WHOLE_SIZE = 8
"""This array is also synthesised whole, which checks the counting."""
GELU_SCALE = 0.04
"""Of the values before the activation: about five standard deviations in int8."""
GELU_MULTIPLIER, GELU_MULTIPLIER_SHIFT = 33_026, 22
"""127 * 127 -> 127, with 16 bits."""


def table_3_pieces() -> list[Piece]:
    """The paper's block, the arrays and their ShiftGELU, one piece each.

    Raises:
        ToolError: Yosys is missing.
    """
    yosys = needed_yosys()
    return [
        block_piece(yosys, BLOCK_SHAPE, 1, "weightless_ivit_t_fold_1"),
        *(_array_piece(yosys, size) for size in SIZES),
        *(_shift_gelu_piece(yosys, size) for size in SIZES),
    ]


def block_piece(yosys: Tool, shape: dict[str, Any], fold: int, record: str) -> Piece:
    """A block of random contents on UltraScale+; `shape` as in `random_block`."""
    plan = BlockPlan(random_block(np.random.default_rng(SEED), **shape), "block_0", fold)

    def build(folder: Path) -> dict[str, Any]:
        rtl, work = folder / "rtl", folder / "work"
        block_design([plan]).write(rtl)
        copy_sources(rtl, work)
        start = time.perf_counter()
        use = asdict(synthesise_fpga(yosys, work, sources_of(rtl), plan.name))
        block = {"name": plan.name, **use, "seconds": round(time.perf_counter() - start, 1)}
        return {"target": "xcup", "tool": yosys.name, "fold_factor": fold, "blocks": [block]}

    identity = identity_of(block_design([plan]), fpga_script(["sources"], plan.name), yosys)
    head = {"design": "weightless-ivit-t", "contents": f"random, seed {SEED}", "shape": shape}
    return Piece(record, record, head, identity, 340.0, build)


def _array_piece(yosys: Tool, size: int) -> Piece:
    """A systolic array that computes both products of I-ViT-T's MLP without waiting for its output."""
    inner = [gemm.inner for gemm in mlp_gemms(preset("deit-t"))]
    depth = 1 << (max(inner) - 1).bit_length()
    config = SystolicConfig(size, depth, sufficient_output_lanes(size, min(inner)))
    name = "systolic"

    def build(folder: Path) -> dict[str, Any]:
        rtl, work = folder / "rtl", folder / "work"
        systolic_design(config, name).write(rtl)
        copy_sources(rtl, work)
        start = time.perf_counter()
        counted = synthesise_hierarchy(yosys, work, sources_of(rtl), name, REGULAR_MODULES)
        seconds = round(time.perf_counter() - start, 1)
        whole = None
        if size == WHOLE_SIZE:
            whole = asdict(synthesise_hierarchy(yosys, work, sources_of(rtl), name, ()).total)
        names = [module.name for module in counted.modules]
        return {
            "target": "xcup",
            "tool": yosys.name,
            **asdict(config),
            "total": asdict(counted.total),
            "without_requantisers": asdict(counted.of(*(each for each in names if each != "lutra_requantise"))),
            "modules": [asdict(module) for module in counted.modules],
            "synthesised_whole": whole,
            "seconds": seconds,
        }

    identity = identity_of(systolic_design(config, name), hierarchy_script(["sources"], name, REGULAR_MODULES), yosys)
    weight = 100.0 if size == WHOLE_SIZE else 60.0
    return Piece(f"{name}_{size}", "systolic_ivit_t", {"design": "systolic-ivit-t"}, identity, weight, build)


def _shift_gelu_piece(yosys: Tool, size: int) -> Piece:
    """The ShiftGELU behind an array, with as many lanes as the array delivers: one synthesised, and counted up."""
    first, _ = mlp_gemms(preset("deit-t"))
    lanes = sufficient_output_lanes(size, first.inner)
    config = SystolicConfig(size, 1024, lanes)
    activation = ActivationConfig(
        gelu_unit(GELU_SCALE), EXPONENT_SHIFT, GELU_MULTIPLIER, GELU_MULTIPLIER_SHIFT, -(-first.columns // size)
    )
    lane, top = "lutra_shift_gelu_lane", _gelu_top(activation, size, lanes)

    def build(folder: Path) -> dict[str, Any]:
        rtl, work = folder / "rtl", folder / "work"
        systolic_design(config, "mlp", activation).write(rtl)
        copy_sources(rtl, work)
        (work / "unit.sv").write_text(top, encoding="utf-8")
        start = time.perf_counter()
        counted = synthesise_hierarchy(yosys, work, [*sources_of(rtl), "unit.sv"], "unit", (lane,))
        return {
            "target": "xcup",
            "tool": yosys.name,
            "size": size,
            "output_lanes": lanes,
            **asdict(activation),
            "total": asdict(counted.total),
            "modules": [asdict(module) for module in counted.modules],
            "seconds": round(time.perf_counter() - start, 1),
        }

    whole = Design({**systolic_design(config, "mlp", activation).files, "unit.sv": top})
    identity = identity_of(whole, hierarchy_script(["sources"], "unit", (lane,)), yosys)
    return Piece(f"shiftgelu_{size}", "shiftgelu", {"design": "shiftgelu-ivit-t"}, identity, 60.0, build)


def _gelu_top(activation: ActivationConfig, size: int, lanes: int) -> str:
    """A top with the unit alone: Yosys derives parameters only below the top."""
    ports = {"column_tiles_i": 8, "valid_i": 1, "ready_i": 1, "data_i": 8 * lanes}
    results = {"ready_o": 1, "valid_o": 1, "data_o": 8 * lanes}
    declared = [f"input logic [{bits - 1}:0] {name}" for name, bits in ({"clk_i": 1, "rst_ni": 1} | ports).items()]
    declared += [f"output logic [{bits - 1}:0] {name}" for name, bits in results.items()]
    names = ", ".join(f".{name}" for name in ["clk_i", "rst_ni", *ports, *results])
    parameters = (
        f".Size({size}), .Lanes({lanes}), .MaxTiles({activation.max_tiles}), .Unit({activation.unit}), "
        f".Shift({activation.shift}), .MultiplierBits({activation.multiplier_bits}), "
        f".Multiplier({activation.multiplier_bits}'d{activation.multiplier}), "
        f".OutputShift({activation.multiplier_shift})"
    )
    return f"module unit ({', '.join(declared)});\n  lutra_shift_gelu #({parameters}) u_unit ({names});\nendmodule\n"
