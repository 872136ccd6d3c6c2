"""What a whole machine takes of an UltraScale+, counted up: every module once, as often as it occurs.

One run of Yosys maps each module of the machine alone, with the parameters that it has there; no logic crosses its
border. What memories read through, and what chooses between units, is part of the modules that hold them together.
Weightless blocks are apart: their lanes are counted (`block.cells.lanes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lutra.accelerators.block.cells.lanes import synthesise_lanes
from lutra.accelerators.block.emit import RTL as BLOCK
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.transformer.config import TransformerConfig
from lutra.accelerators.transformer.emit import RTL, SYSTOLIC, TOP, block_plans, machine_top
from lutra.frozen.graph import Graph
from lutra.hardware.design import Design, library_files
from lutra.synth.tools.find import Tool
from lutra.synth.tools.hierarchy import (
    HierarchyUse,
    ModuleUse,
    hierarchy_script,
    synthesise_hierarchy,
    write_sources,
)
from lutra.synth.tools.yosys import FpgaUse

PARTS: dict[str, tuple[str, ...]] = {
    "array": ("pe", "column", "edge", "result", "sums", "loader", "controller"),
    "requantise": ("requantise", "requantise_lane"),
    "table": ("table",),
    "residual": ("residual",),
    "softmax": ("softmax", "softmax_lane", "softmax_max"),
    "norm": ("rows", "norm", "norm_sums", "norm_variance", "norm_lane"),
    "input": ("embed", "pixels"),
    "memories": ("lutra_memory",),
    "control": ("controller", "scoreboard", "program", "queue", "attention", "tile", "walk", "feeder", "block_rows"),
    "wiring": ("product", "core", TOP),
    "blocks": ("gearbox",),
}
"""What the modules of a machine belong to: those of the array behind `lutra_systolic_`, most others behind
`lutra_transformer_`; and to "blocks" all of the weightless blocks."""
ARRAY, WHOLE = "lutra_systolic_", "lutra_transformer_"
OPTIONAL: dict[str, Callable[[TransformerConfig, Sequence[Graph]], bool]] = {
    "pixels": lambda config, blocks: config.pixels,
    "gearbox": lambda config, blocks: bool(blocks),
    "controller": lambda config, blocks: not config.overlap,
    "scoreboard": lambda config, blocks: config.overlap,
}


@dataclass(frozen=True)
class BlockUse:
    """A weightless block."""

    name: str
    graph: str
    modules: tuple[ModuleUse, ...]


def modules_apart(config: TransformerConfig, blocks: Sequence[Graph]) -> list[str]:
    """The modules of a machine that are mapped alone."""
    names = [f"{ARRAY}{name}" for name in PARTS["array"]]
    for part, members in PARTS.items():
        if part not in ("array", "memories"):
            wanted = (n for n in members if n != TOP and (n not in OPTIONAL or OPTIONAL[n](config, blocks)))
            names += [f"{WHOLE}{name}" for name in wanted]
    return [*names, *PARTS["memories"]]


def part_of(module: str) -> str:
    """What a module of a machine belongs to."""
    for part, members in PARTS.items():
        prefix = ARRAY if part == "array" else WHOLE
        if module in members or module in {f"{prefix}{name}" for name in members}:
            return part
    raise AssertionError(f"{module} belongs to no part of the machine")


def machine_without_blocks(config: TransformerConfig, blocks: Sequence[Graph]) -> tuple[Design, dict[str, str]]:
    """A machine's SystemVerilog, and the ports of its weightless blocks, by module, instead of what is inside."""
    plans = block_plans(config, blocks)
    design = Design.complete({f"{TOP}.sv": machine_top(config, plans)}, library_files(SYSTOLIC, BLOCK, RTL))
    return design, {plan.name: block_ports(plan) for plan in plans}


def block_ports(plan: BlockPlan) -> str:
    """The ports of a weightless block, without what is inside."""
    x_bits = plan.schedule.input_lanes * plan.graph.input_type.bits
    y_bits = plan.schedule.output_lanes * plan.graph.output_type.bits
    ports = {
        "input": {"clk_i": 1, "rst_ni": 1, "x_valid_i": 1, "x_data_i": x_bits, "y_ready_i": 1},
        "output": {"x_ready_o": 1, "y_valid_o": 1, "y_data_o": y_bits},
    }
    declared = [f"{way} logic [{bits - 1}:0] {name}" for way, names in ports.items() for name, bits in names.items()]
    return f"module {plan.name} ({', '.join(declared)});\nendmodule\n"


def machine_script(config: TransformerConfig, blocks: Sequence[Graph]) -> str:
    """What Yosys does, without the names of the sources: for the identity of a result."""
    return hierarchy_script(["sources"], TOP, modules_apart(config, blocks), lut_memories=True)


def synthesise_machine(
    yosys: Tool, folder: Path, config: TransformerConfig, blocks: Sequence[Graph]
) -> tuple[ModuleUse, ...]:
    """Map a machine without its weightless blocks onto UltraScale+ in `folder`: its modules, and how often each occurs.

    Raises:
        ToolError: Yosys failed, left no netlist, or left cells that are not of the device.
    """
    design, ports = machine_without_blocks(config, blocks)
    sources, apart = write_sources(design.files, folder), modules_apart(config, blocks)
    return synthesise_hierarchy(yosys, folder, sources, TOP, apart, lut_memories=True, outside=ports).modules


def synthesise_block(yosys: Tool, folder: Path, plan: BlockPlan) -> BlockUse:
    """Count a weightless block from some of its lanes and the rest (`block.cells.lanes`) in `folder`.

    Raises:
        ToolError: Yosys failed, left no netlist, or left cells that are not of the device.
    """
    return BlockUse(plan.name, plan.graph.name, synthesise_lanes(yosys, folder, plan).modules)


def parts_of(modules: Sequence[ModuleUse], blocks: Iterable[BlockUse]) -> dict[str, FpgaUse]:
    """What each part of a machine takes."""
    found: dict[str, list[ModuleUse]] = {part: [] for part in PARTS}
    for module in modules:
        found[part_of(module.name)].append(module)
    for block in blocks:
        found["blocks"] += block.modules
    return {part: HierarchyUse(tuple(members)).total for part, members in found.items() if members}
