"""ShiftGELU in SystemVerilog equals its integers, element for element, also when its sink stalls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.accelerators.systolic import bench as systolic
from lutra.accelerators.systolic.array import ActivationConfig, SystolicConfig, systolic_design
from lutra.accelerators.systolic.bench import Product, simulate_products
from lutra.errors import InputError
from lutra.frozen.shift import gelu_unit, shift_gelu
from lutra.hardware.bench import streams, verilator
from lutra.hardware.design import LIBRARY, Design, library_files
from lutra.synth.tools.find import fpga_yosys, run_tool

SCALES_AND_SHIFTS = [(0.005, 22), (0.02, 23), (0.04, 23), (0.11, 16), (0.6, 23), (0.04, 1)]
MULTIPLIER, MULTIPLIER_SHIFT = 0x9E37, 22
MAX_TILES = 128
SIDE = 2
"""Rows and columns of a tile, one beat per row."""


def unit_source(index, unit, shift):
    return f"""
  lutra_shift_gelu #(
    .Size({SIDE}), .Lanes({SIDE}), .MaxTiles({MAX_TILES}), .Unit({unit}), .Shift({shift}),
    .MultiplierBits(16), .Multiplier(16'd{MULTIPLIER}), .OutputShift({MULTIPLIER_SHIFT})
  ) u_{index} (
    .clk_i, .rst_ni, .column_tiles_i, .valid_i, .ready_o(ready_o[{index}]), .data_i,
    .valid_o(valid_o[{index}]), .ready_i, .data_o(data_o[{16 * index} +: 16])
  );"""


BENCH = """
#include "Vtestbench.h"
#include "bench.h"
static Vtestbench& top = *new Vtestbench;
int main(int argc, char** argv) {
    if (argc != 3) return 1;
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    const uint32_t units = UNITS, all = (1u << units) - 1, tiles = read_word(vectors), beats = read_word(vectors);
    Words input(beats);
    for (uint32_t& word : input) word = read_word(vectors);
    std::vector<Words> output(units);
    Stalls stalls(beats);
    uint32_t next = 0;
    for (uint32_t cycle = 0; cycle < 20 * beats + 4000; ++cycle) {
        top.clk_i = 0;
        top.rst_ni = cycle > 2;
        top.column_tiles_i = tiles;
        top.ready_i = cycle > 2 && stalls.go();
        top.valid_i = 0;
        top.eval();
        top.valid_i = cycle > 2 && next < beats && (top.ready_o & all) == all;
        if (top.valid_i) top.data_i = input[next++];
        top.eval();
        uint32_t words[units];
        get(top.data_o, words, (16 * units + 31) / 32);
        for (uint32_t unit = 0; unit < units; ++unit)
            if (top.ready_i && top.valid_o >> unit & 1)
                output[unit].push_back(words[unit / 2] >> 16 * (unit % 2) & 65535);
        top.clk_i = 1;
        top.eval();
    }
    for (const Words& words : output) write_words(results, words);
    top.final();
    return std::fclose(results);
}
"""


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """A test bench with one unit per scale, all fed with the same rows."""
    folder = tmp_path_factory.mktemp("units")
    count = len(SCALES_AND_SHIFTS)
    body = "".join(unit_source(i, gelu_unit(scale), shift) for i, (scale, shift) in enumerate(SCALES_AND_SHIFTS))
    source = (
        "module units (input logic clk_i, input logic rst_ni, input logic [7:0] column_tiles_i, input logic valid_i,\n"
        f"  input logic [15:0] data_i, input logic ready_i, output logic [{count - 1}:0] ready_o,\n"
        f"  output logic [{count - 1}:0] valid_o, output logic [{16 * count - 1}:0] data_o);\n{body}\nendmodule\n"
    )
    for name, text in Design.complete({"units.sv": source}, library_files()).files.items():
        (folder / name).write_text(text)
    (folder / "main.cpp").write_text(BENCH.replace("UNITS", str(count)))
    streams.write_bench_header(folder)
    files = [folder / name for name in (folder / "filelist.f").read_text().split()]
    return verilator.build(files, "units", folder / "main.cpp", folder, defines=streams.DEFINES)


def assert_equal(executable, rows):
    """Feed rows (N, D), both even, and compare every unit with the integers."""
    tiles = rows.reshape(len(rows) // SIDE, SIDE, -1, SIDE).transpose(0, 2, 1, 3)  # (row tiles, tiles, rows, columns)
    words = streams.pack(tiles.reshape(-1, SIDE), 8)
    head = np.array([rows.shape[1] // SIDE, len(words)], "<u4")
    reader = streams.Reader(streams.execute(executable, head.tobytes() + words.tobytes()))
    for scale, shift in SCALES_AND_SHIFTS:
        y = streams.unpack(reader.counted().astype("<u4")[:, None], SIDE, 8, signed=True)
        activated = shift_gelu(rows, gelu_unit(scale), shift)
        expected = np.clip((activated * MULTIPLIER + (1 << MULTIPLIER_SHIFT - 1)) >> MULTIPLIER_SHIFT, -128, 127)
        actual = y.reshape(tiles.shape).transpose(0, 2, 1, 3).reshape(rows.shape)
        np.testing.assert_array_equal(actual, expected, err_msg=f"scale {scale}, shift {shift}")


def test_every_element_with_every_maximum(units):
    elements, largest = np.arange(-128, 128), np.arange(128)
    assert_equal(units, np.minimum(elements, largest[:, None]))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 2**32 - 1), st.integers(-128, 127))
def test_rows_of_any_width(units, row_tiles, tiles, seed, high):
    rows = np.random.default_rng(seed).integers(-128, high + 1, (SIDE * row_tiles, SIDE * tiles))
    assert_equal(units, rows)


@pytest.fixture(
    scope="module",
    params=[(SystolicConfig(4, 16, 4, shift=12), 5), (SystolicConfig(8, 32, 1, shift=12), 3)],
    ids=lambda each: f"{each[0].size}x{each[0].size}, {each[0].output_lanes} lanes",
)
def bench(request, tmp_path_factory):
    config, tiles = request.param
    activation = ActivationConfig(15, 23, 700, 16, tiles)
    return systolic.build(config, tmp_path_factory.mktemp("mlp"), activation)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_products_with_and_without_activation_and_their_cycles(bench, data):
    size = bench.config.size
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, columns = st.integers(1, 3 * size), st.integers(1, bench.activation.max_tiles * size)
    shape = st.tuples(rows, st.integers(1, bench.config.depth), columns, st.booleans())
    products = [
        Product(rng.integers(-128, 128, (m, k)), rng.integers(-128, 128, (k, p)), 40, activated)
        for m, k, p, activated in data.draw(st.lists(shape, min_size=1, max_size=4))
    ]
    results = simulate_products(bench, products)
    assert [result.problem for result in results if result.problem] == []
    assert all(result.cycles_measured == result.cycles_predicted for result in results)


def test_more_columns_than_the_unit_stores(bench):
    columns = bench.activation.max_tiles * bench.config.size + 1
    product = Product(np.zeros((1, 1), int), np.zeros((1, columns), int), 1, activated=True)
    with pytest.raises(InputError, match=f"cannot activate {columns} columns"):
        simulate_products(bench, [product])


@pytest.mark.parametrize("lanes", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_verilator_has_no_warning_and_yosys_reads_it(tmp_path, lanes):
    activation = ActivationConfig(15, 23, 700, 16, 3)
    files = systolic_design(SystolicConfig(8, 32, lanes), "mlp", activation).write(tmp_path / "rtl")
    sources = [path for path in files if path.suffix == ".sv"]
    assert verilator.lint(sources, "mlp") == ""
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    names = " ".join(path.name for path in sources)
    script = f"read_verilog -sv {names}; hierarchy -check -top mlp; proc; check -assert"
    run_tool(yosys, ["-q", "-p", script], tmp_path / "rtl", tmp_path / "log")


def test_yosys_finds_the_same_table(tmp_path):
    """Both tools must evaluate the function that fills the ROM of exponentials in the same way."""
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    for name in ("lutra_shift_exp", "lutra_rom", "lutra_lut", "lutra_mux"):
        (tmp_path / f"{name}.sv").write_text((LIBRARY / f"{name}.sv").read_text())
    script = (
        "read_verilog -sv lutra_shift_exp.sv lutra_rom.sv lutra_lut.sv lutra_mux.sv; hierarchy -top lutra_shift_exp; "
        "proc; flatten; opt -full; eval -set difference_i 8'd30 -show word; "
    )
    run_tool(yosys, ["-p", script], tmp_path, tmp_path / "log")
    printed = (tmp_path / "log").read_text()
    # unit 16: -30 * 1.4375 -> 43; two halvings, mantissa 16 * 4 - 43 = 21, exponent 23 - 2 - 1 = 20.
    assert f"{20:05b}{21:06b}" in printed


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"unit": 128}, "unit or shift out of range"), ({"shift": 24}, "unit or shift"), ({"max_tiles": 0}, "max_tiles")],
)
def test_activations_that_the_rtl_does_not_take(change, problem):
    with pytest.raises(InputError, match=problem):
        ActivationConfig(**{"unit": 15, "shift": 23, "multiplier": 1, "multiplier_shift": 7, "max_tiles": 2, **change})
