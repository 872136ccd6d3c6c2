"""A block in standard cells from its parts: what is not a lane, and some of its lanes, each of which stands for others.

A lane sums one output, or one output per step (`cells.lanes`). Mapping a block of some hundred lanes whole takes hours;
they are as alike as their trained numbers. Timing and power are those of the whole block, put together from its parts:
paths and loads cross their borders. What mapping the whole would join there is counted twice.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.cells.lane_models import LaneNetlist, lane_models
from lutra.accelerators.block.cells.lanes import INSTANCE, accumulator_module, require_lanes
from lutra.accelerators.block.cells.switching import LANES, measure_switching
from lutra.accelerators.block.emit import block_files, with_library
from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import ToolError
from lutra.synth.netlist.gates import LANES_PER_WORD, GateNetlist, cut_out
from lutra.synth.netlist.switching import Switching, annotation, words_of
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.hierarchy import stub, write_sources
from lutra.synth.tools.opensta import measured_power, time_and_power
from lutra.synth.tools.yosys import AsicUse

PORTS_FILE = "lane_ports.sv"
_Counted = tuple[GateNetlist, Switching]


@dataclass(frozen=True)
class BlockParts:
    """The SystemVerilog of a block without its lanes, and that of every lane, a module of its own."""

    rest: dict[str, str]
    """File name -> text; lanes are instances."""
    lanes: dict[str, str]
    """Module -> text, in order."""


def split(plan: BlockPlan) -> BlockParts:
    """Cut a block into its lanes and the rest; the modules of lanes have the same ports.

    Raises:
        InputError: outputs share a graph of adders.
    """
    require_lanes(plan)
    generated = block_files(plan)
    if plan.schedule.dataflow == "tree":
        names = [f"{plan.name}_lane_{lane}" for lane in range(plan.schedule.output_lanes)]
        return BlockParts(generated, {name: generated.pop(f"{name}.sv") for name in names})
    file, lanes = f"{plan.name}_summation.sv", {}
    for match in INSTANCE.finditer(generated[file]):
        name = f"{plan.name}_lane_{match['output']}"
        lanes[name] = accumulator_module(plan, name, match["parameters"])
    generated[file] = INSTANCE.sub(rf"{plan.name}_lane_\g<output> u_sum_\g<output> ", generated[file])
    return BlockParts(generated, lanes)


def build_parts(asic: Asic, folder: Path, plan: BlockPlan, rows: np.ndarray, samples: int) -> dict[str, Any]:
    """Map the rest and `samples` lanes, evenly spread, in `folder`; other lanes count as the sampled one beside them.

    `rows` are captured inputs, (rows, input_width). The result has the fields of `Asic.build` for the whole block, and
    `parts` with area and cells of each part.

    Raises:
        InputError: outputs share a graph of adders.
        MismatchError: the mapped cells differ from the golden model.
        ToolError: a tool failed, or OpenSTA is not installed.
    """
    if asic.sta is None:
        raise ToolError("a block from its parts needs OpenSTA (sta)")
    parts = split(plan)
    names = list(parts.lanes)
    sampled = [names[(2 * sample + 1) * len(names) // (2 * samples)] for sample in range(samples)]
    stands_for = {name: sampled[number * samples // len(names)] for number, name in enumerate(names)}
    mapped = {name: _map(asic, folder / name, {f"{name}.sv": parts.lanes[name]}, name) for name in sampled}
    rest_use, rest = _map(asic, folder / "rest", parts.rest, plan.name, parts.lanes)
    modules = {name: module for name, (_, module) in mapped.items()}
    around, inside = _count(asic, plan, rows, rest, modules, stands_for)
    _join(folder, plan.name, sampled, stands_for)
    timing = time_and_power(asic.sta, folder, plan.name, asic.clock_hz)
    gates = around[0].clock_gate_pins()
    gates += [f"{instance}/{pin}" for instance, (lane, _) in inside.items() for pin in lane.clock_gate_pins()]
    lines = annotation(*around, inside)
    power = measured_power(asic.sta, folder, plan.name, asic.clock_hz, lines, gates)
    instances = Counter(stands_for.values())
    uses = [(plan.name, 1, rest_use), *((name, instances[name], mapped[name][0]) for name in sampled)]
    return {
        "area_mm2": sum(count * use.area_mm2 for _, count, use in uses),
        "cells": sum(count * use.cells for _, count, use in uses),
        **asdict(timing),
        "power_w": timing.power_uniform.total_w,
        "power_measured": {
            **asdict(power),
            "toggles_per_net_and_cycle": _mean_toggles([around, *inside.values()]),
            "tokens": around[1].tokens,
            "energy_per_token_j": power.total_w * around[1].cycles_per_token / asic.clock_hz,
        },
        "parts": [{"name": name, "instances": count, **asdict(use)} for name, count, use in uses],
    }


def _count(
    asic: Asic,
    plan: BlockPlan,
    rows: np.ndarray,
    rest: dict[str, Any],
    modules: dict[str, dict[str, Any]],
    stands_for: dict[str, str],
) -> tuple[_Counted, dict[str, _Counted]]:
    """Run rows through the mapped rest and sampled lanes: the rest with its switching, and every instance of a lane
    with that of the sampled one that stands for it."""
    names = list(stands_for)
    opened, kinds = cut_out(rest, names)
    instance_of = {kind: instance for instance, kind in kinds.items()}
    netlist, words = asic.netlist(opened, plan.name), words_of(LANES)
    lanes = {
        name: LaneNetlist(asic.netlist(module, name), netlist, instance_of[name], words)
        for name, module in modules.items()
    }
    models = lane_models(plan, netlist, {instance: names.index(kind) for instance, kind in kinds.items()}, words)
    switching = measure_switching(netlist, plan, rows.astype(np.int64), LANES, [models, *lanes.values()])
    simulated = words * LANES_PER_WORD, switching.tokens, switching.cycles_per_token
    counted = {name: (lane.netlist, lane.count.switching(*simulated)) for name, lane in lanes.items()}
    return (netlist, switching), {instance: counted[stands_for[kind]] for instance, kind in kinds.items()}


def _map(
    asic: Asic, folder: Path, generated: dict[str, str], top: str, lanes: dict[str, str] | None = None
) -> tuple[AsicUse, dict[str, Any]]:
    """Map one part, of which `lanes` stay instances. What drives a lane drives all of them, hence one pin each."""
    sources = write_sources(with_library(generated).files, folder)
    if lanes:
        (folder / PORTS_FILE).write_text("".join(map(stub, lanes.values())), encoding="utf-8")
    return asic.map(folder, sources, top, list(lanes or ()), PORTS_FILE if lanes else None, one_pin_inputs=True)


def _join(folder: Path, top: str, sampled: list[str], stands_for: dict[str, str]) -> None:
    """One netlist of all parts for OpenSTA: every lane is an instance of the sampled one that stands for it."""
    texts = [(folder / name / "netlist.v").read_text(encoding="utf-8") for name in sampled]
    rest = (folder / "rest" / "netlist.v").read_text(encoding="utf-8")
    lane = re.compile(rf"\b{top}_lane_\d+\b")
    texts.append(lane.sub(lambda match: stands_for[match[0]], rest))
    (folder / "netlist.v").write_text("\n".join(texts), encoding="utf-8")
    (folder / "cells.lib").write_bytes((folder / "rest" / "cells.lib").read_bytes())


def _mean_toggles(counted: list[_Counted]) -> float:
    counts = [switching for _, switching in counted]
    return sum(each.mean_toggles_per_cycle * each.nets for each in counts) / sum(each.nets for each in counts)
