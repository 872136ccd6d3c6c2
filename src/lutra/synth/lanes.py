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
FIRST_ACCUMULATOR = re.compile(rf"{ACCUMULATOR} #\(\n(.*?)\n  \) u_sum_0 ", re.DOTALL)
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
        first = {f"{top}.sv": _first_accumulator(plan, generated[f"{plan.name}_summation.sv"])}
    return ModuleUse(top, count, synthesise_fpga(yosys, folder, _write(complete(first), folder), top))


def _rest(yosys: Tool, folder: Path, plan: BlockPlan, files: dict[str, str], lanes: dict[str, str]) -> ModuleUse:
    """The block without what is inside its lanes."""
    sources = [name for name in _write(files, folder) if name not in lanes]
    for name, text in lanes.items():
        match = PORTS.search(text)
        assert match, "modules end their ports with a line of their own"
        (folder / name).write_text(f"{match[0]}endmodule\n", encoding="utf-8")
    script = f"read_verilog -sv -lib {' '.join(lanes)}\n" + fpga_script(sources, plan.name)
    cells = run_script(yosys, folder, script, plan.name)[plan.name]["cells"]
    inside = tuple(name.removesuffix(".sv") for name in lanes)
    own = {name: cell for name, cell in cells.items() if not cell["type"].endswith(inside)}
    return ModuleUse(plan.name, 1, fpga_use(own, f"{yosys.name}, {plan.name}"))


def _first_accumulator(plan: BlockPlan, summation: str) -> str:
    """A module that holds the first output's accumulator alone."""
    match = FIRST_ACCUMULATOR.search(summation)
    assert match, "the summation has an accumulator for output 0"
    s = plan.schedule
    return (
        "module first_lane (input logic clk_i, look_up_i, add_i, restart_i,\n"
        f"  input logic [{plan.step_bits - 1}:0] step_i, input logic [{s.bits_per_step - 1}:0] bits_i,\n"
        f"  output logic [{plan.sum_bits - 1}:0] sum_o);\n"
        f"  {ACCUMULATOR} #(\n{match[1]}\n  ) u_sum (\n"
        "    .clk_i, .look_up_i, .step_i, .bits_i, .add_i, .restart_i, .sum_o\n  );\nendmodule\n"
    )


def _write(files: dict[str, str], folder: Path) -> list[str]:
    """Write a design; its sources in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name in files if name.endswith(".sv")]
