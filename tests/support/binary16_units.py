"""A bench of every binary16 unit, each beside copies with faults, and pairs of numbers at which they differ."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import lutra.hardware
from lutra.hardware.bench import cycles
from lutra.hardware.bench.cycles import Fields

LIBRARY = Path(lutra.hardware.__file__).parent / "lib"
LATENCY = {"add": 2, "multiply": 2, "from_integer": 1, "to_fixed": 1, "divide": 16}
SUM_BITS, DIVIDEND_BITS, DIVISORS = 20, 53, (1, 3, 48, 384, 768, 2047, 2048)
FAULTS = {
    "add": {
        "a lost sticky bit": ("|moved[15:0]", "1'b0"),
        "bits lost that lie far below": ("distance > 5'd15 ? 5'd15 : distance", "distance[3:0]"),
        "the exponent of subnormals": ("lesser[10] | ~|lesser[14:10]", "lesser[10]"),
        "ties away from 0": ("(normal[4] || |normal[2:0])", "1'b1"),
        "-0 from equal numbers": ("a_i[14:0] == b_i[14:0] ? 1'b0", "0 ? 1'b0"),
        "no infinity": ("magnitude >= 16'h7C00", "0"),
        "subnormals flushed": ("{1'b0, zeros} > exponent ? exponent", "0 ? exponent"),
    },
    "multiply": {
        "a lost sticky bit": ("|moved[22:0]", "|moved[22:13]"),
        "ties away from 0": ("(moved[24] || |moved[22:0])", "1'b1"),
        "the exponent of subnormals": ("a_i[10] | ~|a_i[14:10]", "a_i[10]"),
        "a hidden bit too many": ("|a_i[14:10], a_i[9:0]}", "1'b1, a_i[9:0]}"),
        "the smallest normal numbers": ("> 7'd14", "> 7'd13"),
        "no infinity": ("magnitude >= 17'h7C00", "0"),
    },
    "from_integer": {
        "truncated": ("+ {17'd0, up}", ""),
        "the exponent left out": (" - {3'd0, exponent}", ""),
        "the smallest integer": ("? -integer_value", "? ~integer_value"),
    },
    "to_fixed": {
        "subnormals in the wrong place": ("a[14:10] - 5'd1 : 5'd0", "a[14:10] - 5'd1 : 5'd1"),
        "no sign": ("? -fixed", "? fixed"),
    },
    "divide": {
        "a lost remainder": ("rest_q[Steps] || |remainder_q[Steps] ||", "rest_q[Steps] ||"),
        "a lost tail": ("|normal[Wide-25:0]", "1'b0"),
        "subnormals not moved": ("below > 8'd13 ? 4'd13 : below[3:0]", "4'd0"),
        "no infinity": ("result >= 18'h7C00", "0"),
        "a divisor not at the top": ("+ {4'd0, divisor_zeros}", ""),
    },
}
INPUTS = Fields({"a": 16, "b": 16, "integer": SUM_BITS, "exponent": 5, "dividend": DIVIDEND_BITS, "divisor": 12})
OUTPUT_BITS = {"add": 16, "multiply": 16, "from_integer": 16, "to_fixed": 41, "divide": 16}
_CONNECTIONS = {
    "add": ".a_i(a), .b_i(b)",
    "multiply": ".a_i(a), .b_i(b)",
    "from_integer": ".a_i(integer_value), .exponent_i(exponent)",
    "to_fixed": ".a_i(a)",
    "divide": ".dividend_i(dividend), .divisor_i(divisor)",
}
_PARAMETERS = {"from_integer": f"#(.Bits({SUM_BITS})) ", "divide": f"#(.Bits({DIVIDEND_BITS})) "}


def variants(unit):
    """The unit itself, and one name per fault."""
    return [unit, *(f"{unit}_fault_{index}" for index in range(len(FAULTS[unit])))]


OUTPUTS = Fields({variant: OUTPUT_BITS[unit] for unit in LATENCY for variant in variants(unit)})


def build(folder):
    """Compile all units, each beside its copies with faults."""
    folder.mkdir(parents=True, exist_ok=True)
    files, instances = [LIBRARY / "lutra_leading_zeros.sv"], []
    for unit in LATENCY:
        text = (LIBRARY / f"lutra_binary16_{unit}.sv").read_text()
        for variant, change in zip(variants(unit), [("", ""), *FAULTS[unit].values()], strict=True):
            assert not change[0] or text.count(change[0]) == 1, (unit, change)
            faulty = re.sub(r"module lutra_binary16_\w+", f"module {variant}_under_test", text)
            files.append(folder / f"{variant}.sv")
            files[-1].write_text(faulty.replace(*change) if change[0] else faulty)
            instances.append(
                f"  {variant}_under_test {_PARAMETERS.get(unit, '')}u_{variant} "
                f"(.clk_i, .enable_i(1'b1), {_CONNECTIONS[unit]}, .y_o({variant}));"
            )
    names = {name: "integer_value" if name == "integer" else name for name in INPUTS.bits}
    top = [
        f"module units (input logic clk_i, input logic [{32 * INPUTS.words - 1}:0] inputs_i,",
        f"  output logic [{32 * OUTPUTS.words - 1}:0] outputs_o);",
        *(
            f"  wire [{bits - 1}:0] {names[name]} = inputs_i[{INPUTS.offsets[name]} +: {bits}];"
            for name, bits in INPUTS.bits.items()
        ),
        *(f"  logic [{bits - 1}:0] {name};" for name, bits in OUTPUTS.bits.items()),
        "  always_comb begin",
        "    outputs_o = '0;",
        *(f"    outputs_o[{OUTPUTS.offsets[name]} +: {bits}] = {name};" for name, bits in OUTPUTS.bits.items()),
        "  end",
        *instances,
        "endmodule",
    ]
    files.append(folder / "units.sv")
    files[-1].write_text("\n".join(top) + "\n")
    return cycles.build(files, "units", INPUTS, OUTPUTS, folder / "build")


def finite(rng, count):
    """Finite numbers of all exponents, many of them with corner significands."""
    exponents, signs = rng.integers(0, 31, count), rng.integers(0, 2, count)
    corners = np.array([0, 1, 2, 0x1FF, 0x200, 0x201, 0x3FE, 0x3FF])
    significands = np.where(rng.random(count) < 0.3, rng.choice(corners, count), rng.integers(0, 1024, count))
    return (signs << 15 | exponents << 10 | significands).astype(np.uint16)


def pairs(seed, count):
    """Two numbers (count,) each: for half of them exponents within 3 of each other, or adding up to the corners."""
    rng = np.random.default_rng(seed)
    a, b = finite(rng, count), finite(rng, count)
    near = np.clip((a >> 10 & 31).astype(int) + rng.integers(-3, 4, count), 0, 30)
    far = np.clip(rng.choice([4, 15, 45, 46], count) - (a >> 10 & 31).astype(int) + rng.integers(-2, 3, count), 0, 30)
    kind = rng.integers(0, 4, count)
    exponent = np.select([kind == 0, kind == 1], [near, far], (b >> 10 & 31).astype(int))
    return a, ((b & 0x83FF) | exponent << 10).astype(np.uint16)
