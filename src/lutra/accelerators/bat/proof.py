"""Proof that synthesised dot product units, of both forms, compute the exact dot product for all operands.

The netlist is followed cycle by cycle with functions of the operands' bits instead of their values: from registers
that hold 0, through all words and bits of one dot product, to the sum. The functions are compared with those of the
exact sum. So both forms are equal to it, and with that to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lutra.errors import MismatchError
from lutra.hardware.design import library_files
from lutra.runs.files import write_text
from lutra.synth.netlist.cells import Net, Netlist
from lutra.synth.netlist.diagrams import FALSE, TRUE, Diagrams
from lutra.synth.tools.find import Tool
from lutra.synth.tools.yosys import fpga_script, run_script

RTL = Path(__file__).parent / "rtl"
TOP = "dot_product"
DPU_LATENCY = 3
"""Cycles from the last word to the sum."""


@dataclass(frozen=True)
class DotProduct:
    """A dot product unit and the operands for which it is proved."""

    sums: str
    """Form: "count" or "pe"."""
    elements: int
    bits: int
    """Of x."""
    y_bits: int
    """1: weights of -1 and 1; or as many as x has: signed numbers."""
    signed: bool

    @property
    def x_bits(self) -> int:
        """Bits of an element on the port."""
        return max(2, self.bits)

    @property
    def sum_bits(self) -> int:
        largest = self.elements * (1 << self.bits) * (1 << max(0, self.y_bits - 1))
        return largest.bit_length() + 1


class Step(NamedTuple):
    """What a unit is told in one cycle."""

    bit: int
    restart: bool
    shift: bool
    negate: bool
    take: bool


def synthesise(yosys: Tool, product: DotProduct, folder: Path) -> dict[str, Any]:
    """The UltraScale+ netlist, in Yosys' JSON form, of a dot product unit, and of what counts its row if it needs that.

    Raises:
        ToolError: Yosys failed.
    """
    files = {name: text for name, text in library_files(RTL).items() if name.startswith("lutra_bat_")}
    names = ("pe", "compressor", "popcount", "count", "dpu")
    sources = [f"lutra_bat_{name}.sv" for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    for name in sources:
        write_text(folder / name, files[name])
    write_text(folder / f"{TOP}.sv", _top(product))
    return run_script(yosys, folder, fpga_script([*sources, f"{TOP}.sv"], TOP), TOP)[TOP]


def prove_dot_product(module: dict[str, Any], product: DotProduct) -> int:
    """Prove a netlist of `synthesise`; how many bits of the sum were compared.

    Raises:
        MismatchError: a bit of the sum is not that of the exact one for some operands.
        ToolError: the netlist has cells that the proof does not know.
    """
    netlist, diagrams = Netlist(module, TOP), Diagrams()
    x, y = _operands(product, diagrams)
    state: dict[Net, int] = dict.fromkeys(netlist.registers, FALSE)
    steps = _steps(product)
    idle = Step(0, False, False, False, False)
    for step in [*steps, *[idle] * (DPU_LATENCY - 1)]:
        functions = {**state, "0": FALSE, "1": TRUE}
        functions |= _inputs(netlist, product, x, y, step)
        state = {net: _next(netlist, net, diagrams, functions) for net in netlist.registers}
    functions = {**state, "0": FALSE, "1": TRUE, **_inputs(netlist, product, x, y, idle)}
    expected = _exact(product, diagrams, x, y)
    for place, net in enumerate(netlist.nets("sum_o")):
        if netlist.function(net, diagrams, functions) != expected[place]:
            raise MismatchError(f"dot product unit, {product}: bit {place} of the sum is wrong for some operands")
    return product.sum_bits


def _operands(product: DotProduct, diagrams: Diagrams) -> tuple[list[list[int]], list[list[int]]]:
    """Bits of x and y of every element, the lowest first; elements one after the other, so that sums stay small."""
    x, y = [], []
    per_element = product.bits + product.y_bits
    for element in range(product.elements):
        variables = [diagrams.variable(element * per_element + place) for place in range(per_element)]
        x.append(variables[: product.bits])
        y.append(variables[product.bits :])
    return x, y


def _steps(product: DotProduct) -> list[Step]:
    """One word of x with all bits of y: counting takes the sign first, multiplying the least significant bit."""
    last = product.y_bits - 1
    bits = range(product.y_bits)
    order = reversed(bits) if product.sums == "count" else bits
    return [
        Step(
            bit=bit,
            restart=place == 0 or product.sums == "pe",
            shift=place > 0,
            negate=product.y_bits > 1 and bit == last,
            take=place == last,
        )
        for place, bit in enumerate(order)
    ]


def _inputs(
    netlist: Netlist, product: DotProduct, x: list[list[int]], y: list[list[int]], step: Step
) -> dict[Net, int]:
    """Functions of the inputs in a cycle."""
    elements: list[int] = []
    for bits in x:
        elements += bits if product.bits > 1 else [bits[0], TRUE if product.signed else FALSE]
    values = {
        "x_i": elements,
        "y_i": [bits[step.bit] for bits in y],
        **{f"{name}_i": [TRUE if getattr(step, name) else FALSE] for name in ("restart", "shift", "negate", "take")},
    }
    return {
        net: function
        for name, functions in values.items()
        for net, function in zip(netlist.nets(name), functions, strict=True)
    }


def _next(netlist: Netlist, net: Net, diagrams: Diagrams, functions: dict[Net, int]) -> int:
    """What a register becomes."""
    data, enable, reset, value = netlist.flip_flop(net)
    taken, enabled, cleared = (netlist.function(n, diagrams, functions) for n in (data, enable, reset))
    held = diagrams.choose(enabled, taken, functions[net])
    return diagrams.choose(cleared, TRUE if value else FALSE, held)


def _exact(product: DotProduct, diagrams: Diagrams, x: list[list[int]], y: list[list[int]]) -> list[int]:
    """Functions of the bits of the exact sum."""
    width = product.sum_bits
    total = [FALSE] * width
    for x_bits, y_bits in zip(x, y, strict=True):
        number = _number(product, diagrams, x_bits)
        total = diagrams.add(total, _times(product, diagrams, number, y_bits), width)
    return total


def _number(product: DotProduct, diagrams: Diagrams, bits: list[int]) -> list[int]:
    """An element of x in two's complement; one signed bit is -1 or 1."""
    if not product.signed:
        return [*bits, FALSE]
    if product.bits == 1:
        return [TRUE, diagrams.negate(bits[0])]
    return bits


