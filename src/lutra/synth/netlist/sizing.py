"""Sizes of the gates of a mapped netlist, which ABC chooses when all buffers are in.

Within Yosys ABC maps and sizes at once, when nothing behind a flip-flop is buffered yet; and what its own command
`buffer` puts behind a gate of some hundred readers is a chain, of eight buffers and more. So gates go to ABC once more
by themselves, with the buffers of `fanout`, and come back in other sizes; the logic stays as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from lutra.errors import ToolError
from lutra.synth.tools.find import Tool, run_tool

SHARE_OF_PERIOD = 0.7
"""What a path of gates may take of the clock's period; the rest is for the flip-flops at its ends."""
LOAD_FF = 4
"""What the flip-flops and the parts of a design behind a gate are to it."""
MOST_PINS = 4
"""A gate that drives more pins of flip-flops and other parts keeps its size: ABC does not see how many they are."""
SENT, SIZED, CONSTRAINTS = "gates.blif", "sized.blif", "sizing.constr"


def sizing_commands(clock_hz: float) -> str:
    """What ABC does: larger gates until paths take no longer than they may, then smaller ones where there is time."""
    target_ps = round(SHARE_OF_PERIOD * 1e12 / clock_hz)
    steps = ["read_lib -w cells.lib", f"read_constr {CONSTRAINTS}", f"read_blif {SENT}", "topo"]
    return "; ".join([*steps, f"upsize -D {target_ps}", f"dnsize -D {target_ps}", f"write_blif {SIZED}"])


def size_gates(abc: Tool, folder: Path, module: dict[str, Any], gates: set[str], source: str, clock_hz: float) -> None:
    """Choose the sizes of a mapped module's gates, in place; `gates` are the library's cells that are nothing else.

    `source` is a cell that drives as a flip-flop does: without one, ABC puts the largest buffers behind them. The
    module is in Yosys' JSON form, the library `cells.lib` in `folder`. Names of nets between gates are lost.

    Raises:
        ToolError: ABC failed, or lost gates.
    """
    cells = module["cells"]
    loads = Counter(net for cell in cells.values() if cell["type"] not in gates for net in _nets(cell, "input"))
    sized = {
        name: cell
        for name, cell in cells.items()
        if cell["type"] in gates and len(out := _nets(cell, "output")) == 1 and loads[out[0]] <= MOST_PINS
    }
    driven = {net for cell in sized.values() for net in _nets(cell, "output")}
    others = [cell for name, cell in cells.items() if name not in sized]
    read = {net for cell in others for net in _nets(cell, "input")}
    read |= {net for port in module["ports"].values() for net in port["bits"]}
    if driven.isdisjoint(read):
        return
    sources = {net for cell in sized.values() for net in _nets(cell, "input")} - driven
    lines = [
        ".model gates",
        f".inputs {' '.join(sorted(map(_name, sources)))}",
        f".outputs {' '.join(sorted(map(_name, driven & read)))}",
    ]
    for cell in sized.values():  # the output's pin comes last
        directions, nets = cell["port_directions"], cell["connections"]
        pins = [f"{pin}={_name(nets[pin][0])}" for pin in sorted(nets, key=lambda pin: directions[pin] == "output")]
        lines.append(f".gate {cell['type']} {' '.join(pins)}")
    (folder / SENT).write_text("\n".join([*lines, ".end", ""]), encoding="utf-8")
    (folder / CONSTRAINTS).write_text(f"set_driving_cell {source}\nset_load {LOAD_FF}\n", encoding="utf-8")
    (folder / SIZED).unlink(missing_ok=True)
    run_tool(abc, ["-c", sizing_commands(clock_hz)], folder, folder / "abc.log")
    back = _read(folder / SIZED)
    returned = {pins[list(pins)[-1]] for _, pins in back}
    if not {_name(net) for net in driven & read} <= returned:
        raise ToolError(f"{abc.name} lost some of {len(sized)} gates; see {folder / 'abc.log'}")
    for name in sized:
        del cells[name]
    _put_back(module, back, driven - read)


def _put_back(module: dict[str, Any], gates: list[tuple[str, dict[str, str]]], lost: set[int | str]) -> None:
    """Insert the gates that ABC returned; nets between them get new numbers, and names of `lost` nets go."""
    cells, names = module["cells"], module["netnames"]
    free = 1 + max(net for each in names.values() for net in each["bits"] if isinstance(net, int))
    module["netnames"] = names = {name: each for name, each in names.items() if lost.isdisjoint(each["bits"])}
    numbers: dict[str, int] = {}
    for number, (kind, pins) in enumerate(gates):
        connections: dict[str, list[int | str]] = {}
        for pin, net in pins.items():
            if (known := re.fullmatch(r"(net|constant)_(\w)(\d*)", net)) is None:
                if net not in numbers:
                    numbers[net] = free + len(numbers)
                    names[f"between_gates_{numbers[net]}"] = {"bits": [numbers[net]], "attributes": {}}
                connections[pin] = [numbers[net]]
            else:
                connections[pin] = [int(known[2] + known[3]) if known[1] == "net" else known[2]]
        output = list(pins)[-1]
        cells[f"gate_{number}"] = {
            "type": kind,
            "parameters": {},
            "attributes": {},
            "port_directions": {pin: "output" if pin == output else "input" for pin in pins},
            "connections": connections,
        }


def _read(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Type and pins of every gate in a BLIF file; the output's pin comes last."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    gates = [line.split()[1:] for line in lines if line.startswith(".gate ")]
    return [(kind, dict(pin.split("=") for pin in pins)) for kind, *pins in gates]


def _name(net: int | str) -> str:
    """A net's name in BLIF; constants are inputs there, so that they stay what they are."""
    return f"net_{net}" if isinstance(net, int) else f"constant_{net}"


def _nets(cell: dict[str, Any], direction: str) -> list[int | str]:
    directions = cell["port_directions"]
    return [net for pin, nets in cell["connections"].items() if directions[pin] == direction for net in nets]
