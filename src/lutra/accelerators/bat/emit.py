"""Writes the SystemVerilog of BAT for a configuration: hand-written modules as they are, and a top that sizes them."""

from __future__ import annotations

import re
from pathlib import Path

from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.sizes import module_parameters
from lutra.accelerators.bat.tables import EXP_FILE, RECIPROCAL_FILE, ROOT_FILE, rom_files
from lutra.hardware.design import Design, library_files

RTL = Path(__file__).parent / "rtl"
TOP = "bat"


def bat_design(config: BatConfig) -> Design:
    """The accelerator of a configuration, with the contents of its ROMs beside its modules."""
    parameters = module_parameters(config, config.attention, attention=True, feed_forward=True)
    modules = Design.complete({f"{TOP}.sv": _top(parameters)}, library_files(RTL))
    return Design({**modules.files, **rom_files()}, {"top": TOP, "config": config.to_mapping()})


def module_ports() -> str:
    """Ports of a module, one per line without comments, without the last comma."""
    return ",\n".join(re.sub(r",?\s*//.*", "", line) for line in _port_lines())


def port_names() -> list[str]:
    return [line.split()[-1] for line in module_ports().replace(",", "").splitlines()]


def _port_lines() -> list[str]:
    module = (RTL / "lutra_bat_module.sv").read_text(encoding="utf-8")
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
