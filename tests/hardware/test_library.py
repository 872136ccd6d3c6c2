"""Tables and multiplexers in the forms that synthesis uses, for every address."""

import shutil
import subprocess

import numpy as np
import pytest

from lutra.hardware.bench import verilator
from lutra.hardware.design import LIBRARY
from lutra.hardware.literals import literal

LUT6 = """
module LUT6 #(parameter logic [63:0] INIT = 64'd0) (
  input logic I0, input logic I1, input logic I2, input logic I3, input logic I4, input logic I5, output logic O
);
  assign O = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule
"""
MAIN = """
#include <cstdio>
#include "Vtestbench.h"
int main() {
    Vtestbench top;
    for (int address = 0; address < 256; ++address) {
        top.address_i = address;
        top.eval();
        std::printf("%u %u\\n", top.bits_o, top.word_o);
    }
}
"""


@pytest.mark.parametrize(
    "defines", [(), ("LUTRA_XILINX",), ("LUTRA_FAST_SIMULATION",)], ids=["tree", "xilinx", "index"]
)
def test_tables_and_multiplexers(tmp_path, defines):
    rng = np.random.default_rng(5)
    tables = {n: rng.integers(0, 2, 2**n) for n in range(2, 9)}
    words = rng.integers(0, 8, 32)
    luts = "\n".join(
        f"  lutra_lut #(.Inputs({n}), .Table({literal(table)})) u_{n} ("
        f".address_i(address_i[{n - 1}:0]), .bit_o(bits_o[{n - 2}]));"
        for n, table in tables.items()
    )
    word_bits = literal((words[:, None] >> np.arange(3)) & 1)
    (tmp_path / "forms.sv").write_text(
        f"{LUT6}\nmodule forms (input logic [7:0] address_i, output logic [6:0] bits_o, output logic [2:0] word_o);\n"
        f"{luts}\n  lutra_mux #(.AddressBits(5), .Width(3)) u_mux "
        f"(.address_i(address_i[4:0]), .words_i({word_bits}), .word_o(word_o));\nendmodule\n"
    )
    (tmp_path / "main.cpp").write_text(MAIN)
    for name in ("lutra_lut.sv", "lutra_mux.sv"):
        shutil.copy(LIBRARY / name, tmp_path)
    files = [tmp_path / name for name in ("lutra_mux.sv", "lutra_lut.sv", "forms.sv")]
    executable = verilator.build(files, "forms", tmp_path / "main.cpp", tmp_path / "build", defines=defines)
    printed = subprocess.run([executable], capture_output=True, text=True, check=True).stdout
    expected = [
        (sum(int(table[address % len(table)]) << (n - 2) for n, table in tables.items()), int(words[address % 32]))
        for address in range(256)
    ]
    assert [tuple(map(int, line.split())) for line in printed.splitlines()] == expected
