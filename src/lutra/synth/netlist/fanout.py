"""Trees of buffers in a mapped netlist, behind whatever drives too many pins.

ABC sees flip-flops as inputs of its network, gives them no load and puts no buffers behind them, whatever its command
`buffer` is told: a single one would drive hundreds of pins. Behind gates it puts chains.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from lutra.synth.netlist.liberty import Buffer

LARGEST_FANOUT = 16
"""Pins that anything drives at most."""
LARGEST_ROOT = 8
"""Buffers that a flip-flop, a gate or an input drives at most, which are slower than buffers."""


def insert_buffers(
    module: dict[str, Any], drivers: Collection[str], clock: str, buffer: Buffer, one_pin_inputs: bool = False
) -> int:
    """Put trees of `buffer` behind the inputs of a mapped module and behind its cells of the types `drivers`, in place.

    The module is in Yosys' JSON form; the port `clock` is left alone. With `one_pin_inputs`, an input of several pins
    gets one: what drives it drives as many other modules, too. Returns how many were inserted.
    """
    cells, names = module["cells"], module["netnames"]
    clocks = set(module["ports"][clock]["bits"])
    inputs = {net for port in module["ports"].values() if port["direction"] == "input" for net in port["bits"]}
    roots = sorted(inputs, key=str)
    pins: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
    for name, cell in cells.items():
        for pin, nets in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit, driver in enumerate(nets):
                    pins[driver].append((name, pin, bit))
            elif nets and cell["type"] in drivers:
                roots.append(nets[0])
    free = 1 + max(net for net_name in names.values() for net in net_name["bits"] if isinstance(net, int))
    inserted = 0
    for root in roots:
        driven = pins[root] if root not in clocks else []
        one_pin = one_pin_inputs and root in inputs
        if len(driven) <= LARGEST_FANOUT and not one_pin:
            continue
        while len(driven) > (1 if one_pin else LARGEST_ROOT):
            level = []
            for first in range(0, len(driven), LARGEST_FANOUT):
                name, net = f"fanout_buffer_{inserted}", free + inserted
                for cell, pin, bit in driven[first : first + LARGEST_FANOUT]:
                    cells[cell]["connections"][pin][bit] = net
                cells[name] = _instance(buffer, root, net)
                names[f"fanout_net_{inserted}"] = {"bits": [net], "attributes": {}}
                level.append((name, buffer.input_pin, 0))
                inserted += 1
            driven = level
    return inserted


def _instance(buffer: Buffer, source: int, net: int) -> dict[str, Any]:
    return {
        "type": buffer.name,
        "parameters": {},
        "attributes": {},
        "port_directions": {buffer.input_pin: "input", buffer.output_pin: "output"},
        "connections": {buffer.input_pin: [source], buffer.output_pin: [net]},
    }