def _times(product: DotProduct, diagrams: Diagrams, number: list[int], y: list[int]) -> list[int]:
    """A number by one element of y."""
    width = product.sum_bits
    wide = [*number, *[number[-1]] * (width - len(number))]
    negative = diagrams.add([diagrams.negate(bit) for bit in wide], [TRUE, FALSE], width)
    if product.y_bits == 1:
        return [diagrams.choose(y[0], up, down) for up, down in zip(wide, negative, strict=True)]
    total = [FALSE] * width
    for place, bit in enumerate(y):
        factor = negative if place == product.y_bits - 1 else wide
        shifted = [FALSE] * place + factor[: width - place]
        total = diagrams.add(total, [diagrams.choose(bit, each, FALSE) for each in shifted], width)
    return total


def _top(product: DotProduct) -> str:
    """The unit with its row sum, as the engine has it."""
    parameters = f".Elements({product.elements}), .Bits({product.bits}), .SumBits({product.sum_bits})"
    counted = "planes" if product.bits > 1 else "counted"
    lines = [
        f"module {TOP} (",
        "  input  logic clk_i,",
        f"  input  logic [{product.elements * product.x_bits - 1}:0] x_i,",
        f"  input  logic [{product.elements - 1}:0] y_i,",
        *(f"  input  logic {name}_i," for name in ("restart", "shift", "negate", "take")),
        f"  output logic [{product.sum_bits - 1}:0] sum_o",
        ");",
        f"  logic [{product.sum_bits - 1}:0] all, row_sum_q;",
        f"  logic [{product.elements * product.x_bits - 1}:0] planes, counted;",
        f"  for (genvar i = 0; i < {product.elements}; i++) begin : gen_element",
        f"    for (genvar b = 0; b < {product.x_bits}; b++) begin : gen_bit",
        f"      assign planes[b*{product.elements}+i] = x_i[i*{product.x_bits}+b];",
        "    end",
        "  end",
        f"  assign counted = {product.elements * product.x_bits}'(planes[0 +: {product.elements}] | "
        f"planes[{product.elements} +: {product.elements}]);",
        f"  lutra_bat_count #({parameters}) u_row (.clk_i, .enable_i(1'b1), .signed_i(1'b{int(product.signed)}),",
        f"    .x_i({counted}), .y_i({{{product.elements}{{1'b1}}}}), .sum_o(all));",
        "  always_ff @(posedge clk_i) row_sum_q <= all;",
        f"  lutra_bat_dpu #({parameters}, .Sums({int(product.sums == 'pe')})) u_unit (",
        f"    .clk_i, .enable_i(1'b1), .signed_i(1'b{int(product.signed)}), .binary_i(1'b{int(product.y_bits == 1)}),",
        "    .x_i(planes), .y_i, .restart_i, .shift_i, .negate_i, .take_i, .row_sum_i(row_sum_q), .sum_o);",
        "endmodule",
        "",
    ]
    return "\n".join(lines)
