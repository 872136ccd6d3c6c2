"""A bench of BAT's dot product units and what they consist of, each beside copies with faults."""

from __future__ import annotations

import re
from pathlib import Path

import lutra.accelerators.bat
from lutra.hardware.bench import cycles
from lutra.hardware.bench.cycles import Fields

RTL = Path(lutra.accelerators.bat.__file__).parent / "rtl"
BITS = (1, 2, 4, 8)
ELEMENTS, SUM_BITS, NUMBERS, COUNTED = 8, 24, (5, 7), (5, 20)
DPU_LATENCY = 3
FORMS = ("count", "pe")

FAULTS = {
    "pe": {
        "the sign not inverted": ("{(Bits + 1){y_i[1]}} ^ Start", "{(Bits + 1){y_i[1]}}"),
        "no carry": ("{{(Bits + 1){1'b0}}, y_i[1]}", "'0"),
        "unsigned taken as signed": ("signed_i && x_i[Bits-1]", "x_i[Bits-1]"),
        "low bits not cleared": ("first_i ? '0 : (low_q", "0 ? '0 : (low_q"),
        "finished bits lost": ("LowBits'(sum_q[0])", "LowBits'(0)"),
        "-1 taken as 0": ("{!x_i[0], 1'b1}", "{!x_i[0], x_i[0]}"),
    },
    "compressor": {
        "a carry of four not moved": ("((s & d) | (s & t) | (d & t)) << 1", "((s & d) | (s & t) | (d & t))"),
        "a carry of three left out": ("((a & b) | (a & c) | (b & c)) << 1;\n    end", "'0;\n    end"),
        "a number left out": ("numbers_i[4 * Fours * Bits +: Left * Bits]", "'0"),
    },
    "popcount": {
        "a half left out": ("+ Bits'(high)", ""),
        "a half counted twice": ("bits_i[Inputs-1:Low]", "bits_i[High-1:0]"),
    },
    "count": {
        "the sign positive": ("b == Bits - 1 && Bits > 1 && signed_i", "0"),
        "unsigned taken as signed": ("Bits > 1 && signed_i", "Bits > 1"),
        "-1 taken as 0": ("plane ~^ y_i", "plane & y_i"),
    },
    "dpu": {
        "a sum never restarts": ("restart_q ? '0 : shift_q", "shift_q"),
        "no doubling": ("shift_q ? sum_q << 1", "shift_q ? sum_q"),
        "the sign of y positive": ("negate_q ? base - selected", "0 ? base - selected"),
        "-1 taken as 0": ("(sum_q << 1) - row_sum_i", "(sum_q << 1)"),
        "no offset": ("(64'(Elements) << 2 * Bits)", "64'd0"),
        "a product never restarts": (".first_i(!shift_i)", ".first_i(1'b0)"),
        "products of the tree never restart": ("restart_q ? {2 * WideBits{1'b0}} :", ""),
        "every bit of y adds": ("if (add_q) begin", "begin"),
        "the shift left out": ("total[Bits-1 +: SumBits]", "total[SumBits-1:0]"),
    },
}

COUNTING_FAULTS = 4
"""So many of the first faults of the dot product unit are in the form that counts."""
GROUPS = {"pe": ("pe",), "counting": ("compressor", "popcount", "count"), "dpu": ("dpu",)}
"""Units that share a bench."""
INPUTS = {
    "pe": Fields({**{f"x_{bits}": bits for bits in BITS}, "digit": 2, "first": 1, "signed": 1}),
    "counting": Fields(
        {
            "numbers": 56,
            "bits": 20,
            "count_y": ELEMENTS,
            "signed": 1,
            **{f"words_{bits}": ELEMENTS * max(2, bits) for bits in BITS},
        }
    ),
    "dpu": Fields(
        {
            "signed": 1,
            "binary": 1,
            "row_sum": SUM_BITS,
            **{f"{form}_{name}": 1 for form in FORMS for name in ("restart", "shift", "negate", "take")},
            **{f"{form}_y": ELEMENTS for form in FORMS},
            **{f"{form}_words_{bits}": ELEMENTS * max(2, bits) for form in FORMS for bits in BITS},
        }
    ),
}


def variants(unit):
    """The unit itself, and one name per fault."""
    return [unit, *(f"{unit}_fault_{index}" for index in range(len(FAULTS[unit])))]


def form_of(variant):
    """The form of the dot product unit that a fault is in."""
    return FORMS[int(variant.rpartition("_")[2]) >= COUNTING_FAULTS]


