"""The systolic array in standard cells: an element and an edge lane, counted up; a small grid whole, to check that.

A processing element has the same gates wherever it stands, and registers towards its neighbours. Its switching is
counted at the operands that elements at many places of an array see while it multiplies two matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutra.errors import MismatchError, ToolError
from lutra.frozen.types import IntArray
from lutra.rtl.emit import complete
from lutra.synth.activity import Switching, SwitchingCount, annotation, to_words, words_of
from lutra.synth.asic import Asic
from lutra.synth.gates import LANES_PER_WORD, GateNetlist
from lutra.synth.lanes import write_sources
from lutra.synth.opensta import measured_power, time_and_power

SUM_BITS = 32
"""Bits of an element's sum, as in `lutra_systolic_gemm`."""


@dataclass(frozen=True)
class Operands:
    """What enters one element, or all rows and columns of a grid, cycle by cycle in many simulations.

    `left` is (cycles, rows, simulations), `right` (cycles, columns, simulations), int8; `restart`, (cycles,), is 1
    where a tile begins.
    """

    left: IntArray
    right: IntArray
    restart: IntArray

    def sums(self) -> IntArray:
        """Per tile and element what must be summed, (tiles, rows, columns, simulations); the last tile may go on."""
        starts = np.flatnonzero(self.restart)
        products = self.left[:, :, None] * self.right[:, None, :]
        return np.add.reduceat(products, starts)


