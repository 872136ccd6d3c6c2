"""Vivado and Design Compiler: complete Tcl with the paper's settings, and reports read back in the tools' formats."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lutra.errors import ToolError
from lutra.synth.tools import dc, vivado

VIVADO_UTILISATION = """\
Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.
| Tool Version : Vivado v.2022.1 (lin64) Build 3526262 Mon Apr 18 15:47:01 MDT 2022
| Design       : block_0
1. CLB Logic
+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| CLB LUTs                   | 23984 |     0 |          0 |   1182240 |  2.03 |
|   LUT as Logic             | 23984 |     0 |          0 |   1182240 |  2.03 |
| CLB Registers              |  6654 |     0 |          0 |   2364480 |  0.28 |
| Block RAM Tile |  1.5 |     0 |          0 |      2160 |  0.00 |
| DSPs      |    0 |     0 |          0 |      6840 |  0.00 |
"""
VIVADO_POWER = """\
+--------------------------+--------------+
| Total On-Chip Power (W)  | 2.633        |
| Dynamic (W)              | 0.153        |
| Device Static (W)        | 2.480        |
+--------------------------+--------------+
"""
DC_AREA = """\
Number of cells:                        41234
Combinational area:              83000.500000
Total cell area:                110000.250000
"""
DC_TIMING = """\
  data arrival time                                  -1.41
  -----------------------------------------------------------
  slack (VIOLATED)                                   -0.41
"""
DC_POWER = """\
Total Dynamic Power    =   4.9000 mW  (100%)

Cell Leakage Power     = 200.0000 uW
"""


def test_vivado_reports():
    use = vivado.parse_reports(VIVADO_UTILISATION, VIVADO_POWER, "block_0")
    assert use == vivado.VivadoUse("Vivado 2022.1", 23984, 6654, 1.5, 0, 0.153, 2.48)
    with pytest.raises(ToolError, match="block_0: the report has no row"):
        vivado.parse_reports(VIVADO_UTILISATION.replace("DSPs", "ABCs"), VIVADO_POWER, "block_0")


def test_design_compiler_reports():
    use = dc.parse_reports(DC_AREA, DC_TIMING, DC_POWER, "block_0")
    assert use.area_mm2 == pytest.approx(0.11000025)
    assert use.slack_ns == -0.41
    assert use.power_w == pytest.approx(0.0051)
    with pytest.raises(ToolError, match="block_0: the report does not tell the slack"):
        dc.parse_reports(DC_AREA, "", DC_POWER, "block_0")


@pytest.fixture
def rtl(tmp_path: Path) -> Path:
    folder = tmp_path / "rtl" / "fold_1"
    folder.mkdir(parents=True)
    (folder / "filelist.f").write_text("lutra_lut.sv\nblock_0.sv\n")
    return folder


def commands(script: Path) -> list[str]:
    """Every command of a Tcl script that is not Tcl's own, with its arguments evaluated, as the tool would see them."""
    tclsh = shutil.which("tclsh")
    if tclsh is None:
        pytest.skip("tclsh is not installed, and it is what evaluates the script")
    stub = script.parent / "stub.tcl"
    stub.write_text(
        """
        proc unknown {args} { puts $args; return "" }
        proc get_property {args} { return "100%" }
        set search_path .
        set env(LUTRA_TARGET_LIBRARY) cells.db
        rename exit stop
        proc exit {} {}
        """
        + f"source {{{script}}}\n"
    )
    done = subprocess.run([tclsh, stub], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_vivado_project(rtl, tmp_path):
    out = tmp_path / "synth" / "fold_1"
    constraints, script = vivado.write_vivado_scripts(rtl, out, ["block_0"])
    assert "-period 5 [get_ports clk_i]" in constraints.read_text()
    ran = commands(script)
    assert f"create_project -force block_0 {out}/block_0 -part xcvu9p-flgb2104-2-i" in ran
    assert f"add_files -norecurse {{{rtl}/lutra_lut.sv {rtl}/block_0.sv}}" in ran
    assert any("MAX_DSP 0" in command for command in ran)
    assert any("verilog_define LUTRA_XILINX=1" in command for command in ran)
    assert "set_switching_activity -default_toggle_rate 12.5" in ran
    assert f"report_power -file {out}/block_0_power.rpt" in ran


def test_design_compiler_script(rtl, tmp_path):
    out = tmp_path / "synth" / "fold_1"
    (script,) = dc.write_dc_scripts(rtl, out, ["block_0"])
    ran = commands(script)
    assert f"analyze -format sverilog {{{rtl}/lutra_lut.sv {rtl}/block_0.sv}}" in ran
    assert any(command.startswith("create_clock -name clock -period 1") for command in ran)
    assert "compile_ultra -gate_clock" in ran
    assert f"report_power > {out}/block_0_power.rpt" in ran


def test_reports_are_read_where_the_scripts_write_them(rtl, tmp_path):
    for_vivado, for_dc = tmp_path / "vivado", tmp_path / "dc"
    vivado.write_vivado_scripts(rtl, for_vivado, ["block_0"])
    dc.write_dc_scripts(rtl, for_dc, ["block_0"])
    assert vivado.read_vivado_reports(for_vivado, "block_0") is None
    assert dc.read_dc_reports(for_dc, "block_0") is None
    (for_vivado / "block_0_utilization.rpt").write_text(VIVADO_UTILISATION)
    (for_vivado / "block_0_power.rpt").write_text(VIVADO_POWER)
    for kind, text in (("area", DC_AREA), ("timing", DC_TIMING), ("power", DC_POWER)):
        (for_dc / f"block_0_{kind}.rpt").write_text(text)
    assert vivado.read_vivado_reports(for_vivado, "block_0").lut_packed == 23984
    assert dc.read_dc_reports(for_dc, "block_0").area_mm2 == pytest.approx(0.11, rel=1e-3)