def _instances(unit, variant):
    """(output, its bits, instance) of a variant in all the forms that are tested."""
    if unit == "pe":
        for bits in BITS if variant == unit else BITS[:-1]:
            ports = f".signed_i(signed_x), .first_i(first), .x_i(x_{bits}), .y_i(digit)"
            yield f"{variant}_{bits}", 2 * bits + 1, f"#(.Bits({bits}))", f".enable_i(1'b1), {ports}, .p_o"
    elif unit == "compressor":
        for numbers in NUMBERS:
            ports = f".numbers_i(numbers[{8 * numbers - 1}:0]), .sum_o({variant}_sum_{numbers}), .carry_o"
            yield f"{variant}_{numbers}", 8, f"#(.Numbers({numbers}), .Bits(8))", ports
    elif unit == "popcount":
        for inputs in COUNTED:
            yield (
                f"{variant}_{inputs}",
                5,
                f"#(.Inputs({inputs}), .Bits(5))",
                f".bits_i(bits[{inputs - 1}:0]), .count_o",
            )
    elif unit == "count":
        for bits in BITS:
            ports = f".enable_i(1'b1), .signed_i(signed_x), .x_i(words_{bits}), .y_i(count_y), .sum_o"
            parameters = f"#(.Elements({ELEMENTS}), .Bits({bits}), .SumBits({SUM_BITS}))"
            yield f"{variant}_{bits}", SUM_BITS, parameters, ports
    else:
        for index, form in enumerate(FORMS):
            for bits in BITS if variant == unit else (1, 4) if form == form_of(variant) else ():
                controls = ", ".join(f".{name}_i({form}_{name})" for name in ("restart", "shift", "negate", "take"))
                ports = f".signed_i(signed_x), .binary_i(binary), .x_i({form}_words_{bits}), .y_i({form}_y)"
                parameters = f"#(.Elements({ELEMENTS}), .Bits({bits}), .SumBits({SUM_BITS}), .Sums({index}))"
                rest = f".enable_i(1'b1), {ports}, {controls}, .row_sum_i(row_sum), .sum_o"
                yield f"{variant}_{form}_{bits}", SUM_BITS, parameters, rest


def build(group, folder):
    """Compile the units of a group, each beside its copies with faults, in the form that synthesis sees."""
    folder.mkdir(parents=True, exist_ok=True)
    files, instances, outputs, wires = [], [], {}, []
    given = INPUTS[group]
    for unit in GROUPS[group]:
        faults = FAULTS[unit]
        text = (RTL / f"lutra_bat_{unit}.sv").read_text()
        for variant, change in zip(variants(unit), [("", ""), *faults.values()], strict=True):
            assert not change[0] or text.count(change[0]) == 1, (unit, change)
            path = RTL / f"lutra_bat_{unit}.sv"
            if change[0]:
                path = folder / f"{variant}.sv"
                path.write_text(re.sub(rf"\blutra_bat_{unit}\b", f"lutra_bat_{variant}", text.replace(*change)))
            files.append(path)
            for name, bits, parameters, ports in _instances(unit, variant):
                clock = "" if unit in ("compressor", "popcount") else ".clk_i, "
                instances.append(f"  lutra_bat_{variant} {parameters} u_{name} ({clock}{ports}({name}));")
                outputs[name] = bits
                if unit == "compressor":
                    wires.append(f"{variant}_sum_{name.rpartition('_')[2]}")
    outputs |= dict.fromkeys(wires, 8)
    fields = Fields(outputs)
    files += [path for path in sorted(RTL.glob("*.sv")) if path not in files]
    names = {name: "signed_x" if name == "signed" else name for name in given.bits}
    top = [
        f"module units (input logic clk_i, input logic [{32 * given.words - 1}:0] inputs_i,",
        f"  output logic [{32 * fields.words - 1}:0] outputs_o);",
        *(
            f"  wire [{bits - 1}:0] {names[name]} = inputs_i[{given.offsets[name]} +: {bits}];"
            for name, bits in given.bits.items()
        ),
        *(f"  logic [{bits - 1}:0] {name};" for name, bits in fields.bits.items()),
        "  always_comb begin",
        "    outputs_o = '0;",
        *(f"    outputs_o[{fields.offsets[name]} +: {bits}] = {name};" for name, bits in fields.bits.items()),
        "  end",
        *instances,
        "endmodule",
    ]
    (folder / "units.sv").write_text("\n".join(top) + "\n")
    return cycles.build([*files, folder / "units.sv"], "units", given, fields, folder / "build")
