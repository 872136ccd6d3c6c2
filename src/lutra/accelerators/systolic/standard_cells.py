"""The systolic array in standard cells: its parts, to be counted up, and a small grid whole, to check that.

A processing element has the same gates wherever it stands, and registers towards its neighbours. Its switching is
counted at the operands that elements at many places of an array see while it multiplies two matrices. Elements are
pipelined: with product and sum in one stage they miss 1 GHz in 45 nm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.systolic.array import RTL
from lutra.errors import MismatchError, ToolError
from lutra.frozen.types import IntArray
from lutra.hardware.design import Design, library_files
from lutra.synth.netlist.gates import LANES_PER_WORD, GateNetlist
from lutra.synth.netlist.switching import Switching, SwitchingCount, annotation, to_words, words_of
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import Tool
from lutra.synth.tools.hierarchy import write_sources
from lutra.synth.tools.opensta import measured_power, time_and_power

SUM_BITS = 32
"""Bits of an element's sum, as in `lutra_systolic_gemm`."""
LOW_BITS = 15
"""Bits of the low half of a sum."""
LOW_CYCLES, HIGH_CYCLES = 1, 2
"""Cycles by which the halves of an element's sum are behind its operands, and its restart behind a tile's first ones:
the registers inside the product and between the halves."""


@dataclass(frozen=True)
class Operands:
    """What enters one element, or all rows and columns of a grid, cycle by cycle in many simulations.

    `left` is (cycles, rows, simulations), `right` (cycles, columns, simulations), int8; `restart`, (cycles,), is 1
    where a tile begins, in the cycle of its first operands.
    """

    left: IntArray
    right: IntArray
    restart: IntArray

    def sums(self) -> IntArray:
        """Per tile and element what must be summed, (tiles, rows, columns, simulations); the last tile may go on."""
        starts = np.flatnonzero(self.restart)
        products = self.left[:, :, None] * self.right[:, None, :]
        return np.add.reduceat(products, starts)

    @property
    def late_restart(self) -> IntArray:
        """The restart as elements want it, (cycles,): with the products, `LOW_CYCLES` after the operands."""
        late = np.zeros_like(self.restart)
        late[LOW_CYCLES:] = self.restart[:-LOW_CYCLES]
        return late

    def first_sums(self) -> tuple[IntArray, IntArray]:
        """The cycles in which all but the first tile begin, and what the first element has summed before each."""
        return np.flatnonzero(self.restart)[1:], self.sums()[:-1, 0, 0]


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
    text = _wrapper("element", *ports, f"lutra_systolic_pe #(.SumBits({SUM_BITS}), .Pipelined(1)) u_pe (.*);")
    inputs = {
        "restart_i": np.broadcast_to(given.late_restart[:, None], given.left[:, 0].shape),
        "a_i": given.left[:, 0],
        "b_i": given.right[:, 0],
    }
    ends, sums = given.first_sums()
    low = _Shown("sum_o", slice(0, LOW_BITS), ends + LOW_CYCLES, sums)
    high = _Shown("sum_o", slice(LOW_BITS, SUM_BITS), ends + HIGH_CYCLES, sums >> LOW_BITS)
    return _measure(asic, folder, "element", text, inputs, low, high)


def measure_grid(asic: Asic, folder: Path, given: Operands) -> dict[str, Any]:
    """Map all elements of an array whole, with the selectors that take sums out of its columns, and count.

    Returns what `measure_element` returns.
    """
    rows, columns = given.left.shape[1], given.right.shape[1]
    row_bits = (rows - 1).bit_length()
    inside = f"logic [{rows * (columns + 1) - 1}:0] restarts;\n  logic [{8 * rows * (columns + 1) - 1}:0] operands;\n"
    inside += f"  assign restarts[0 +: {rows}] = restart_i;\n  assign operands[0 +: {8 * rows}] = a_i;\n"
    inside += f"  assign restart_o = restarts[{rows * columns} +: {rows}];\n"
    inside += f"  assign a_o = operands[{8 * rows * columns} +: {8 * rows}];\n"
    parameters = f".Size({rows}), .RowBits({row_bits}), .SumBits({SUM_BITS}), .Pipelined(1)"
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
    restart = np.broadcast_to(given.late_restart[:, None, None], given.left.shape)
    cycles = np.arange(len(restart))
    since = cycles - np.maximum.accumulate(cycles * given.late_restart)
    taken = np.where(since < rows, since, 0)  # a row per cycle, from the restart of the next tile on
    inputs = {
        "restart_i": _joined(_skewed(restart), 1),
        "a_i": _joined(_skewed(given.left), 8),
        "b_i": _joined(_skewed(given.right), 8),
        "row_i": np.broadcast_to(taken[:, None], restart[:, 0].shape),
    }
    ends, sums = given.first_sums()
    shown = _Shown("sums_o", slice(0, SUM_BITS), ends + HIGH_CYCLES, sums)  # both halves, in columns
    return _measure(asic, folder, "grid", _wrapper("grid", *ports, inside), inputs, shown)


def map_selector(asic: Asic, folder: Path, rows: int) -> dict[str, Any]:
    """Map what takes the sums out of a column of `rows` elements.

    Returns area, cells, slack of its own paths, and power at 12.5 % everywhere.

    Raises:
        ToolError: a tool failed, or OpenSTA is not installed.
    """
    row_bits = (rows - 1).bit_length()
    ports = {"clk_i": 1, "row_i": row_bits, "sums_i": SUM_BITS * rows}, {"sum_o": SUM_BITS}
    parameters = f".Size({rows}), .RowBits({row_bits}), .SumBits({SUM_BITS}), .Pipelined(1)"
    text = _wrapper("selector", *ports, f"lutra_systolic_selector #({parameters}) u_selector (.*);")
    return _map(asic, folder, "selector", text)[0]


