"""Adder graphs in stages: every word is there when it is read, and the SystemVerilog computes the sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.accelerators.block.adder_graph import adder_graph
from lutra.accelerators.block.emit import with_library
from lutra.accelerators.block.graph_pipeline import GraphPipeline, graph_module, output_name
from lutra.accelerators.block.schedule import graph_levels
from lutra.errors import InputError
from lutra.hardware.bench import cycles, verilator
from lutra.hardware.bench.cycles import Fields

LUT_MODELS = """
module LUT3 #(parameter logic [7:0] INIT = 8'd0) (input logic I0, input logic I1, input logic I2, output logic O);
  assign O = INIT[{I2, I1, I0}];
endmodule
module LUT6 #(parameter logic [63:0] INIT = 64'd0) (
  input logic I0, input logic I1, input logic I2, input logic I3, input logic I4, input logic I5, output logic O
);
  assign O = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule
"""
ROWS, OUTPUTS = 40, 7


def random_pipeline(seed, rows=ROWS, outputs=OUTPUTS, largest=3, waiting=0):
    """A graph in stages, and its values."""
    rng = np.random.default_rng(seed)
    encoded, start = rng.integers(-largest, largest + 1, (rows, outputs)), rng.integers(-99, 100, outputs)
    encoded[rng.integers(rows)] = 0  # a bit that nobody adds
    bits = int((np.abs(encoded).sum(axis=0) + np.abs(start)).max()).bit_length() + 1
    graph = adder_graph(encoded, start, bits)
    return GraphPipeline(graph, (*graph_levels(graph.depth), *[graph.depth] * waiting)), encoded, start


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([1, 3, 128]), st.integers(0, 3)
)
def test_every_word_is_there_in_the_stage_that_reads_it(seed, rows, outputs, largest, waiting):
    pipeline, *_ = random_pipeline(seed, rows, outputs, largest, waiting)
    there = [{count.number.name for count in pipeline.graph.counts}]
    for stage in range(1, pipeline.stages + 1):
        there.append({register.name for register in pipeline.registers(stage)})
    words = [(adder.number.name, adder) for adder in pipeline.graph.adders]
    words += [(output_name(index), output) for index, output in enumerate(pipeline.graph.outputs)]
    for name, made in words:
        stage = pipeline.made[name]
        assert {pipeline.word(operand.number.name, stage) for operand in made.operands} <= there[stage]
        there[stage].add(name)
    for stage in range(1, pipeline.stages + 1):
        assert {register.taken for register in pipeline.registers(stage)} <= there[stage - 1]
    assert {pipeline.word(output_name(index), pipeline.stages) for index in range(outputs)} <= there[-1]


def test_at_most_two_levels_of_adders_stand_between_registers():
    pipeline, *_ = random_pipeline(1, 200, 6)
    levels = {name: level for name, level in pipeline.graph.levels.items() if level}
    assert pipeline.graph.depth > 3
    for stage in range(pipeline.stages):
        within = {level for name, level in levels.items() if pipeline.made[name] == stage}
        assert len(within) <= (2 if stage else 1)  # tables stand before those of the first


@pytest.mark.parametrize(
    ("defines", "waiting"),
    [((), 2), pytest.param(("LUTRA_XILINX",), 0, marks=pytest.mark.slow)],
    ids=["plain", "xilinx"],
)
def test_the_systemverilog_computes_the_sums(tmp_path, defines, waiting):
    pipeline, encoded, start = random_pipeline(3, waiting=waiting)
    bits, rng = pipeline.graph.bits, np.random.default_rng(4)
    design = with_library({"sums.sv": graph_module(pipeline, "sums")})
    folder = tmp_path / "rtl"
    design.write(folder)
    files = [folder / name for name in design.sources]
    assert verilator.lint(files, "sums") == ""
    shown = Fields({f"sum_{d}": bits for d in range(OUTPUTS)})
    wires = "".join(
        f"  assign outputs_o[{shown.offsets[f'sum_{d}']} +: 32] = 32'(sums[{d * bits} +: {bits}]);\n"
        for d in range(OUTPUTS)
    )
    (folder / "bench.sv").write_text(
        f"{LUT_MODELS}\nmodule bench (input logic clk_i, input logic [95:0] inputs_i, output logic "
        f"[{32 * shown.words - 1}:0] outputs_o);\n  logic [{OUTPUTS * bits - 1}:0] sums;\n{wires}"
        f"  sums u_sums (.clk_i, .advance_i(inputs_i[64]), .bits_i(inputs_i[{ROWS - 1}:0]), .sums_o(sums));\n"
        "  logic unused_inputs; assign unused_inputs = ^inputs_i;\nendmodule\n"
    )
    inputs = Fields({"bits": 64, "advance": 1})
    bench = cycles.build([folder / "bench.sv", *files], "bench", inputs, shown, tmp_path / "build", defines)
    count = 2000
    values, advance = rng.integers(0, 2**ROWS, count), rng.integers(0, 4, count) > 0
    found = bench.run({"bits": values, "advance": advance})
    taken = values[advance]
    sums = start + (taken[:, None] >> np.arange(ROWS) & 1) @ encoded
    # In cycle t the sums are those of the row that went in `stages` advances before.
    passed = np.concatenate([[0], np.cumsum(advance)[:-1]]) - pipeline.stages
    for d in range(OUTPUTS):
        expected = sums[passed[passed >= 0], d] % (1 << bits)
        assert (found[f"sum_{d}"][passed >= 0] == expected).all(), d


def test_a_name_that_is_no_identifier():
    with pytest.raises(InputError, match="module"):
        graph_module(random_pipeline(0)[0], "a b")
