"""Counting a design up from its modules: against synthesis of the whole, and what is refused."""

from __future__ import annotations

import pytest

from lutra.accelerators.systolic.array import REGULAR_MODULES, SystolicConfig, systolic_design
from lutra.errors import ToolError
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.hierarchy import synthesise_hierarchy
from lutra.synth.tools.yosys import sources_of

SIZE, DEPTH = 4, 256


@pytest.fixture(scope="module")
def yosys():
    tool = fpga_yosys()
    if tool is None:
        pytest.skip("Yosys is not installed")
    return tool


@pytest.fixture(scope="module")
def rtl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("systolic") / "rtl"
    systolic_design(SystolicConfig(SIZE, DEPTH, 1, multiplier_bits=1, shift=8), "systolic").write(folder)
    return folder


@pytest.mark.slow
def test_counted_up_array_against_the_whole(yosys, rtl):
    counted = synthesise_hierarchy(yosys, rtl, sources_of(rtl), "systolic", REGULAR_MODULES)
    instances = {module.name: module.instances for module in counted.modules}
    assert instances["lutra_systolic_pe"] == SIZE**2
    assert instances["lutra_systolic_edge"] == 2 * SIZE
    assert instances["systolic"] == instances["lutra_requantise"] == 1
    total = counted.total
    assert (total.bram, total.dsp) == (0.5 * 3 * SIZE, 0)
    elements = counted.of("lutra_systolic_pe")
    assert elements.ff == SIZE**2 * (8 + 8 + 32 + 1)
    whole = synthesise_hierarchy(yosys, rtl, sources_of(rtl), "systolic", ()).total
    assert whole.lut_raw == pytest.approx(total.lut_raw, rel=0.05)
    # What the last column hands on to the right, and the last row downwards, ends nowhere.
    handed_on = SIZE * (1 + 8) + SIZE * 8
    assert total.ff - handed_on - 60 <= whole.ff <= total.ff - handed_on
    assert whole.bram == total.bram


@pytest.mark.slow
def test_a_module_that_is_not_there(yosys, tmp_path):
    (tmp_path / "top.sv").write_text("module top (input logic a_i, output logic y_o); assign y_o = !a_i; endmodule\n")
    with pytest.raises(ToolError, match="top has no module lutra_systolic_pe"):
        synthesise_hierarchy(yosys, tmp_path, ["top.sv"], "top", ("lutra_systolic_pe",))


@pytest.mark.slow
def test_what_is_outside_is_neither_mapped_nor_counted(yosys, tmp_path):
    inside = "logic x; outside u_outside (.a_i, .y_o(x)); part u_part (.a_i(x), .y_o);"
    part = "module part (input logic a_i, output logic y_o); assign y_o = !a_i; endmodule\n"
    (tmp_path / "top.sv").write_text(f"{part}module top (input logic a_i, output logic y_o); {inside} endmodule\n")
    ports = {"outside": "module outside (input logic a_i, output logic y_o);\nendmodule\n"}
    counted = synthesise_hierarchy(yosys, tmp_path, ["top.sv"], "top", ("part",), lut_memories=True, outside=ports)
    found = {module.name: (module.instances, module.use.lut_raw) for module in counted.modules}
    assert found == {"top": (1, 0), "part": (1, 1)}