def map_requantiser(asic: Asic, folder: Path, multiplier_bits: int, shift: int) -> dict[str, Any]:
    """Map what makes int8 of a sum, which is one stage; returns and raises what `map_selector` does."""
    ports = {"clk_i": 1, "sum_i": SUM_BITS, "multiplier_i": multiplier_bits}, {"y_o": 8}
    parameters = f".SumBits({SUM_BITS}), .MultiplierBits({multiplier_bits}), .Shift({shift}), .OutBits(8)"
    connected = ".sum_i, .multiplier_i, .y_o"
    text = _wrapper("requantiser", *ports, f"lutra_requantise #({parameters}) u_requantise ({connected});")
    return _map(asic, folder, "requantiser", text)[0]


def map_edge(asic: Asic, folder: Path, depth: int) -> dict[str, Any]:
    """Map one lane of an edge buffer whose two banks of `depth` operands are flip-flops.

    Returns and raises what `map_selector` does.
    """
    return _map(asic, folder, "edge", _edge(depth))[0]


def measure_edge(asic: Asic, folder: Path, depth: int, stream: IntArray, writes: bool) -> dict[str, Any]:
    """Map one lane of an edge buffer whose two banks of `depth` operands are flip-flops, and count.

    It feeds the operands of `stream`, (cycles, simulations), int8, from one bank; with `writes`, the other one fills
    at the same time, else the first bank's are fed again and again.

    Returns what `measure_element` returns.
    """
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
    operand = _Shown("operand_o", slice(0, 8), shown, fed[shown - 1])
    return _measure(asic, folder, "edge", _edge(depth), spread | {"operand_i": stream}, operand)


def _edge(depth: int) -> str:
    bits = (2 * depth - 1).bit_length()
    ports = (
        {"clk_i": 1, "rst_ni": 1, "write_i": 1, "write_address_i": bits, "operand_i": 8}
        | {"read_i": 1, "restart_i": 1, "address_i": bits},
        {"read_o": 1, "restart_o": 1, "address_o": bits, "operand_o": 8},
    )
    return _wrapper("edge", *ports, f"lutra_systolic_edge #(.Depth({depth}), .AddressBits({bits})) u_edge (.*);")


@dataclass(frozen=True)
class _Shown:
    """What bits of a port must show in some cycles, (cycles, simulations); counting starts there."""

    port: str
    bits: slice
    cycles: IntArray
    values: IntArray


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


def _opensta(asic: Asic) -> Tool:
    if asic.sta is None:
        raise ToolError("timing and power need OpenSTA (sta)")
    return asic.sta


def _map(asic: Asic, folder: Path, top: str, text: str) -> tuple[dict[str, Any], GateNetlist]:
    """Area, cells, slack and power at 12.5 % of `top`, and its cells."""
    sta = _opensta(asic)
    sources = write_sources(Design.complete({f"{top}.sv": text}, library_files(RTL)).files, folder)
    use, module = asic.map(folder, sources, top)
    timing = time_and_power(sta, folder, top, asic.clock_hz)
    measured = {**asdict(use), "slack_ns": timing.slack_ns, "power_uniform": asdict(timing.power_uniform)}
    return measured, asic.netlist(module, top)


def _measure(
    asic: Asic, folder: Path, top: str, text: str, inputs: Mapping[str, IntArray], *shown: _Shown
) -> dict[str, Any]:
    mapped, netlist = _map(asic, folder, top, text)
    switching = _count(netlist, inputs, shown)
    lines = annotation(netlist, switching)
    power = measured_power(_opensta(asic), folder, top, asic.clock_hz, lines, netlist.clock_gate_pins())
    return {
        **mapped,
        "power_measured": asdict(power),
        "toggles_per_net_and_cycle": switching.mean_toggles_per_cycle,
    }


def _count(netlist: GateNetlist, inputs: Mapping[str, IntArray], shown: tuple[_Shown, ...]) -> Switching:
    """Switching under `inputs`, (cycles, simulations) each, from the first cycle on in which something is `shown`."""
    cycles, simulations = next(iter(inputs.values())).shape
    words = words_of(simulations)
    if simulations != words * LANES_PER_WORD:
        raise ToolError(f"{netlist.name}: count in whole words of {LANES_PER_WORD} simulations, not {simulations}")
    values, count = netlist.start(words, np.random.default_rng(0)), SwitchingCount(netlist)
    expected = {
        cycle: (netlist.port(each.port)[each.bits], value)
        for each in shown
        for cycle, value in zip(each.cycles.tolist(), each.values, strict=True)
    }
    first = min(expected)
    for cycle in range(cycles):
        for name, given in inputs.items():
            rows = netlist.port(name)
            values[rows] = to_words((given[cycle][:, None] >> np.arange(len(rows))) & 1)
        netlist.settle(values)
        if cycle in expected:
            observed, value = expected[cycle]
            if (values[observed] != to_words((value[:, None] >> np.arange(len(observed))) & 1)).any():
                raise MismatchError(f"{netlist.name}: the mapped gates compute something else in cycle {cycle}")
        if cycle >= first:
            count.see(values)
        netlist.clock(values)
    return count.switching(simulations, simulations * (cycles - first - 1), 1)
