"""Whether a bitstream for an ECP5 holds the trained tables.

In RTL for ECP5 every table is made of LUT4 cells that synthesis keeps, so each 16 entries of it are one cell with a
name. The netlist says which bits of the network each cell reads; place and route says where on the device it lies; what
the bitstream holds there, unpacked again, is compared with the trained entries. All other LUTs are compared with the
netlist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import MismatchError, ToolError
from lutra.synth.netlist.cells import Net
from lutra.synth.tools.ecp5 import place_of

INPUTS = "ABCD"
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


@dataclass(frozen=True)
class _Leaf:
    """A LUT4 of a table: its cell, its entries as 16 bits, and the bits that its inputs read."""

    cell: str
    entries: int
    inputs: tuple[str, ...]


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
    tables, compared = 0, set()
    for plan, path in zip(plans, paths, strict=True):
        nets = _nets_of(plan, path, netlist)
        for layer in range(1, len(plan.layers)):
            for bit in plan.existing(layer):
                for leaf in _leaves(plan, path, layer, bit):
                    _compare_leaf(plan, layer, bit, leaf, nets, netlist, placed, contents)
                    compared.add(leaf.cell)
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


def _leaves(plan: BlockPlan, path: str, layer: int, bit: int) -> Iterator[_Leaf]:
    """The LUT4s of a table, as lutra_lut.sv makes them."""
    op: Any = plan.layers[layer]
    sources = tuple(plan.wire(layer - 1, int(source)) for source in op.connections[bit])

    def split(table: np.ndarray, name: str) -> Iterator[_Leaf]:
        inputs = len(table).bit_length() - 1
        if inputs <= len(INPUTS):
            entries = np.tile(table, 16 // len(table))
            word = int((entries.astype(np.int64) << np.arange(16)).sum())
            yield _Leaf(f"{name}.gen_lut4.u_lut4", word, sources[: min(len(sources), len(INPUTS))])
            return
        half = len(table) // 2
        yield from split(table[:half], f"{name}.gen_halves.u_low")
        yield from split(table[half:], f"{name}.gen_halves.u_high")

    yield from split(op.tables[bit], f"{path}.u_network.u_lut_{layer}_{bit}")


def _compare_leaf(
    plan: BlockPlan,
    layer: int,
    bit: int,
    leaf: _Leaf,
    nets: Mapping[str, Net],
    netlist: Mapping[str, Any],
    placed: Mapping[str, Any],
    contents: Mapping[Place, int],
) -> None:
    where = f"{plan.name}: table {bit} of layer {layer}"
    cell = netlist["cells"].get(leaf.cell)
    if cell is None or cell["type"] != "LUT4":
        raise ToolError(f"{where}: the netlist has no LUT4 {leaf.cell}")
    read = [cell["connections"][port][0] for port in INPUTS[: len(leaf.inputs)]]
    wanted = [nets[source] for source in leaf.inputs]
    if read != wanted:
        place = next(place for place, pair in enumerate(zip(read, wanted, strict=True)) if pair[0] != pair[1])
        raise MismatchError(f"{where}: input {place} is not {leaf.inputs[place]} in the netlist")
    found = _found(leaf.cell, placed, contents)
    if found != leaf.entries:
        entry = ((found ^ leaf.entries) & -(found ^ leaf.entries)).bit_length() - 1
        trained = leaf.entries >> entry & 1
        raise MismatchError(
            f"{where}: LUT {leaf.cell} has entry {entry} = {1 - trained} in the bitstream, trained is {trained}"
        )


def _found(name: str, placed: Mapping[str, Any], contents: Mapping[Place, int]) -> int:
    """What the bitstream holds where place and route has put a LUT."""
    cell = placed["cells"].get(name)
    place = place_of(cell) if cell else None
    if place is None:
        raise ToolError(f"the placed design has no LUT {name}")
    return contents.get(place, 0)
