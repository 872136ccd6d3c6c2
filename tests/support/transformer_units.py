"""The SystemVerilog of a whole transformer's vector units, and a bench of the two serial ones beside their faults."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hardware_variants
import lutra.accelerators.transformer
from hardware_variants import Variant
from lutra.hardware.bench import streams, verilator
from lutra.hardware.design import library_files

RTL = Path(lutra.accelerators.transformer.__file__).parent / "rtl"
SOURCES = {name.removesuffix(".sv"): text for name, text in library_files(RTL).items()}
"""Module -> text."""
PREFIX = "lutra_transformer_"
ROOT, RECIPROCAL = f"{PREFIX}root", f"{PREFIX}reciprocal"

RECIPROCAL_BITS = (26, 17, 2, 36)
"""Of the values; the first right forms of the reciprocal."""
SERIAL_FAULTS = {
    ROOT: {
        "the bit below the root": ("root_q, 2'b01}", "root_q, 2'b00}"),
        "a rest that does not fit": ("fits ? difference : trial", "difference"),
        "the highest bits left out": ("{rest_q, value_q[51:50]}", "{rest_q, value_q[50:49]}"),
        "a step too few": ("LastStep = 5'd25", "LastStep = 5'd24"),
        "the rest before": ("rest_q  <= '0;", ""),
        "a reset that does not stop it": ("if (!rst_ni) begin\n      busy_q <= 1'b0;", "if (!rst_ni) begin"),
    },
    RECIPROCAL: {
        "a rest that does not fit": ("fits ? difference[ValueBits-1:0] : rest_q[ValueBits-1:0]",
                                     "rest_q[ValueBits-1:0]"),
        "the leading one of the value before": ("<< exponent;", "<< exponent_q;"),
        "a step too few": ("LastStep = 5'd16", "LastStep = 5'd15"),
        "powers of two": ("fits       = !difference[ValueBits]",
                          "fits       = !difference[ValueBits] && difference != '0"),
        "the exponent of another value": ("if (start_i) begin", "exponent_q <= 6'(exponent);\n    if (start_i) begin"),
        "a reset that does not stop it": ("if (!rst_ni) begin\n      busy_q <= 1'b0;", "if (!rst_ni) begin"),
    },
}  # fmt: skip

MAIN = """
// Gives a serial unit one value after the other, each in the cycle in which it is done with the one before.
#include "Vtestbench.h"
#include "bench.h"
static Vtestbench& top = *new Vtestbench;
static void tick() {
    top.clk_i = 1;
    top.eval();
    top.clk_i = 0;
    top.eval();
}
int main(int argc, char** argv) {
    if (argc != 3) return 1;
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    if (!vectors || !results) return 1;
    top.unit_i = read_word(vectors);
    top.variant_i = read_word(vectors);
    Words values(read_word(vectors));
    for (uint32_t& word : values) word = read_word(vectors);
    // A reset in the middle of a value, after which nothing may come of it.
    top.eval();
    top.rst_ni = 1;
    top.start_i = 1;
    top.value_i = 3;
    tick();
    top.start_i = 0;
    for (int cycle = 0; cycle < 7; ++cycle) tick();
    top.rst_ni = 0;
    tick();
    top.rst_ni = 1;
    uint32_t stray = 0;
    for (int cycle = 0; cycle < 60; ++cycle) {
        tick();
        stray += top.done_o;
    }
    std::fwrite(&stray, 4, 1, results);
    for (std::size_t next = 0; next < values.size(); next += 2) {
        top.start_i = 1;
        top.value_i = values[next] | static_cast<uint64_t>(values[next + 1]) << 32;
        tick();
        top.start_i = 0;
        top.value_i = ~top.value_i;
        uint32_t cycles = 1;
        for (; !top.done_o && cycles < 99; ++cycles) tick();
        const uint32_t result[] = {cycles, static_cast<uint32_t>(top.result_o), static_cast<uint32_t>(top.exponent_o)};
        std::fwrite(result, 4, 3, results);
    }
    top.final();
    return std::fclose(results);
}
"""
TOP = f"""
module serial_units (
  input logic clk_i, input logic rst_ni, input logic unit_i, input logic [7:0] variant_i, input logic start_i,
  input logic [51:0] value_i, output logic done_o, output logic [25:0] result_o, output logic [5:0] exponent_o
);
  logic root_done, reciprocal_done;
  logic [25:0] root;
  logic [16:0] factor;
  logic [5:0]  exponent;
  {ROOT}_variants u_root (
    .variant_i, .clk_i, .rst_ni, .start_i(start_i && !unit_i), .value_i, .done_o(root_done), .root_o(root));
  {RECIPROCAL}_variants u_reciprocal (
    .variant_i, .clk_i, .rst_ni, .start_i(start_i && unit_i), .value_i(value_i[35:0]), .done_o(reciprocal_done),
    .factor_o(factor), .exponent_o(exponent));
  assign done_o     = unit_i ? reciprocal_done : root_done;
  assign result_o   = unit_i ? 26'(factor) : root;
  assign exponent_o = unit_i ? exponent : '0;
endmodule
"""


@dataclass(frozen=True)
class SerialBench:
    """Root and reciprocal, each in its right forms and with faults."""

    executable: Path

    def run(self, module: str, variant: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Cycles, result and exponent (n,) of every value, and how often something came after a reset."""
        words = np.ascontiguousarray(values, "<u8").view("<u4")
        vectors = struct.pack("<III", module == RECIPROCAL, variant, len(words)) + words.tobytes()
        found = np.frombuffer(streams.execute(self.executable, vectors), "<u4").astype(np.int64)
        cycles, results, exponents = found[1:].reshape(-1, 3).T
        return cycles, results, exponents, int(found[0])


def serial_variants(module: str) -> list[Variant]:
    """The right forms of a serial unit first."""
    right = [Variant({"ValueBits": bits}) for bits in RECIPROCAL_BITS] if module == RECIPROCAL else [Variant()]
    return right + [Variant(right[0].parameters, (module, *fault)) for fault in SERIAL_FAULTS[module].values()]


def build_serial(folder: Path) -> SerialBench:
    """Compile the bench in `folder`."""
    files = {}
    for module in (ROOT, RECIPROCAL):
        written = hardware_variants.write(serial_variants(module), module, SOURCES, folder / module, gate_clocks=True)
        files |= {path.name: path for path in written}
    (folder / "serial_units.sv").write_text(TOP)
    (folder / "main.cpp").write_text(MAIN)
    streams.write_bench_header(folder)
    sources = [*files.values(), folder / "serial_units.sv"]
    return SerialBench(verilator.build(sources, "serial_units", folder / "main.cpp", folder / "build"))
