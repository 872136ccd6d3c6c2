"""A bench of BAT's floating-point units on random rows, compared with the golden functions in bits and in cycles."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

import lutra.accelerators.bat
import lutra.hardware
from frozen_berts import small_config
from lutra.accelerators.bat import tables
from lutra.frozen import bert_golden, binary16
from lutra.hardware.bench import transfers
from lutra.hardware.bench.cycles import Fields
from lutra.hardware.bench.transfers import Case, Stream

LIBRARY = Path(lutra.hardware.__file__).parent / "lib"
BAT = Path(lutra.accelerators.bat.__file__).parent / "rtl"
LANES, BEATS, SUM_BITS = 4, 7, 20
"""Lanes of every unit; longest row in beats."""
QUANTISERS = {"quantise_4": (4, False), "quantise_2": (2, False), "quantise_1": (1, False), "quantise_8": (8, True)}
"""Bits of a code, and whether the unit multiplies."""
TABLE_BITS = {name: 16 if scale else (2**bits - 1) * 16 for name, (bits, scale) in QUANTISERS.items()}
ERRORS = ["vector", *QUANTISERS, "norm"]
"""Units with an error bit, the first in the lowest bit of the flags."""
NONE = 0x8000
"""-0, which adds nothing."""

FIELDS = Fields(
    {
        **{"beats": 3, "last_lanes": 3, "copies": 2, "use_bias": 1, "use_residual": 1, "relu": 1, "same_factor": 1},
        **{"exponent": 5, "segments": 2, "signed": 1, "width": 12, "epsilon": 32},
        **{f"factor_{i}": 16 * LANES for i in range(2 * BEATS)},
        **{f"bias_{i}": 16 * LANES for i in range(BEATS)},
        **{f"gain_{i}": 16 * LANES for i in range(BEATS)},
        **{f"{name}_table_{i}": 16 for name, bits in TABLE_BITS.items() for i in range(3 * bits // 16)},
    }
)
UNITS = ("vector", *QUANTISERS, "softmax", "norm")
INPUTS = {
    "sums": Stream(LANES, SUM_BITS, signed=True),
    "residual": Stream(LANES, 16),
    **{f"{name}_in": Stream(LANES, 16) for name in UNITS[1:]},
}
OUTPUTS = {name: Stream(LANES, QUANTISERS[name][0] if name in QUANTISERS else 16) for name in UNITS}


MODULES = {
    "vector": ("vector", "vector_lane", "relu"),
    **dict.fromkeys(QUANTISERS, ("quantise", "quantise_lane", "scale_lane")),
    "softmax": ("softmax", "softmax_max", "softmax_exp", "exp_table"),
    "norm": ("norm", "norm_sum", "norm_squares", "square_lane"),
}
"""Modules of each unit, without what all names begin with."""
SHARED = ("lutra_fifo", "lutra_adder_tree", "lutra_leading_zeros")


def build(folder, units=UNITS, fault=None):
    """Compile the units; `fault` replaces a text in a module: (module, right, wrong)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    names = [*SHARED, *(f"lutra_binary16_{name}" for name in ("add", "multiply", "from_integer", "to_fixed", "divide"))]
    own = sorted({f"lutra_bat_{module}" for unit in units for module in MODULES[unit]})
    for path in (*(LIBRARY / f"{name}.sv" for name in names), *(BAT / f"{name}.sv" for name in own)):
        text = path.read_text()
        if fault and fault[0] == path.stem:
            assert text.count(fault[1]) == 1, fault
            text = text.replace(*fault[1:])
        files.append(folder / path.name)
        files[-1].write_text(text)
    for name, text in tables.rom_files().items():
        (folder / name).write_text(text)
    inputs = {
        name: stream
        for name, stream in INPUTS.items()
        if name.removesuffix("_in") in units or ("vector" in units and name in ("sums", "residual"))
    }
    outputs = {name: OUTPUTS[name] for name in units}
    files.append(folder / "units.sv")
    files[-1].write_text(top(folder, inputs, outputs))
    return transfers.build(files, "units", FIELDS, inputs, outputs, folder / "build")


