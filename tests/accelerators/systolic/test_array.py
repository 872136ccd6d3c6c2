"""The systolic array's RTL: clean for both tools, complete, and built only from what it takes."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from lutra.accelerators.systolic.array import RTL, SystolicConfig, sufficient_output_lanes, systolic_design
from lutra.errors import InputError
from lutra.hardware.bench import verilator
from lutra.synth.tools.find import fpga_yosys, run_tool

CONFIGS = [
    SystolicConfig(size=2, depth=2, output_lanes=2, multiplier_bits=1, shift=0, tile_bits=1),
    SystolicConfig(size=4, depth=2, output_lanes=1),
    SystolicConfig(size=8, depth=64, output_lanes=8),
    SystolicConfig(size=2, depth=2, output_lanes=2, multiplier_bits=1, shift=0, tile_bits=1, pipelined=True),
    SystolicConfig(size=8, depth=64, output_lanes=8, pipelined=True),
]


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda config: f"{config.size}x{config.size}{'-pipelined' * config.pipelined}"
)
def test_verilator_has_no_warning_and_yosys_reads_it(tmp_path, config):
    files = systolic_design(config, "array").write(tmp_path / "rtl")
    sources = [path for path in files if path.suffix == ".sv"]
    assert verilator.lint(sources, "array") == ""
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    names = " ".join(path.name for path in sources)
    script = f"read_verilog -sv {names}; hierarchy -check -top array; proc; check -assert"
    run_tool(yosys, ["-q", "-p", script], tmp_path / "rtl", tmp_path / "log")


# The registers of the one with a clock are passed by ticking before the product is read.
@pytest.mark.parametrize(
    ("module", "clocked"), [("lutra_systolic_multiplier", False), ("lutra_systolic_pair_multiplier", True)]
)
def test_the_multiplier_multiplies_every_pair(tmp_path, module, clocked):
    tick = "top.clk_i = 0; top.eval(); top.clk_i = 1;" if clocked else ""
    (tmp_path / "main.cpp").write_text(
        "#include <cstdio>\n"
        '#include "Vtestbench.h"\n'
        "int main() {\n"
        "    Vtestbench top;\n"
        "    for (int pair = 0; pair < 65536; ++pair) {\n"
        "        top.a_i = pair >> 8;\n"
        "        top.b_i = pair & 255;\n"
        f"        {tick} top.eval();\n"
        '        std::printf("%u\\n", (top.product_o + top.carry_o) & 65535);\n'
        "    }\n"
        "}\n"
    )
    sources = [RTL / f"{name}.sv" for name in ("lutra_booth_row", module)]
    executable = verilator.build(sources, module, tmp_path / "main.cpp", tmp_path)
    printed = subprocess.run([executable], capture_output=True, text=True, check=True).stdout
    products = np.array(printed.split(), np.uint16).view(np.int16).reshape(256, 256)
    values = np.arange(256, dtype=np.uint8).view(np.int8).astype(int)
    np.testing.assert_array_equal(products, values[:, None] * values)


def test_files_are_the_needed_ones_alone():
    files = systolic_design(CONFIGS[0], "array").files
    assert "lutra_systolic_multiplier.sv" in files
    assert not {"lutra_accumulator.sv", "lutra_lut.sv"} & files.keys()
    assert files["filelist.f"].split() == [name for name in files if name.endswith(".sv")]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"size": 12}, "size must be a power of two, got 12"),
        ({"depth": 0}, "depth must be a power of two"),
        ({"output_lanes": 16}, "output_lanes at most size"),
        ({"multiplier_bits": 32}, "multiplier_bits, shift or tile_bits out of range"),
    ],
)
def test_other_configurations_are_refused(arguments, problem):
    with pytest.raises(InputError, match=problem):
        SystolicConfig(**{"size": 8, "depth": 64, "output_lanes": 8, **arguments})


def test_output_lanes_that_keep_up():
    # I-ViT-T: 192 terms in the first product of the MLP.
    assert [sufficient_output_lanes(size, 192) for size in (8, 16, 32, 64)] == [1, 2, 8, 32]
    assert sufficient_output_lanes(8, 1) == 8
