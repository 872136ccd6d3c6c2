"""What BAT's units take of an UltraScale+: each alone through Yosys, at a few sizes from which others follow."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lutra.accelerators.bat.config import BatConfig, ModuleConfig
from lutra.accelerators.bat.emit import RTL
from lutra.accelerators.bat.resources import STORE_ELEMENTS, planes_store
from lutra.accelerators.bat.sizes import node_parameters
from lutra.accelerators.bat.tables import rom_files
from lutra.hardware.design import Design, library_files
from lutra.runs.files import write_text
from lutra.synth.tools.find import Tool
from lutra.synth.tools.yosys import FpgaUse, fpga_script_of_unit, fpga_use, run_script

BITS = (1, 2, 4, 8)
SUM_BITS = {1: 12, 2: 14, 4: 16, 8: 24}
"""Of a sum, by activation bits, at the size of half-width BERT-base."""


@dataclass(frozen=True)
class UnitPoint:
    """A unit at one size."""

    unit: str
    """Name of a family of points that differ in `size` and `bits` only."""
    module: str
    size: int
    """Lanes, elements or units: what the unit grows with."""
    bits: int
    """Of an activation; 0 where it does not matter."""
    parameters: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"bat_{self.unit}_{self.size}" + (f"_{self.bits}" if self.bits else "")


def unit_points() -> list[UnitPoint]:
    """All points, those that matter most first."""
    points: list[UnitPoint] = []
    for bits in (4, 1, 2, 8):
        sizes = (16, 64, 128) if bits == 4 else (16, 64)
        points += [_dpu("count", size, bits) for size in sizes]
        points += [_dpu("pe", size, bits) for size in ((8, 16, 32) if bits == 4 else (8, 16))]
        points += [_quantise(size, bits) for size in ((1, 2, 4) if bits == 4 else (1, 2))]
        points += [_engine(size, bits) for size in (16, 64)]
        if bits == 4:
            points += [_lanes("vector", "lutra_bat_vector", size, VECTOR) for size in (1, 2, 4)]
            points += [_lanes("norm", "lutra_bat_norm", size, NORM) for size in (1, 2, 4)]
            points += [_lanes("softmax", "lutra_bat_softmax", size, SOFTMAX) for size in (1, 2, 4)]
            points += [_store(size, elements) for elements in STORE_ELEMENTS for size in (4, 8)]
            points += [UnitPoint("rows_store", "lutra_bat_store", 32, 4, {**STORE, "Attention": 0, "Units": 1, **ROWS})]
            points += [UnitPoint(name, f"lutra_bat_{name}", 1, 0) for name in ("dma_read", "dma_write", "loader")]
            points += [_gearbox(*lanes) for lanes in ((16, 32), (32, 8), (96, 128))]
            points += [UnitPoint("parameters", "lutra_bat_parameters", 512, 0, {"Bits": 512, "AddressBits": 6})]
    return points


VECTOR = {"SumBits": 16, "BeatBits": 6, "AddressBits": 7, "LaneBits": 9}
NORM = {"BeatBits": 7, "LaneBits": 9, "CountBits": 11, "AddressBits": 7}
SOFTMAX = {"BeatBits": 6, "LaneBits": 9, "CountBits": 8, "AddressBits": 6}
ROWS = {"ValueLanes": 1, "ValueWords": 1}
STORE = {"Lanes": 32, "Bits": 4, "Elements": 128, "HeadWidth": 64, "XGranule": 32, "CountBits": 14}
NARROW_STORE = {"Lanes": 8, "Bits": 4, "Elements": 32, "HeadWidth": 16, "XGranule": 8, "CountBits": 14}
STORES = {32: NARROW_STORE, 128: STORE}
"""Sizes of counters and buffers as half-width BERT-base needs them; a narrow store as one of a quarter of its lanes."""


def _dpu(form: str, elements: int, bits: int) -> UnitPoint:
    parameters = {"Elements": elements, "Bits": bits, "SumBits": SUM_BITS[bits], "Sums": int(form == "pe")}
    return UnitPoint(f"dpu_{form}", "lutra_bat_dpu", elements, bits, parameters)


def _engine(elements: int, bits: int) -> UnitPoint:
    """With a single dot product unit, which is to be taken off."""
    parameters = {"Units": 1, "Elements": elements, "Bits": bits, "SumBits": SUM_BITS[bits], "Sums": 0}
    sizes = {"HeadWidth": elements // 2, "CountBits": 14, "AddressBits": 16, "LaneBits": elements.bit_length()}
    return UnitPoint("engine", "lutra_bat_engine", elements, bits, parameters | sizes)


def _quantise(lanes: int, bits: int) -> UnitPoint:
    parameters = {"Lanes": lanes, "Bits": bits, "Scale": int(bits > 4), "BeatBits": 6, "RowBits": 14, "LaneBits": 9}
    entries = 1 if bits > 4 else 2**bits - 1
    return UnitPoint("quantise", "lutra_bat_quantise", lanes, bits, parameters | {"TableBits": 16 * entries})


def _lanes(unit: str, module: str, lanes: int, parameters: Mapping[str, int]) -> UnitPoint:
    return UnitPoint(unit, module, lanes, 0, {"Lanes": lanes, **parameters})


def _store(units: int, elements: int) -> UnitPoint:
    """Of a module with attention."""
    parameters = {
        **STORES[elements],
        "Units": units,
        "ValueLanes": units,
        "YGranule": 8,
        "ValueWords": 24 * 64 // units,
    }
    return UnitPoint(planes_store(elements), "lutra_bat_store", units, 4, parameters)


def _gearbox(in_lanes: int, out_lanes: int) -> UnitPoint:
    granule = math.gcd(in_lanes, out_lanes)
    parameters = {"InLanes": in_lanes, "OutLanes": out_lanes, "Bits": 16, "Granule": granule, "Blocks": 16}
    step = {"OutStep": out_lanes // granule, "CountBits": 14}
    return UnitPoint(f"gearbox_{in_lanes}", "lutra_bat_gearbox", out_lanes, 0, parameters | step)


WHOLE = "node"
"""A module of the configuration with all of its parts, for `WholePoint.assembly`."""


@dataclass(frozen=True)
class WholePoint:
    """A module, or a part of one, with all that is in it, to see how far the sum of its units is right."""

    assembly: str
    """As `resources.assemblies_use` calls a part, or `WHOLE`."""
    config: BatConfig
    index: int
    """Which module of the configuration."""

    @property
    def module(self) -> str:
        return "lutra_bat_node" if self.assembly == WHOLE else f"lutra_bat_{self.assembly}"

    @property
    def name(self) -> str:
        runs = "attention" if self.index == 0 else "feed_forward"
        return f"bat_whole_{self.assembly}_{runs}_{self.config.activation_bits}"

    @property
    def parameters(self) -> Mapping[str, int]:
        """Those that `lutra_bat_module` gives it."""
        values = {**node_parameters(self.config)[self.index], "PartBits": PART_BITS}
        if self.assembly == WHOLE:
            return {name: value for name, value in values.items() if name != "PartBits"}
        text = library_files(RTL)["lutra_bat_module.sv"]
        found = re.search(rf"{self.module} #\(\n(.*?)\) u_", text, re.DOTALL)
        assert found is not None
        given = re.findall(r"\.(\w+)\((\w+)\)", found[1])
        return {name: values[value] for name, value in given if value in values}


PART_BITS = 8
"""As in lutra_bat_module."""


def whole_points() -> list[WholePoint]:
    """Two modules as small as they get, first part by part, a minute each, then whole."""
    first = ModuleConfig(p_dpu=4, p_quan=8, p_vu=8, p_ln=4, p_pe=32, p_softmax=2)
    second = ModuleConfig(p_dpu=8, p_quan=8, p_vu=4, p_ln=2, p_pe=32)
    pair = BatConfig((first, second), 4, 2, positions=32, max_width=64, heads=4, head_width=16, max_intermediate=128)
    return [
        *(WholePoint(name, pair, 0) for name in ("products", "dequantise", "encode", "normalise", "probabilities")),
        *(WholePoint(name, pair, 1) for name in ("products", "dequantise", "encode", "normalise")),
        *(WholePoint(WHOLE, pair, index) for index in (1, 0)),
    ]


def unit_design(point: UnitPoint | WholePoint) -> Design:
    """What the synthesis of a point reads: its module, and all that it instantiates."""
    files = library_files(RTL)
    needed = Design.complete({f"{point.module}.sv": files[f"{point.module}.sv"]}, files)
    return Design({**needed.files, **rom_files()}, {"module": point.module, "parameters": dict(point.parameters)})


def unit_script(point: UnitPoint | WholePoint) -> str:
    return fpga_script_of_unit(unit_design(point).sources, point.module, point.parameters)


def synthesise_unit(yosys: Tool, point: UnitPoint | WholePoint, folder: Path) -> FpgaUse:
    """Map a unit, or a whole module, onto UltraScale+ in `folder`.

    Raises:
        ToolError: Yosys failed, or left cells that are not of the device.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in unit_design(point).files.items():
        write_text(folder / name, text)
    module = run_script(yosys, folder, unit_script(point), point.module)[point.module]
    return fpga_use(module["cells"], f"{yosys.name}, {point.name}")
