"""Writes the SystemVerilog of BAT for a configuration: hand-written modules as they are, and a top that sizes them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.sizes import node_parameters
from lutra.accelerators.bat.tables import EXP_FILE, RECIPROCAL_FILE, ROOT_FILE, rom_files
from lutra.hardware.design import Design, library_files

RTL = Path(__file__).parent / "rtl"
TOP = "bat"
_ROMS = {"ExpFile": EXP_FILE, "ReciprocalFile": RECIPROCAL_FILE, "RootFile": ROOT_FILE}
_SHARED = ("clk_i", "rst_ni", "start_i")
_PEER = {"peer_job_end_i": "job_end", "input_write_i": "write", "input_address_i": "address", "input_data_i": "data"}
"""Ports that the other module drives, and the signals that it drives them with."""
_TO_PEER = {"job_end_o": "job_end", "peer_write_o": "write", "peer_address_o": "address", "peer_data_o": "data"}


class Port(NamedTuple):
    """Of the top."""

    direction: str
    bits: int
    name: str

    def __str__(self) -> str:
        return f"{self.direction} logic {f'[{self.bits - 1}:0] ' if self.bits > 1 else ''}{self.name}"


def bat_design(config: BatConfig) -> Design:
    """The accelerator of a configuration, with the contents of its ROMs beside its modules."""
    modules = Design.complete({f"{TOP}.sv": _top(config)}, library_files(RTL))
    return Design({**modules.files, **rom_files()}, {"top": TOP, "config": config.to_mapping()})


def top_ports(config: BatConfig) -> list[Port]:
    """Clock, reset and start; then the ports of every module, with its number before their names."""
    shared = [Port("input", 1, name) for name in _SHARED]
    hidden = {*_SHARED, *_PEER, *_TO_PEER}
    own = [port for port in _node_ports() if port.name not in hidden]
    return shared + [
        Port(port.direction, port.bits, f"m{index}_{port.name}") for index in range(len(config.modules)) for port in own
    ]


@cache
def _node_ports() -> list[Port]:
    """Ports of a node; the widths of those between modules are left at 1."""
    text = library_files(RTL)["lutra_bat_node.sv"]
    ports = text[text.index(") (\n") : text.index("\n);")]
    found = re.findall(r"^  (input|output) +logic +(?:\[([^\]]+):0\] +)?(\w+)", ports, re.MULTILINE)
    return [Port(direction, int(high) + 1 if high.isdigit() else 1, name) for direction, high, name in found]


def _top(config: BatConfig) -> str:
    nodes = node_parameters(config)
    lines = [
        f"// BAT with {len(nodes)} module{'s' if len(nodes) > 1 else ''} and the sizes of a configuration.",
        "//",
        "// Timing: see lutra_bat_node. All programs start together.",
        f"module {TOP} (",
        ",\n".join(f"  {port}" for port in top_ports(config)),
        ");",
        "",
    ]
    for index, parameters in enumerate(nodes):
        word = parameters["Elements"] * parameters["Bits"]
        lines += [
            f"  logic m{index}_job_end;",
            f"  logic [{parameters['Elements'] // parameters['XGranule'] - 1}:0] m{index}_write;",
            f"  logic [15:0] m{index}_address;",
            f"  logic [{word - 1}:0] m{index}_data;",
        ]
    for index, parameters in enumerate(nodes):
        given = [f"    .{name}({value})" for name, value in parameters.items()]
        given += [f'    .{name}("{file}")' for name, file in _ROMS.items()]
        connected = [f"    .{port.name}({_net(port.name, index, len(nodes))})" for port in _node_ports()]
        lines += ["", "  lutra_bat_node #(", ",\n".join(given), f"  ) u_m{index} (", ",\n".join(connected), "  );"]
    if len(nodes) == 1:
        lines += ["", "  logic unused;", "", "  assign unused = ^{m0_job_end, m0_write, m0_address, m0_data};"]
    return "\n".join([*lines, "", "endmodule", ""])


def _net(port: str, index: int, nodes: int) -> str:
    if port in _SHARED:
        return port
    if port in _TO_PEER:
        return f"m{index}_{_TO_PEER[port]}"
    if port in _PEER:
        return "'0" if nodes == 1 else f"m{1 - index}_{_PEER[port]}"
    return f"m{index}_{port}"
