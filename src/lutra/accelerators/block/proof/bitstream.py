"""Whether a bitstream for an ECP5 holds the trained tables.

In RTL for ECP5 every table is made of LUT4 cells that synthesis keeps, so each 16 entries of it are one cell with a
name. The netlist says which bits of the network each cell reads; place and route says where on the device it lies; what
the bitstream holds there, unpacked again, is compared with the trained entries. All other LUTs are compared with the
netlist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import MismatchError, ToolError
from lutra.synth.netlist.cells import Net
from lutra.synth.tools.ecp5 import place_of

UNPROGRAMMED = 0xFFFF
"""What a LUT holds whose bits are all 0 in the bitstream; its contents are not written out when it is unpacked."""
INPUTS = "ABCD"
"""Of a LUT4, the least significant first."""
MULTIPLEXERS = {5: ("PFUMX", "gen_pair", ("BLUT", "ALUT", "C0")), 6: ("L6MUX21", "gen_four", ("D0", "D1", "SD"))}
"""That join two halves in a slice, by inputs: cell, name in lutra_lut.sv, ports of low half, high half, and choice."""
MOST_IN_A_SLICE = max(MULTIPLEXERS)
Place = tuple[int, int, str]


@dataclass(frozen=True)
class BitstreamProof:
    """What was compared."""

    tables: int
    """Trained tables, every entry of each found in the bitstream."""
    table_luts: int
    """LUT4s that hold them."""
    other_luts: int
    """LUT4s that hold what the netlist says."""


def prove_bitstream(
    plans: Sequence[BlockPlan],
    paths: Sequence[str],
    netlist: Mapping[str, Any],
    placed: Mapping[str, Any],
    contents: Mapping[Place, int],
) -> BitstreamProof:
    """Compare the contents of a bitstream with the tables of blocks, and with the netlist it was made from.

    `paths` are the hierarchical names of the blocks. `netlist` is the flattened module in Yosys' JSON form, `placed`
    the same after place and route, `contents` what the bitstream holds, by place.

    Raises:
        MismatchError: something differs; names block, table and entry.
        ToolError: the netlist has no such cell or signal.
    """
    tables, compared = 0, set[str]()
    for plan, path in zip(plans, paths, strict=True):
        nets = _nets_of(plan, path, netlist)
        for layer in range(1, len(plan.layers)):
            for bit in plan.existing(layer):
                table = _Table(plan, path, layer, bit, nets, netlist, placed, contents)
                table.compare()
                compared |= table.luts
                tables += 1
    others = 0
    for name, cell in netlist["cells"].items():
        if cell["type"] == "LUT4" and name not in compared:
            found, wanted = _found(name, placed, contents), int(cell["parameters"]["INIT"], 2)
            if found != wanted:
                raise MismatchError(f"bitstream: LUT {name} holds {found:04x}, the netlist has {wanted:04x}")
            others += 1
    return BitstreamProof(tables, len(compared), others)


def _nets_of(plan: BlockPlan, path: str, netlist: Mapping[str, Any]) -> dict[str, Net]:
    """The nets of every existing bit of every layer, by what the plan calls it inside the network module."""
    nets: dict[str, Net] = {"1'b0": "0", "1'b1": "1"}
    for layer in range(len(plan.layers)):
        if plan.existing(layer):
            name = f"{path}.layer_0" if layer == 0 else f"{path}.u_network.layer_{layer}"
            if name not in netlist["netnames"]:
                raise ToolError(f"{plan.name}: the netlist has no signal {name}")
            bits = netlist["netnames"][name]["bits"]
            nets |= {plan.wire(layer, bit): net for bit, net in zip(plan.existing(layer), bits, strict=True)}
    return nets


class _Table:
    """One trained table beside the cells that lutra_lut.sv makes of it for ECP5."""

    def __init__(
        self,
        plan: BlockPlan,
        path: str,
        layer: int,
        bit: int,
        nets: Mapping[str, Net],
        netlist: Mapping[str, Any],
        placed: Mapping[str, Any],
        contents: Mapping[Place, int],
    ) -> None:
        op: Any = plan.layers[layer]
        self.where = f"{plan.name}: table {bit} of layer {layer}"
        self.table: np.ndarray = op.tables[bit]
        self.sources = [plan.wire(layer - 1, int(source)) for source in op.connections[bit]]
        self.output = nets[plan.wire(layer, bit)]
        self.path = f"{path}.u_network.u_lut_{layer}_{bit}"
        self.nets, self.cells, self.placed, self.contents = nets, netlist["cells"], placed, contents
        self.luts: set[str] = set()

    def compare(self) -> None:
        """Every entry, every input, and every multiplexer up to 6 inputs; above, multiplexers are logic."""
        made = self._part(self.table, self.path)
        if made is not None and made != self.output:
            raise MismatchError(f"{self.where}: its cells do not drive its bit in the netlist")

    def _part(self, table: np.ndarray, path: str) -> Net | None:
        """Compare a part of the table; the net that its cells drive, None where that is logic."""
        inputs = len(table).bit_length() - 1
        if inputs <= len(INPUTS):
            return self._lut(table, f"{path}.gen_lut4.u_lut4", inputs)
        half = len(table) // 2
        low = self._part(table[:half], f"{path}.gen_halves.u_low")
        high = self._part(table[half:], f"{path}.gen_halves.u_high")
        if inputs > MOST_IN_A_SLICE:
            return None
        kind, name, ports = MULTIPLEXERS[inputs]
        cell = self._cell(f"{path}.gen_halves.{name}.u_mux", kind)
        self._reads(cell, ports[2], inputs - 1)
        if [cell["connections"][port][0] for port in ports[:2]] != [low, high]:
            raise MismatchError(f"{self.where}: a multiplexer reads other cells than those of its halves")
        driven: Net = cell["connections"]["Z"][0]
        return driven

    def _lut(self, table: np.ndarray, name: str, inputs: int) -> Net:
        cell = self._cell(name, "LUT4")
        for place, port in enumerate(INPUTS[:inputs]):
            self._reads(cell, port, place)
        wanted = int((np.tile(table, 16 // len(table)).astype(np.int64) << np.arange(16)).sum())
        differing = _found(name, self.placed, self.contents) ^ wanted
        if differing:
            entry = (differing & -differing).bit_length() - 1
            trained = wanted >> entry & 1
            raise MismatchError(
                f"{self.where}: LUT {name} has entry {entry} = {1 - trained} in the bitstream, trained is {trained}"
            )
        self.luts.add(name)
        driven: Net = cell["connections"]["Z"][0]
        return driven

    def _cell(self, name: str, kind: str) -> dict[str, Any]:
        cell: dict[str, Any] | None = self.cells.get(name)
        if cell is None or cell["type"] != kind:
            raise ToolError(f"{self.where}: the netlist has no {kind} {name}")
        return cell

    def _reads(self, cell: dict[str, Any], port: str, place: int) -> None:
        if cell["connections"][port][0] != self.nets[self.sources[place]]:
            raise MismatchError(f"{self.where}: input {place} is not {self.sources[place]} in the netlist")


def _found(name: str, placed: Mapping[str, Any], contents: Mapping[Place, int]) -> int:
    """What the bitstream holds where place and route has put a LUT."""
    cell = placed["cells"].get(name)
    place = place_of(cell) if cell else None
    if place is None:
        raise ToolError(f"the placed design has no LUT {name}")
    return contents.get(place, UNPROGRAMMED)