def operands(left: IntArray, right: IntArray, size: int, tiles: int, simulations: int, seed: int = 0) -> Operands:
    """Operands of a `size` x `size` array for (M, K) x (K, P), each simulation from another tile on, not skewed."""
    row_tiles, column_tiles = left.shape[0] // size, right.shape[1] // size
    first = np.random.default_rng(seed).integers(0, row_tiles * column_tiles, simulations)
    tile = (first + np.arange(tiles)[:, None]) % (row_tiles * column_tiles)  # (tiles, simulations)
    rows = (tile // column_tiles)[:, None] * size + np.arange(size)[:, None]  # (tiles, size, simulations)
    columns = (tile % column_tiles)[:, None] * size + np.arange(size)[:, None]
    inner = left.shape[1]
    a = left[rows].transpose(0, 3, 1, 2).reshape(tiles * inner, size, simulations)
    b = right.T[columns].transpose(0, 3, 1, 2).reshape(tiles * inner, size, simulations)
    restart = np.zeros(tiles * inner, np.int64)
    restart[::inner] = 1
    return Operands(a, b, restart)


def measure_element(asic: Asic, folder: Path, given: Operands) -> dict[str, Any]:
    """Map one processing element, and count what it does with the operands of row 0 and column 0.

    Returns area, cells, slack of its own paths, and power: at 12.5 % everywhere, and counted.

    Raises:
        MismatchError: the mapped cells sum something else than `given`.
        ToolError: a tool failed, or OpenSTA is not installed.
    """
    ports = {"clk_i": 1, "restart_i": 1, "a_i": 8, "b_i": 8}, {"restart_o": 1, "a_o": 8, "b_o": 8, "sum_o": SUM_BITS}
    text = _wrapper("element", *ports, f"lutra_systolic_pe #(.SumBits({SUM_BITS})) u_pe (.*);")
    inputs = {
        "restart_i": np.broadcast_to(given.restart[:, None], given.left[:, 0].shape),
        "a_i": given.left[:, 0],
        "b_i": given.right[:, 0],
    }
    return _measure(asic, folder, "element", text, inputs, _first_sums(given, "sum_o"))


def measure_grid(asic: Asic, folder: Path, given: Operands) -> dict[str, Any]:
    """Map all elements of an array whole, with the multiplexers that take sums out of its columns, and count.

    Returns what `measure_element` returns.
    """
    rows, columns = given.left.shape[1], given.right.shape[1]
    row_bits = (rows - 1).bit_length()
    inside = f"logic [{rows * (columns + 1) - 1}:0] restarts;\n  logic [{8 * rows * (columns + 1) - 1}:0] operands;\n"
    inside += f"  assign restarts[0 +: {rows}] = restart_i;\n  assign operands[0 +: {8 * rows}] = a_i;\n"
    inside += f"  assign restart_o = restarts[{rows * columns} +: {rows}];\n"
    inside += f"  assign a_o = operands[{8 * rows * columns} +: {8 * rows}];\n"
    parameters = f".Size({rows}), .RowBits({row_bits}), .SumBits({SUM_BITS})"
    for column in range(columns):
        here, behind = rows * column, rows * (column + 1)
        inside += (
            f"  lutra_systolic_column #({parameters}) u_column_{column} (\n"
            f"    .clk_i, .restart_i(restarts[{here} +: {rows}]), .a_i(operands[{8 * here} +: {8 * rows}]),\n"
            f"    .restart_o(restarts[{behind} +: {rows}]), .a_o(operands[{8 * behind} +: {8 * rows}]),\n"
            f"    .b_i(b_i[{8 * column} +: 8]), .row_i, .sum_o(sums_o[{SUM_BITS * column} +: {SUM_BITS}])\n  );\n"
        )
    ports = (
        {"clk_i": 1, "restart_i": rows, "a_i": 8 * rows, "b_i": 8 * columns, "row_i": row_bits},
        {"restart_o": rows, "a_o": 8 * rows, "sums_o": SUM_BITS * columns},
    )
    restart = np.broadcast_to(given.restart[:, None, None], given.left.shape)
    cycles = np.broadcast_to(np.arange(len(restart))[:, None], restart[:, 0].shape)
    inputs = {
        "restart_i": _joined(_skewed(restart), 1),
        "a_i": _joined(_skewed(given.left), 8),
        "b_i": _joined(_skewed(given.right), 8),
        "row_i": cycles % rows,
    }
    return _measure(asic, folder, "grid", _wrapper("grid", *ports, inside), inputs, _first_sums(given, "sums_o"))


def measure_edge(asic: Asic, folder: Path, depth: int, stream: IntArray, writes: bool) -> dict[str, Any]:
    """Map one lane of an edge buffer whose two banks of `depth` operands are flip-flops, and count.

    It feeds the operands of `stream`, (cycles, simulations), int8, from one bank; with `writes`, the other one fills
    at the same time, else the first bank's are fed again and again.

    Returns what `measure_element` returns.
    """
    bits = (2 * depth - 1).bit_length()
    ports = (
        {"clk_i": 1, "rst_ni": 1, "write_i": 1, "write_address_i": bits, "operand_i": 8}
        | {"read_i": 1, "restart_i": 1, "address_i": bits},
        {"read_o": 1, "restart_o": 1, "address_o": bits, "operand_o": 8},
    )
    text = _wrapper("edge", *ports, f"lutra_systolic_edge #(.Depth({depth}), .AddressBits({bits})) u_edge (.*);")
    cycles = np.arange(len(stream))
    place, tile = cycles % depth, cycles // depth
    written = np.where(writes, tile % 2, 0)
    read = np.where(writes, 1 - tile % 2, 0)
    inputs = {
        "rst_ni": np.ones_like(cycles),
        "write_i": np.where(writes, 1, tile == 0),
        "write_address_i": written * depth + place,
        "read_i": np.ones_like(cycles),
        "restart_i": place == 0,
        "address_i": read * depth + place,
    }
    spread = {name: np.broadcast_to(value[:, None], stream.shape) for name, value in inputs.items()}
    fed = stream[cycles - depth if writes else place]
    shown = np.arange(depth + 1, len(stream))
    return _measure(
        asic, folder, "edge", text, spread | {"operand_i": stream}, _Shown("operand_o", shown, fed[shown - 1])
    )


@dataclass(frozen=True)
class _Shown:
    """What the lowest bits of a port must show in some cycles, (cycles, simulations); counting starts there."""

    port: str
    cycles: IntArray
    values: IntArray


def _first_sums(given: Operands, port: str) -> _Shown:
    """The sum of the first element stands there when the next tile begins."""
    return _Shown(port, np.flatnonzero(given.restart)[1:], given.sums()[:-1, 0, 0])


def _wrapper(name: str, inputs: Mapping[str, int], outputs: Mapping[str, int], inside: str) -> str:
    """A top with parameters fixed, whose ports are `inputs` and `outputs`: name -> bits."""
    declared = [f"  input  logic [{bits - 1}:0] {port}" for port, bits in inputs.items()]
    declared += [f"  output logic [{bits - 1}:0] {port}" for port, bits in outputs.items()]
    named = ", ".join(f".{port}" for port in [*inputs, *outputs])
    head = ",\n".join(declared)
    return f"module {name} (\n{head}\n);\n  {inside.replace('.*', named)}\nendmodule\n"


def _skewed(values: IntArray) -> IntArray:
    """(cycles, lanes, simulations): lane k is k cycles late."""
    late = np.zeros_like(values)
    for lane in range(values.shape[1]):
        late[lane:, lane] = values[: len(values) - lane, lane]
    return late


def _joined(values: IntArray, bits: int) -> IntArray:
    """(cycles, lanes, simulations) -> (cycles, simulations): all lanes in one word, the first in the lowest bits."""
    words: IntArray = ((values & ((1 << bits) - 1)) << (bits * np.arange(values.shape[1]))[:, None]).sum(axis=1)
    return words


def _measure(
    asic: Asic, folder: Path, top: str, text: str, inputs: Mapping[str, IntArray], shown: _Shown
) -> dict[str, Any]:
    if asic.sta is None:
        raise ToolError("counting power needs OpenSTA (sta)")
    sources = write_sources(complete({f"{top}.sv": text}), folder)
    use, module = asic.map(folder, sources, top)
    netlist = asic.netlist(module, top)
    switching = _count(netlist, inputs, shown)
    timing = time_and_power(asic.sta, folder, top, asic.clock_hz)
    lines = annotation(netlist, switching)
    power = measured_power(asic.sta, folder, top, asic.clock_hz, lines, netlist.clock_gate_pins())
    return {
        **asdict(use),
        "slack_ns": timing.slack_ns,
        "power_uniform": asdict(timing.power_uniform),
        "power_measured": asdict(power),
        "toggles_per_net_and_cycle": switching.mean_toggles_per_cycle,
    }


def _count(netlist: GateNetlist, inputs: Mapping[str, IntArray], shown: _Shown) -> Switching:
    """Switching under `inputs`, (cycles, simulations) each, from the first cycle on in which `shown` holds."""
    cycles, simulations = next(iter(inputs.values())).shape
    words = words_of(simulations)
    if simulations != words * LANES_PER_WORD:
        raise ToolError(f"{netlist.name}: count in whole words of {LANES_PER_WORD} simulations, not {simulations}")
    values, count = netlist.start(words, np.random.default_rng(0)), SwitchingCount(netlist)
    expected = dict(zip(shown.cycles.tolist(), shown.values, strict=True))
    observed = netlist.port(shown.port)[:SUM_BITS]
    for cycle in range(cycles):
        for name, given in inputs.items():
            rows = netlist.port(name)
            values[rows] = to_words((given[cycle][:, None] >> np.arange(len(rows))) & 1)
        netlist.settle(values)
        if cycle in expected:
            bits = (expected[cycle][:, None] >> np.arange(len(observed))) & 1
            if (values[observed] != to_words(bits)).any():
                raise MismatchError(f"{netlist.name}: the mapped gates compute something else in cycle {cycle}")
        if cycle >= shown.cycles[0]:
            count.see(values)
        netlist.clock(values)
    return count.switching(simulations, simulations * (cycles - int(shown.cycles[0]) - 1), 1)
