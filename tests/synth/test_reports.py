"""Reading what tools print: counts, areas, slack and power, in the formats of the tools; nothing is ever guessed."""

from __future__ import annotations

import gzip

import pytest

from lutra.errors import InputError, RunDirectoryError, ToolError
from lutra.synth.tools import opensta
from lutra.synth.tools.yosys import chip_area_um2, copy_sources, fpga_use, read_liberty, sources_of

STA_LOG = """\
worst slack -1.42
Group                    Internal    Switching      Leakage        Total
                            Power        Power        Power        Power
------------------------------------------------------------------------
Sequential           1.470226e-03 1.409594e-05 1.434568e-10 1.484322e-03  86.7%
Total                1.629144e-03 8.278887e-05 3.209873e-10 1.711933e-03 100.0%
                            95.2%         4.8%         0.0%
"""


def test_opensta_log():
    assert opensta.parse_slack_ns(STA_LOG, "t") == -1.42
    assert opensta.parse_slack_ns("worst slack max 0.30\n", "t") == 0.3
    (power,) = opensta.parse_power(STA_LOG, "t", reports=1)
    assert power == opensta.PowerSplit(1.629144e-03, 8.278887e-05, 3.209873e-10, 1.711933e-03)


@pytest.mark.parametrize(
    "log",
    ["", "worst slack INF\n", "Error: sta.tcl, 9 link_design: no module\n" + STA_LOG, STA_LOG.replace("W", "")[:9]],
)
def test_opensta_logs_without_an_answer_are_refused(log):
    with pytest.raises(ToolError):
        opensta.parse_slack_ns(log, "t")


def test_opensta_power_must_be_a_positive_number():
    for log in ("worst slack 1\n", STA_LOG.replace("1.711933e-03", "0.000000e+00")):
        with pytest.raises(ToolError, match="no total power"):
            opensta.parse_power(log, "t", reports=1)
    with pytest.raises(ToolError, match="no total power"):
        opensta.parse_power(STA_LOG, "t", reports=2)


def test_chip_area_must_have_come_out():
    assert chip_area_um2("   Chip area for module '\\t': 163.590000\n", "t", "Yosys") == 163.59
    assert chip_area_um2("   Chip area for top module '\\t': 1e3\n", "t", "Yosys") == 1000
    for stat in ("", "   Chip area for module '\\other': 163.590000\n"):
        with pytest.raises(ToolError, match="no area of t"):
            chip_area_um2(stat, "t", "Yosys")
    with pytest.raises(ToolError, match=r"no area for \\?\$_NOT_"):
        chip_area_um2("Area for cell type $_NOT_ is unknown!\nChip area for module '\\t': 1.0\n", "t", "Yosys")


def cell(type_: str, *inputs: int | str) -> dict:
    ports = {f"I{index}": [bit] for index, bit in enumerate(inputs)}
    directions = dict.fromkeys(ports, "input") | {"O": "output"}
    return {"type": type_, "connections": ports | {"O": [99]}, "port_directions": directions}


def test_counts_of_a_netlist():
    cells = [cell("LUT6", *range(6)), cell("LUT2", 0, 1), cell("LUT4", 0, 1, 2, "1"), cell("INV", 7)]
    cells += [cell("FDRE", 1), cell("FDSE", 2), cell("CARRY4"), cell("MUXF7"), cell("RAMB18E2"), cell("BUFG", 3)]
    use = fpga_use({str(index): each for index, each in enumerate(cells)}, "test")
    assert (use.lut_raw, use.lut_packed) == (4, 3)
    assert (use.ff, use.bram, use.dsp, use.carry4, use.muxf7) == (2, 0.5, 0, 1, 1)


def test_cells_that_are_not_of_the_device_are_named():
    with pytest.raises(ToolError, match=r"not of the device: \$mul, lutra_mux"):
        fpga_use({"a": cell("$mul"), "b": cell("lutra_mux"), "c": cell("LUT1", 1)}, "test")


def test_file_lists(tmp_path):
    with pytest.raises(RunDirectoryError, match="run `lutra rtl` first"):
        sources_of(tmp_path)
    (tmp_path / "filelist.f").write_text("// made by us\n\n")
    with pytest.raises(RunDirectoryError, match="names no source"):
        sources_of(tmp_path)
    (tmp_path / "filelist.f").write_text("lib/a.sv // first\nblock_0.sv\n")
    assert sources_of(tmp_path) == ["lib/a.sv", "block_0.sv"]


@pytest.mark.parametrize(
    "line", ["+incdir+.", "-f more.f", "../a.sv", "/tmp/a.sv", "a.sv; !touch canary", "a.cpp", "lib/../../a.sv", ".sv"]
)
def test_file_lists_that_lead_elsewhere_are_refused(tmp_path, line):
    (tmp_path / "filelist.f").write_text(f"a.sv\n{line}\n")
    with pytest.raises(RunDirectoryError, match="is not a source file"):
        sources_of(tmp_path)


def test_only_sources_are_copied(tmp_path):
    rtl, work = tmp_path / "rtl", tmp_path / "work"
    (rtl / "lib").mkdir(parents=True)
    for name in ("lib/a.sv", "block_0.sv", "tables.mem", "notes.txt"):
        (rtl / name).write_text(name)
    copy_sources(rtl, work)
    assert sorted(str(path.relative_to(work)) for path in work.rglob("*.*")) == ["block_0.sv", "lib/a.sv", "tables.mem"]


def test_liberty_files(tmp_path):
    (tmp_path / "cells.lib").write_text("library (small) {}")
    (tmp_path / "cells.lib.gz").write_bytes(gzip.compress(b"library(small) {}"))
    assert read_liberty(tmp_path / "cells.lib").startswith(b"library")
    assert read_liberty(tmp_path / "cells.lib.gz") == b"library(small) {}"
    (tmp_path / "torn.lib.gz").write_bytes(b"nothing")
    (tmp_path / "other.lib").write_text("hello")
    for name in ("none.lib", "torn.lib.gz", "other.lib"):
        with pytest.raises(InputError, match=name):
            read_liberty(tmp_path / name)
