"""Writes the SystemVerilog of BAT for a configuration: hand-written modules as they are, and a top that sizes them."""

from __future__ import annotations

import re
from pathlib import Path

from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.sizes import module_parameters
from lutra.accelerators.bat.tables import EXP_FILE, RECIPROCAL_FILE, ROOT_FILE, rom_files

HERE = Path(__file__).parent
SOURCES = (HERE / "rtl", HERE.parents[1] / "hardware" / "lib")
TOP = "bat"
INSTANCE = re.compile(r"\b(lutra_\w+) (?:#\(|u_)")


def design_files(config: BatConfig) -> dict[str, str]:
    """All files of the accelerator: name -> text, modules after those that they need, then the contents of its ROMs."""
    parameters = module_parameters(config, config.attention, attention=True, feed_forward=True)
    top = _top(parameters)
    return _needed(top) | {f"{TOP}.sv": top} | rom_files()


def _needed(top: str) -> dict[str, str]:
    library = {path.stem: path.read_text(encoding="utf-8") for folder in SOURCES for path in folder.glob("*.sv")}
    ordered: dict[str, str] = {}

    def add(text: str, own: str) -> None:
        for name in INSTANCE.findall(text):
            if name in library and name != own and f"{name}.sv" not in ordered:
                add(library[name], name)
                ordered[f"{name}.sv"] = library[name]

    add(top, TOP)
    return ordered


def module_ports() -> str:
    """Ports of a module, one per line without comments, without the last comma."""
    return ",\n".join(re.sub(r",?\s*//.*", "", line) for line in _port_lines())


def port_names() -> list[str]:
    return [line.split()[-1] for line in module_ports().replace(",", "").splitlines()]


def _port_lines() -> list[str]:
    module = (SOURCES[0] / "lutra_bat_module.sv").read_text(encoding="utf-8")
    return module[module.index(") (\n") + 4 : module.index("\n);")].splitlines()


def _top(parameters: dict[str, int]) -> str:
    ports = "\n".join(_port_lines())
    files = {"ExpFile": EXP_FILE, "ReciprocalFile": RECIPROCAL_FILE, "RootFile": ROOT_FILE}
    given = [f"    .{name}({value})" for name, value in parameters.items()]
    given += [f'    .{name}("{file}")' for name, file in files.items()]
    connections = ",\n".join(f"    .{name}" for name in port_names())
    joined = ",\n".join(given)
    return (
        f"// One module of BAT with the sizes of a configuration.\n//\n// Timing: see lutra_bat_module.\n"
        f"module {TOP} (\n{ports}\n);\n\n  lutra_bat_module #(\n{joined}\n  ) u_module (\n{connections}\n  );\n\n"
        "endmodule\n"
    )
