"""Synthesis with Yosys: LUTs and flip-flops on Xilinx UltraScale+, area in a standard cell library."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra import escape
from lutra.errors import InputError, ToolError
from lutra.sources import listed_sources, require_harmless
from lutra.synth.netlist.fanout import insert_buffers
from lutra.synth.netlist.liberty import fanout_buffer, flip_flop_names, gate_names, smallest_buffer
from lutra.synth.netlist.packing import packed_luts
from lutra.synth.netlist.sizing import size_gates
from lutra.synth.tools.find import Tool, abc_of, run_tool
from lutra.synth.tools.opensta import CLOCK_PORT

XILINX_MACRO = "LUTRA_XILINX"
"""Selects LUT6 primitives in the generated RTL instead of multiplexer trees."""
IMAGE_SUFFIXES = (".mem", ".hex")
SOURCE_SUFFIXES = (".sv", ".svh", ".v", ".vh", *IMAGE_SUFFIXES)
LUT = re.compile(r"LUT[1-6]")
FLIP_FLOPS = frozenset({"FDRE", "FDSE", "FDCE", "FDPE"})
LATCHES = frozenset({"LDCE", "LDPE"})
SHIFT_REGISTERS = frozenset({"SRL16E", "SRLC16E", "SRLC32E"})
LUT_MEMORIES = {
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM128X1S": 2,
    "RAM256X1S": 4,
    "RAM512X1S": 8,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1D": 4,
    "RAM256X1D": 8,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
}
"""LUTs that a memory in LUTs takes."""
BRAMS = {"RAMB18E1": 0.5, "RAMB18E2": 0.5, "RAMB36E1": 1.0, "RAMB36E2": 1.0}
DSPS = frozenset({"DSP48E1", "DSP48E2"})
COUNTED_APART = {"CARRY4": "carry4", "CARRY8": "carry8", "MUXF7": "muxf7", "MUXF8": "muxf8", "MUXF9": "muxf9"}
BUFFERED = "buffered.json"
MAPPING = "strash;&get -n;&fraig -x;&put;scorr;dc2;strash;&get -n;&dch -f;&nf;&put"
"""What ABC does with logic within Yosys."""
SMALLEST_GATED_GROUP = 8
"""Flip-flops from which on a clock gate pays."""
FREE = frozenset({"BUFG", "GND", "VCC"})


@dataclass(frozen=True)
class FpgaUse:
    """What a module takes of an UltraScale+ device.

    `lut_raw` counts LUT1 to LUT6, inverters, shift registers and memories in LUTs as Yosys mapped them; `lut_packed`
    pairs small ones as vendor tools do (`packing.packed_luts`). MUXF7, MUXF8 and carry chains sit beside the LUTs and
    are counted apart.
    """

    lut_raw: int
    lut_packed: int
    ff: int
    bram: float
    dsp: int
    carry4: int
    carry8: int
    muxf7: int
    muxf8: int
    muxf9: int


@dataclass(frozen=True)
class AsicUse:
    """What a module takes in a standard cell library."""

    area_mm2: float
    cells: int


def sources_of(rtl: Path) -> list[str]:
    """The source files that `rtl/filelist.f` names, in order (see `listed_sources`)."""
    return listed_sources(rtl)


def copy_sources(rtl: Path, folder: Path) -> None:
    """Copy sources and memory images into `folder`, because the WebAssembly Yosys sees only its working directory.

    Raises:
        RunDirectoryError: a source that could do more than compute (see `require_harmless`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [path for path in rtl.rglob("*") if path.suffix in SOURCE_SUFFIXES]
    require_harmless(path for path in paths if path.suffix not in IMAGE_SUFFIXES)
    for path in paths:
        if path.is_file():
            target = folder / path.relative_to(rtl)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def read_sources(sources: list[str]) -> str:
    """The command that reads SystemVerilog for UltraScale+."""
    return f"read_verilog -sv -D{XILINX_MACRO} {' '.join(map(escape.yosys, sources))}"


def fpga_script(sources: list[str], top: str) -> str:
    """The paper's setting: UltraScale+, no DSP; neither BRAM, nor LUTs as memory, nor pads."""
    return "\n".join(
        [
            read_sources(sources),
            f"synth_xilinx -family xcup -nodsp -nobram -nolutram -noiopad -flatten -top {escape.identifier(top)}",
            f"select -module {top}",  # the simulation models of all cells of the device stay out
            "write_json -selected netlist.json",
            "",
        ]
    )


def fpga_script_of_unit(sources: list[str], top: str, parameters: Mapping[str, int], dsp: bool = True) -> str:
    """UltraScale+ with all it has: DSP unless told otherwise, BRAM, memories in LUTs; `top` with other parameters than
    its defaults."""
    given = " ".join(f"-set {name} {value}" for name, value in parameters.items())
    return "\n".join(
        [
            read_sources(sources),
            f"chparam {given} {top}" if given else "",  # at once: a module may check one against the other
            f"synth_xilinx -family xcup {'' if dsp else '-nodsp '}-noiopad -flatten -top {top}",
            f"rename -top {top}",  # a module with other parameters than its defaults may have got another name
            f"select -module {top}",
            "write_json -selected netlist.json",
            "",
        ]
    )


def asic_scripts(
    sources: list[str], top: str, gate_clocks: bool = False, apart: str | None = None
) -> tuple[str, str, str]:
    """Three scripts for standard cells from `cells.lib`: down to generic gates, from there to cells, and to files.

    More than one, because the WebAssembly build can not map to Liberty cells, and an old native Yosys can not be
    trusted with the rest: `synth` of 0.23 gets lookup tables wrong that read the same bit twice. With `gate_clocks`,
    flip-flops that share an enable get a clock gate of the library. Between the second and the third, buffers are
    inserted (`fanout`) and gates sized (`sizing`); the third leaves `netlist.v` for timing and power.
    Modules whose ports are in the file `apart` stay instances.
    """
    escape.identifier(top)
    ports = f"read_verilog -sv -lib {escape.yosys(apart)}" if apart else ""
    to_gates = [
        ports,
        f"read_verilog -sv {' '.join(map(escape.yosys, sources))}",
        f"synth -flatten -noabc -top {top}",
        "opt -full",
        "simplemap",
        f"clockgate -liberty cells.lib -min_net_size {SMALLEST_GATED_GROUP}" if gate_clocks else "",
        "dfflegalize -cell $_DFF_P_ x",
        "opt -fast -nodffe -nosdff",  # enables and resets stay logic in front of the flip-flops
        f"select -module {top}",
        "write_verilog -selected -noattr -noexpr -nohex -nodec -simple-lhs gates.v",
        "write_json -selected netlist.json",
    ]
    to_cells = [
        "read_liberty -lib cells.lib",
        ports,
        "read_verilog -icells gates.v",
        f"hierarchy -top {top}",
        "dfflibmap -liberty cells.lib",
        f"abc -liberty cells.lib -script +{MAPPING.replace(' ', ',')}",
        "opt_clean -purge",
        "write_json netlist.json",
    ]
    to_files = [
        "read_liberty -lib cells.lib",
        ports,
        f"read_json {BUFFERED}",
        f"hierarchy -top {top}",
        "rename -hide c:*",  # simple names, the same in Verilog and JSON
        "rename -enumerate -pattern net% w:*",
        "rename -enumerate -pattern u% c:*",
        "tee -q -o stat.txt stat -liberty cells.lib",
        "write_verilog -noattr -noexpr -nohex -nodec -simple-lhs netlist.v",
        "write_json netlist.json",
    ]
    to_gates_text, to_cells_text, to_files_text = ("\n".join([*each, ""]) for each in (to_gates, to_cells, to_files))
    return to_gates_text, to_cells_text, to_files_text


def synthesise_fpga(yosys: Tool, folder: Path, sources: list[str], top: str) -> FpgaUse:
    """Map `top`, whose sources lie in `folder`, onto UltraScale+ (see `map_fpga`)."""
    return map_fpga(yosys, folder, sources, top)[0]


def map_fpga(yosys: Tool, folder: Path, sources: list[str], top: str) -> tuple[FpgaUse, dict[str, Any]]:
    """Map `top`, whose sources lie in `folder`, onto UltraScale+; also the mapped module in Yosys' JSON form.

    Raises:
        ToolError: Yosys failed, or left no netlist, or one with cells that are not of the device.
    """
    module = run_script(yosys, folder, fpga_script(sources, top), top)[top]
    return fpga_use(module["cells"], f"{yosys.name}, {top}"), module


def synthesise_asic(
    front: Tool,
    mapper: Tool,
    folder: Path,
    sources: list[str],
    top: str,
    scripts: tuple[str, str, str],
    liberty: Path,
    clock_hz: float,
    apart: Collection[str] = (),
    one_pin_inputs: bool = False,
) -> tuple[AsicUse, dict[str, Any]]:
    """Map `top`, whose sources lie in `folder`, onto the cells of `liberty` with `asic_scripts`, sized for a clock.

    Modules `apart` stay instances and are not counted; `one_pin_inputs` as for `insert_buffers`. Leaves `netlist.v` in
    `folder`. Returns also the mapped module in Yosys' JSON form, with the same names.

    Raises:
        ToolError: Yosys failed, left no netlist or area, or left cells that are not in the library.
    """
    content = read_liberty(liberty)
    (folder / "cells.lib").write_bytes(content)
    (folder / "stat.txt").unlink(missing_ok=True)
    run_script(front, folder, scripts[0], top)
    mapped, library = run_script(mapper, folder, scripts[1], top)[top], content.decode("utf-8", errors="replace")
    gates = gate_names(library)
    insert_buffers(mapped, flip_flop_names(library) | gates, CLOCK_PORT, fanout_buffer(library), one_pin_inputs)
    size_gates(abc_of(mapper), folder, mapped, gates, smallest_buffer(library).name, clock_hz)
    (folder / BUFFERED).write_text(json.dumps({"modules": {top: mapped}}), encoding="utf-8")
    module = run_script(mapper, folder, scripts[2], top)[top]
    stat = folder / "stat.txt"
    area_um2 = chip_area_um2(stat.read_text(encoding="utf-8") if stat.exists() else "", top, mapper.name, apart)
    cells = sum(cell["type"] not in apart for cell in module["cells"].values())
    return AsicUse(area_um2 * 1e-6, cells), module


def read_liberty(path: Path) -> bytes:
    """The text of a Liberty file, plain or gzip.

    Raises:
        InputError: cannot be read, or holds no library.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except OSError as error:
        raise InputError(f"{path}: cannot read the Liberty file ({error.strerror or error})") from None
    if not re.search(rb"\blibrary\s*\(", content):
        raise InputError(f"{path}: not a Liberty file; give the standard cells' .lib or .lib.gz")
    return content


def fpga_use(cells: dict[str, Any], where: str) -> FpgaUse:
    """Count the cells of a netlist in Yosys' JSON format.

    Raises:
        ToolError: a cell that is not of the device (a module that was not flattened, an unmapped operator).
    """
    counts = Counter(cell["type"] for cell in cells.values())
    known = (
        FLIP_FLOPS
        | LATCHES
        | SHIFT_REGISTERS
        | LUT_MEMORIES.keys()
        | BRAMS.keys()
        | DSPS
        | COUNTED_APART.keys()
        | FREE
        | {"INV"}
    )
    unknown = sorted(name for name in counts if name not in known and not LUT.fullmatch(name))
    if unknown:
        raise ToolError(f"{where}: the netlist has cells that are not of the device: {', '.join(unknown[:5])}")
    luts = [_input_nets(cell) for cell in cells.values() if LUT.fullmatch(cell["type"]) or cell["type"] == "INV"]
    memories = sum(luts_of_one * counts[name] for name, luts_of_one in LUT_MEMORIES.items())
    whole = sum(counts[name] for name in SHIFT_REGISTERS) + memories
    return FpgaUse(
        lut_raw=len(luts) + whole,
        lut_packed=packed_luts(luts) + whole,
        ff=sum(counts[name] for name in FLIP_FLOPS | LATCHES),
        bram=sum(weight * counts[name] for name, weight in BRAMS.items()),
        dsp=sum(counts[name] for name in DSPS),
        **{field: counts[name] for name, field in COUNTED_APART.items()},
    )


def chip_area_um2(stat: str, top: str, where: str, apart: Collection[str] = ()) -> float:
    """The area that `stat -liberty` printed for `top`, without modules `apart`, in the library's units (um2).

    Raises:
        ToolError: the line did not come out, or cells of unknown area are left.
    """
    unknown = {name.lstrip("\\") for name in re.findall(r"Area for cell type (\S+) is unknown", stat)} - set(apart)
    if unknown:
        raise ToolError(f"{where}: the library has no area for {min(unknown)}; is it a complete standard cell library?")
    match = re.search(rf"Chip area for (?:top )?module '\\?{re.escape(top)}':\s*([0-9.eE+-]+)", stat)
    if not match:
        raise ToolError(f"{where}: printed no area of {top}; the mapping died silently, try another Yosys")
    return float(match[1])


def run_script(yosys: Tool, folder: Path, script: str, top: str) -> dict[str, dict[str, Any]]:
    """Run a script in `folder` and return the modules of the netlist that it left, in Yosys' JSON form.

    Raises:
        ToolError: Yosys failed, or left no netlist of `top`.
    """
    netlist = folder / "netlist.json"
    netlist.unlink(missing_ok=True)
    (folder / "script.ys").write_text(script, encoding="utf-8")
    # The WebAssembly build loses standard output after its first call of ABC, but not the file of -l.
    run_tool(yosys, ["-q", "-l", "yosys.log", "-s", "script.ys"], folder, folder / "output.log")
    try:
        modules: dict[str, dict[str, Any]] = json.loads(netlist.read_text(encoding="utf-8"))["modules"]
        for module in modules.values():
            # $scopeinfo only remembers hierarchy.
            module["cells"] = {name: cell for name, cell in module["cells"].items() if cell["type"] != "$scopeinfo"}
        top_cells = modules[top]["cells"]
    except (OSError, json.JSONDecodeError, KeyError) as error:
        # A dying pass may still return 0: believe only the netlist.
        raise ToolError(f"{yosys.name} left no netlist of {top} ({error!r}); see {folder / 'yosys.log'}") from None
    netlist.unlink()
    if not top_cells:
        raise ToolError(f"{yosys.name}: the netlist of {top} is empty; see {folder / 'yosys.log'}")
    return modules


def _input_nets(cell: dict[str, Any]) -> frozenset[int]:
    """The nets that a cell reads; constants are strings in Yosys' JSON."""
    return frozenset(
        bit
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "input"
        for bit in bits
        if isinstance(bit, int)
    )