def top(folder, inputs, outputs):
    """The units side by side; their tables are fields."""
    ports = ["input logic clk_i", "input logic rst_ni", f"input logic [{32 * FIELDS.words - 1}:0] fields_i"]
    for name, stream in inputs.items():
        data = f"logic [{stream.lanes * stream.bits - 1}:0] {name}_data_i"
        ports += [f"input logic {name}_valid_i", f"output logic {name}_ready_o", f"input {data}"]
    for name, stream in outputs.items():
        data = f"logic [{stream.lanes * stream.bits - 1}:0] {name}_data_o"
        ports += [f"output logic {name}_valid_o", f"input logic {name}_ready_i", f"output {data}"]
    ports.append("output logic [31:0] flags_o")
    lines = [
        f"module units ({', '.join(ports)});",
        f"  logic [{len(ERRORS) - 1}:0] errors; assign flags_o = 32'(errors);",
    ]
    for name, bits in FIELDS.bits.items():
        if not name.rsplit("_", 1)[-1].isdigit():
            lines.append(f"  wire [{bits - 1}:0] {name} = fields_i[{FIELDS.offsets[name]} +: {bits}];")
    word = 16 * LANES
    for name, count in (("factor", 2 * BEATS), ("bias", BEATS), ("gain", BEATS)):
        lines.append(
            f"  wire [{count * word - 1}:0] {name}_words = fields_i[{FIELDS.offsets[f'{name}_0']} +: {count * word}];"
        )
    for index, unit in enumerate(ERRORS):
        if unit not in outputs:
            lines.append(f"  assign errors[{index}] = 1'b0;")
    for unit in outputs:
        lines += INSTANCES[unit](folder, unit) if unit in INSTANCES else quantise_instance(unit)
    return "\n".join([*lines, "endmodule", ""]).replace("wire [0:0] signed =", "wire [0:0] signed_codes =")


def vector_instance(folder, unit):
    word = 16 * LANES
    return [
        "  logic [3:0] factor_address; logic [2:0] vector_bias;",
        f"  lutra_bat_vector #(.Lanes({LANES}), .SumBits({SUM_BITS}), .BeatBits(3), .AddressBits(4), .LaneBits(3))",
        "    u_vector (",
        "    .clk_i, .rst_ni, .beats_i(beats), .last_lanes_i(last_lanes), .copies_i(copies), .use_bias_i(use_bias),",
        "    .use_residual_i(use_residual), .relu_i(relu), .same_factor_i(same_factor), .exponent_i(exponent),",
        "    .sums_valid_i, .sums_ready_o, .sums_data_i, .residual_valid_i, .residual_ready_o, .residual_data_i,",
        f"    .factor_address_o(factor_address), .factor_i(factor_words[factor_address*{word} +: {word}]),",
        f"    .bias_address_o(vector_bias), .bias_i(bias_words[vector_bias*{word} +: {word}]),",
        "    .valid_o(vector_valid_o), .ready_i(vector_ready_i), .data_o(vector_data_o), .error_o(errors[0]));",
    ]


def softmax_instance(folder, unit):
    return [
        f"  lutra_bat_softmax #(.Lanes({LANES}), .BeatBits(3), .LaneBits(3), .CountBits(5), .AddressBits(5),",
        f'    .ExpFile("{folder / tables.EXP_FILE}"),',
        f'    .ReciprocalFile("{folder / tables.RECIPROCAL_FILE}")) u_softmax (',
        "    .clk_i, .rst_ni, .beats_i(beats), .last_lanes_i(last_lanes), .valid_i(softmax_in_valid_i),",
        "    .ready_o(softmax_in_ready_o), .data_i(softmax_in_data_i), .valid_o(softmax_valid_o),",
        "    .ready_i(softmax_ready_i), .data_o(softmax_data_o));",
    ]


def norm_instance(folder, unit):
    word = 16 * LANES
    return [
        "  logic [2:0] norm_gain, norm_bias;",
        f"  lutra_bat_norm #(.Lanes({LANES}), .BeatBits(3), .LaneBits(3), .CountBits(5), .AddressBits(6),",
        f'    .RootFile("{folder / tables.ROOT_FILE}")) u_norm (',
        "    .clk_i, .rst_ni, .beats_i(beats), .last_lanes_i(last_lanes), .width_i(width), .epsilon_i(epsilon),",
        "    .valid_i(norm_in_valid_i), .ready_o(norm_in_ready_o), .data_i(norm_in_data_i),",
        f"    .gain_address_o(norm_gain), .gain_i(gain_words[norm_gain*{word} +: {word}]), .bias_address_o(norm_bias),",
        f"    .bias_i(bias_words[norm_bias*{word} +: {word}]), .valid_o(norm_valid_o), .ready_i(norm_ready_i),",
        f"    .data_o(norm_data_o), .error_o(errors[{len(ERRORS) - 1}]));",
    ]


