"""Synthesis of a block by its largest equal parts: one lane, counted once per lane, and the rest with the lanes empty.

A lane is what sums one output: the tree of an output lane, or an output's accumulator with its encoded values. Lanes
are as alike as their trained numbers, and flat synthesis of all of them takes many times longer. What flat synthesis
would join across the border of a lane is counted twice.
"""

from __future__ import annotations

import re
from pathlib import Path

from lutra.rtl.emit import block_files, complete, library_files
from lutra.rtl.plan import BlockPlan
from lutra.synth.hierarchy import HierarchyUse, ModuleUse
from lutra.synth.tools import Tool
from lutra.synth.yosys import fpga_script, fpga_use, run_script, synthesise_fpga

ACCUMULATOR = "lutra_accumulator"
INSTANCE = re.compile(rf"{ACCUMULATOR} #\(\n(?P<parameters>.*?)\n  \) u_sum_(?P<output>\d+) ", re.DOTALL)
PORTS = re.compile(r"^module .*?^\);\n", re.DOTALL | re.MULTILINE)


def synthesise_lanes(yosys: Tool, folder: Path, plan: BlockPlan) -> HierarchyUse:
    """Count the block of `plan` from its first lane and the rest; works in `folder`.

    Raises:
        ToolError: Yosys failed, left no netlist, or left cells that are not of the device.
    """
    generated = block_files(plan)
    if plan.schedule.dataflow == "tree":
        names = [f"{plan.name}_lane_{lane}.sv" for lane in range(plan.schedule.output_lanes)]
        lanes = {name: generated.pop(name) for name in names}
    else:
        lanes = {f"{ACCUMULATOR}.sv": library_files()[f"{ACCUMULATOR}.sv"]}
    rest = _rest(yosys, folder / "rest", plan, complete(generated), lanes)
    return HierarchyUse((rest, synthesise_lane(yosys, folder / "lane", plan)))


def synthesise_lane(yosys: Tool, folder: Path, plan: BlockPlan) -> ModuleUse:
    """Count the first lane of the block of `plan`; works in `folder`.

    Raises:
        ToolError: Yosys failed, left no netlist, or left cells that are not of the device.
    """
    generated = block_files(plan)
    if plan.schedule.dataflow == "tree":
        top, count = f"{plan.name}_lane_0", plan.schedule.output_lanes
        first = {f"{top}.sv": generated[f"{top}.sv"]}
    else:
        top, count = "first_lane", plan.graph.output_width
        instance = INSTANCE.search(generated[f"{plan.name}_summation.sv"])
        assert instance, "the summation has accumulators"
        first = {f"{top}.sv": accumulator_module(plan, top, instance["parameters"])}
    return ModuleUse(top, count, synthesise_fpga(yosys, folder, write_sources(complete(first), folder), top))


def _rest(yosys: Tool, folder: Path, plan: BlockPlan, files: dict[str, str], lanes: dict[str, str]) -> ModuleUse:
    """The block without what is inside its lanes."""
    sources = [name for name in write_sources(files, folder) if name not in lanes]
    for name, text in lanes.items():
        (folder / name).write_text(stub(text), encoding="utf-8")
    script = f"read_verilog -sv -lib {' '.join(lanes)}\n" + fpga_script(sources, plan.name)
    cells = run_script(yosys, folder, script, plan.name)[plan.name]["cells"]
    inside = tuple(name.removesuffix(".sv") for name in lanes)
    own = {name: cell for name, cell in cells.items() if not cell["type"].endswith(inside)}
    return ModuleUse(plan.name, 1, fpga_use(own, f"{yosys.name}, {plan.name}"))


def accumulator_module(plan: BlockPlan, name: str, parameters: str) -> str:
    """A module that holds one output's accumulator alone, with the parameters of its instance."""
    s = plan.schedule
    return (
        f"module {name} (\n"
        "  input  logic clk_i,\n  input  logic look_up_i,\n"
        f"  input  logic [{plan.step_bits - 1}:0] step_i,\n  input  logic [{s.bits_per_step - 1}:0] bits_i,\n"
        "  input  logic add_i,\n  input  logic restart_i,\n"
        f"  output logic [{plan.sum_bits - 1}:0] sum_o\n);\n"
        f"  {ACCUMULATOR} #(\n{parameters}\n  ) u_sum (\n"
        "    .clk_i, .look_up_i, .step_i, .bits_i, .add_i, .restart_i, .sum_o\n  );\nendmodule\n"
    )


def stub(module: str) -> str:
    """The ports of a module that we wrote, without what is inside."""
    match = PORTS.search(module)
    assert match, "modules end their ports with a line of their own"
    return f"{match[0]}endmodule\n"


def write_sources(files: dict[str, str], folder: Path) -> list[str]:
    """Write a design; its sources in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name in files if name.endswith(".sv")]
