"""Synthesis of a block by its equal parts: a few lanes, counted for all of them, and the rest with the lanes empty.

A lane is what sums one output: the tree of an output lane, or an output's accumulator with its encoded values. Lanes
are as alike as their trained numbers, and flat synthesis of all of them takes many times longer.

The first tree is synthesised alone; what flat synthesis would join across its border is counted twice. Accumulators are
too small for that: alone, an adder's operands change places, and the restart takes a LUT per bit of the sum. They are
counted in their places: what the block takes with some of them, less what it takes without any.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from lutra import escape
from lutra.accelerators.block.emit import RTL, block_files, with_library
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import addend_levels
from lutra.errors import InputError
from lutra.hardware.design import Design, library_files
from lutra.synth.tools.find import Tool
from lutra.synth.tools.hierarchy import HierarchyUse, ModuleUse, stub, write_sources
from lutra.synth.tools.yosys import FpgaUse, fpga_script, fpga_use, run_script, synthesise_fpga

ACCUMULATOR = "lutra_accumulator"
EMPTY_ACCUMULATOR = "lutra_accumulator_empty"
MOST_COUNTED_ACCUMULATORS = 8
INSTANCE = re.compile(rf"{ACCUMULATOR}(?P<rest> #\(\n(?P<parameters>.*?)\n  \) u_sum_(?P<output>\d+) )", re.DOTALL)


def require_lanes(plan: BlockPlan) -> None:
    """Refuse a block that has no equal lanes.

    Raises:
        InputError: outputs share a graph of adders.
    """
    if plan.schedule.dataflow == "graph":
        raise InputError(
            f"{plan.name}: outputs share graphs of adders, so the block has no equal lanes to measure it by; measure "
            "it whole, as `lutra synth` does, or take dataflow tree"
        )


def synthesise_lanes(yosys: Tool, folder: Path, plan: BlockPlan) -> HierarchyUse:
    """Count the block of `plan` from some of its lanes and the rest; works in `folder`.

    Raises:
        InputError: outputs share a graph of adders.
        ToolError: Yosys failed, left no netlist, or left cells that are not of the device.
    """
    require_lanes(plan)
    if plan.schedule.dataflow == "accumulate":
        return _count_accumulators(yosys, folder, plan)
    generated = block_files(plan)
    names = [f"{plan.name}_lane_{lane}.sv" for lane in range(plan.schedule.output_lanes)]
    trees = {name: stub(generated.pop(name)) for name in names}
    rest = _without(yosys, folder / "rest", plan, with_library(generated), trees)
    return HierarchyUse((ModuleUse(plan.name, 1, rest), synthesise_lane(yosys, folder / "lane", plan)))


def synthesise_lane(yosys: Tool, folder: Path, plan: BlockPlan) -> ModuleUse:
    """Count the first lane of the block of `plan` alone; works in `folder`.

    Raises:
        InputError: outputs share a graph of adders.
        ToolError: Yosys failed, left no netlist, or left cells that are not of the device.
    """
    require_lanes(plan)
    generated = block_files(plan)
    if plan.schedule.dataflow == "tree":
        top, count = f"{plan.name}_lane_0", plan.schedule.output_lanes
        first = {f"{top}.sv": generated[f"{top}.sv"]}
    else:
        top, count = "first_lane", plan.graph.output_width
        instance = INSTANCE.search(generated[f"{plan.name}_summation.sv"])
        assert instance, "the summation has accumulators"
        first = {f"{top}.sv": accumulator_module(plan, top, instance["parameters"])}
    return ModuleUse(top, count, synthesise_fpga(yosys, folder, write_sources(with_library(first).files, folder), top))


def _count_accumulators(yosys: Tool, folder: Path, plan: BlockPlan) -> HierarchyUse:
    """The block without any accumulator, and some of them, spread over the outputs, in their places."""
    outputs = plan.graph.output_width
    counted = max(n for n in range(1, MOST_COUNTED_ACCUMULATORS + 1) if outputs % n == 0 and (n < outputs or n == 1))
    without = _with_accumulators(yosys, folder / "rest", plan, set())
    with_some = _with_accumulators(yosys, folder / "lanes", plan, set(range(0, outputs, outputs // counted)))
    less = {name: getattr(with_some, name) - count for name, count in asdict(without).items()}
    lanes = ModuleUse(f"{counted} of {outputs} lanes", outputs // counted, FpgaUse(**less))
    return HierarchyUse((ModuleUse(plan.name, 1, without), lanes))


def _with_accumulators(yosys: Tool, folder: Path, plan: BlockPlan, kept: set[int]) -> FpgaUse:
    """The block with the accumulators of the outputs `kept`, and the others empty."""
    generated, summation = block_files(plan), f"{plan.name}_summation.sv"
    generated[summation] = INSTANCE.sub(
        lambda m: f"{ACCUMULATOR if int(m['output']) in kept else EMPTY_ACCUMULATOR}{m['rest']}", generated[summation]
    )
    empty = stub(library_files(RTL)[f"{ACCUMULATOR}.sv"]).replace(
        f"module {ACCUMULATOR} ", f"module {EMPTY_ACCUMULATOR} "
    )
    return _without(yosys, folder, plan, with_library(generated), {f"{EMPTY_ACCUMULATOR}.sv": empty})


def _without(yosys: Tool, folder: Path, plan: BlockPlan, design: Design, empty: dict[str, str]) -> FpgaUse:
    """The block of `design` without what is inside the modules `empty`."""
    sources = [name for name in write_sources(design.files, folder) if name not in empty]
    write_sources(empty, folder)
    script = f"read_verilog -sv -lib {' '.join(map(escape.yosys, empty))}\n" + fpga_script(sources, plan.name)
    cells = run_script(yosys, folder, script, plan.name)[plan.name]["cells"]
    inside = tuple(name.removesuffix(".sv") for name in empty)
    own = {name: cell for name, cell in cells.items() if not cell["type"].endswith(inside)}
    return fpga_use(own, f"{yosys.name}, {plan.name}")


def accumulator_module(plan: BlockPlan, name: str, parameters: str) -> str:
    """A module that holds one output's accumulator alone, with the parameters of its instance."""
    s = plan.schedule
    stages = len(addend_levels(s.bits_per_step))
    return (
        f"module {name} (\n"
        f"  input  logic clk_i,\n  input  logic [{stages - 1}:0] look_up_i,\n"
        f"  input  logic [{plan.step_bits - 1}:0] step_i,\n  input  logic [{s.bits_per_step - 1}:0] bits_i,\n"
        "  input  logic add_i,\n  input  logic restart_i,\n"
        f"  output logic [{plan.sum_bits - 1}:0] sum_o\n);\n"
        f"  {ACCUMULATOR} #(\n{parameters}\n  ) u_sum (\n"
        "    .clk_i, .look_up_i, .step_i, .bits_i, .add_i, .restart_i, .sum_o\n  );\nendmodule\n"
    )