def quantise_instance(name):
    (bits, scale), word = QUANTISERS[name], 16 * LANES
    entries = [f"fields_i[{FIELDS.offsets[f'{name}_table_{i}']} +: 16]" for i in range(3 * TABLE_BITS[name] // 16)]
    return [
        f"  logic [2:0] {name}_bias; logic {name}_started_q;",
        f"  always_ff @(posedge clk_i) {name}_started_q <= rst_ni && ({name}_started_q || {name}_in_valid_i);",
        f"  wire [{3 * TABLE_BITS[name] - 1}:0] {name}_tables = {{{', '.join(reversed(entries))}}};",
        f"  lutra_bat_quantise #(.Lanes({LANES}), .Bits({bits}), .Scale({int(scale)}), .BeatBits(3), .LaneBits(3))",
        f"    u_{name} (",
        f"    .clk_i, .rst_ni, .start_i({name}_in_valid_i && !{name}_started_q), .by_head_i(1'b0), .rows_i('0),",
        "    .segments_i(segments), .beats_i(beats), .last_lanes_i(last_lanes),",
        f"    .signed_i(signed_codes), .use_bias_i(use_bias), .tables_i({name}_tables), .bias_address_o({name}_bias),",
        f"    .bias_i(bias_words[{name}_bias*{word} +: {word}]),",
        f"    .valid_i({name}_in_valid_i), .ready_o({name}_in_ready_o),",
        f"    .data_i({name}_in_data_i), .valid_o({name}_valid_o), .ready_i({name}_ready_i),",
        f"    .codes_o({name}_data_o), .error_o(errors[{ERRORS.index(name)}]));",
    ]


INSTANCES = {"vector": vector_instance, "softmax": softmax_instance, "norm": norm_instance}


def wide_numbers(rng, shape, largest=14):
    """Numbers of many exponents below 2**largest, some of them 0, -0 or equal to each other."""
    x = (rng.standard_normal(shape) * 2.0 ** rng.integers(-20, largest - 2, shape)).clip(-(2**largest), 2**largest)
    special = rng.choice([0.0, -0.0, 1.0, -1.0, 2.0**-24, 0.5], shape)
    return np.where(rng.random(shape) < 0.1, special, x).astype(np.float16)


class Rows:
    """A case for all units: rows of `elements` numbers, random settings, what the golden functions make of them."""

    def __init__(self, seed, elements, rows, signed, scores=False):
        self.rng = np.random.default_rng(seed)
        rng, self.rows, self.elements = self.rng, rows, elements
        self.beats = -(-elements // LANES)
        self.copies, self.use_residual = (1, False) if scores else (int(rng.integers(1, 3)), bool(rng.integers(2)))
        self.relu, self.use_bias = bool(rng.integers(2)), not scores
        self.segments = int(rng.integers(1, 4))
        self.signed = signed
        self.epsilon = float(rng.choice([1e-12, 1e-5, 1e-3]))
        shape = (rows, self.copies, elements)
        largest = 2 ** int(rng.integers(3, SUM_BITS))
        self.exponent = binary16.sum_exponent(largest) + int(rng.integers(0, 3))
        self.sums = rng.integers(-largest + 1, largest, shape)
        self.factors = (rng.standard_normal((self.copies, elements)) * 2.0 ** rng.integers(-14, -5)).astype(np.float16)
        if scores:
            self.factors[:] = self.factors[0, 0]
        self.scores = scores
        self.biases = wide_numbers(rng, elements, 6)
        self.gains = wide_numbers(rng, elements, 3)
        self.residual = wide_numbers(rng, (rows, elements), 8)
        self.steps = {name: (2.0 ** rng.uniform(-9, 9, 3)).astype(np.float16) for name in QUANTISERS}
        self.numbers = {name: wide_numbers(rng, (rows, self.segments, elements)) for name in QUANTISERS}
        self.softmax_in = wide_numbers(rng, (rows, elements), int(rng.integers(0, 16)))
        self.norm_in = wide_numbers(rng, (rows, elements), int(rng.integers(-8, 12)))
        if rows > 2:
            self.norm_in[1] = self.norm_in[1, 0]  # no variance
            self.softmax_in[1] = self.softmax_in[1, 0]

    def config(self, name):
        return small_config(quantisation={"method": "bmt", "activation_bits": QUANTISERS[name][0]})

    def expected(self):
        """What must leave every unit: (rows, ..., elements)."""
        y = np.broadcast_to(self.biases, (self.rows, self.elements))
        for copy in range(self.copies):
            product = binary16.from_integer(self.sums[:, copy].astype(float), self.exponent) * self.factors[copy]
            y = product if self.scores else y + product
        if self.use_residual:
            y = self.residual + y
        found = {"vector": np.where(y > 0, y, np.float16(0)) if self.relu else y}
        for name, steps in self.steps.items():
            shifted = self.numbers[name] + self.biases if self.use_bias else self.numbers[name]
            codes = [
                bert_golden.codes_of(self.config(name), shifted[:, segment], steps[segment], self.signed)
                for segment in range(self.segments)
            ]
            bits = QUANTISERS[name][0]
            found[name] = np.stack(codes, axis=1) > 0 if bits == 1 else np.stack(codes, axis=1) % 2**bits
        found["softmax"] = bert_golden.softmax(self.softmax_in)
        model = SimpleNamespace(
            config=SimpleNamespace(width=self.elements, layer_norm_epsilon=self.epsilon),
            tensors={"norm.gain": self.gains, "norm.bias": self.biases},
        )
        found["norm"] = bert_golden.layer_norm(model, "norm", self.norm_in)
        return found

    def in_beats(self, values, garbage=True):
        """(..., elements) of numbers or integers -> (beats, lanes), the last beat filled with garbage."""
        values = values.view(np.uint16).astype(np.int64) if values.dtype == np.float16 else values.astype(np.int64)
        missing = self.beats * LANES - self.elements
        filler = self.rng.integers(0, 2**16 if garbage else 1, (*values.shape[:-1], missing))
        return np.concatenate([values, filler], axis=-1).reshape(-1, LANES)

    def case(self, reset=False):
        fields = dict.fromkeys(FIELDS.bits, 0)
        fields |= {
            "beats": self.beats,
            "last_lanes": self.elements - (self.beats - 1) * LANES,
            "copies": self.copies,
            "use_bias": self.use_bias,
            "use_residual": self.use_residual,
            "relu": self.relu,
            "same_factor": self.scores,
            "exponent": self.exponent,
            "segments": self.segments,
            "signed": self.signed,
            "width": self.elements,
            "epsilon": int(np.floor(self.epsilon * self.elements * 2**20 + 0.5)),
        }
        for name, values in (("factor", self.factors), ("bias", self.biases), ("gain", self.gains)):
            for index, beat in enumerate(self.in_beats(values, garbage=False)):
                fields[f"{name}_{index}"] = sum(int(word) << 16 * lane for lane, word in enumerate(beat))
        for name, steps in self.steps.items():
            tables_of_segments = [
                [step.view(np.uint16)]
                if QUANTISERS[name][1]
                else tables.thresholds(self.config(name), step, self.signed)
                for step in steps
            ]
            for index, word in enumerate(np.concatenate(tables_of_segments).tolist()):
                fields[f"{name}_table_{index}"] = int(word)
        streams = {f"{name}_in": self.in_beats(self.numbers[name]) for name in QUANTISERS}
        residual = self.residual if self.use_residual else self.residual[:0]
        return Case(
            fields,
            {
                "sums": self.in_beats(self.sums),
                "residual": self.in_beats(residual),
                **streams,
                "softmax_in": self.in_beats(self.softmax_in),
                "norm_in": self.in_beats(self.norm_in),
            },
            {name: self.rows * self.beats * (self.segments if name in QUANTISERS else 1) for name in UNITS},
            reset,
        )

    def cycles(self):
        """When every beat must leave, without stalls."""
        beat, row = np.arange(self.beats), np.arange(self.rows)[:, None]
        passes = self.copies + self.use_residual
        slots = max(self.beats, 3) if passes > 1 else self.beats
        tree = max(1, -(-(LANES - 1).bit_length() // 2))
        found = {"vector": row * passes * slots + (passes - 1) * slots + beat + 5}
        for name, (_, scale) in QUANTISERS.items():
            found[name] = np.arange(self.rows * self.segments * self.beats) + (6 if scale else 4)
        found["softmax"] = row * self.beats + 2 * self.beats + beat + 11 + tree
        found["norm"] = row * self.beats + 2 * self.beats + beat + 46 + 2 * tree
        return {name: values.reshape(-1) for name, values in found.items()}


def problems(bench, all_rows):
    """What is wrong with the rows in both passes, one line each."""
    cases = [rows.case() for rows in all_rows]
    found = []
    for stalling, results in enumerate(bench.run(cases)):
        for number, (rows, result) in enumerate(zip(all_rows, results, strict=True)):
            where = f"case {number}, pass {stalling}"
            found += [f"{where}: {problem}" for problem in result.problems]
            if result.flags:
                found.append(f"{where}: error bits {result.flags:b}")
            for name, values in rows.expected().items():
                if name not in result.data:
                    continue
                wanted = rows.in_beats(values).reshape(*values.shape[:-1], -1)[..., : rows.elements]
                beats = result.data[name]
                if len(beats) < len(rows.in_beats(values)):
                    continue  # said above
                actual = beats.reshape(*values.shape[:-1], -1)[..., : rows.elements]
                different = np.argwhere(actual != wanted)
                if len(different):
                    place = tuple(different[0])
                    found.append(
                        f"{where}: {name} {place}: RTL {actual[place]:#x}, golden {wanted[place]:#x}, "
                        f"{len(different)} of {wanted.size}"
                    )
                if not stalling and rows.beats > 1 and result.left[name].tolist() != rows.cycles()[name].tolist():
                    found.append(f"{where}: {name} left in other cycles than predicted")
    return found
