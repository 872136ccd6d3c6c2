"""Sums as graphs of tables and adders: proved, simulated, and cheaper than summing every output on its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.accelerators.block.adder_graph import Number, adder_graph, graph_design, prove
from lutra.errors import InputError, MismatchError
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


def width_of(encoded, start):
    """Bits of the largest sum, in two's complement."""
    return int((np.abs(encoded).sum(axis=0) + np.abs(start)).max()).bit_length() + 1


def random_sums(rng, rows, outputs, largest):
    encoded, start = rng.integers(-largest, largest + 1, (rows, outputs)), rng.integers(-99, 100, outputs)
    return encoded, start, width_of(encoded, start)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([1, 2, 3, 7, 128]))
def test_the_graph_is_the_sum_for_all_bits(seed, rows, outputs, largest):
    encoded, start, bits = random_sums(np.random.default_rng(seed), rows, outputs, largest)
    prove(adder_graph(encoded, start, bits), encoded, start)


@pytest.mark.parametrize("encoded", [np.zeros((3, 2), int), np.array([[-128], [127]]), np.array([[5, -5], [0, 0]])])
def test_values_that_leave_little_to_add(encoded):
    start = np.arange(encoded.shape[1]) - 1
    prove(adder_graph(encoded, start, width_of(encoded, start)), encoded, start)


def damaged(graph):
    """The graph with one thing wrong, in every way that there is."""
    for index, count in enumerate(graph.counts):
        for wrong in (
            replace(count, inverted=count.inverted ^ {count.places[0]}),
            replace(count, places=count.places[1:]),
        ):
            yield replace(graph, counts=[*graph.counts[:index], wrong, *graph.counts[index + 1 :]])
    for index, adder in enumerate(graph.adders):
        first, *rest = adder.operands
        narrow = replace(adder, number=Number(adder.number.name, adder.number.high - 1))
        for wrong in (
            replace(adder, operands=(replace(first, shift=first.shift + 1), *rest)),
            replace(adder, operands=(replace(first, inverted=not first.inverted), *rest)),
            narrow,
        ):
            yield replace(graph, adders=[*graph.adders[:index], wrong, *graph.adders[index + 1 :]])
    for index, output in enumerate(graph.outputs):
        for wrong in (replace(output, constant=output.constant ^ 1), replace(output, operands=output.operands[1:])):
            yield replace(graph, outputs=[*graph.outputs[:index], wrong, *graph.outputs[index + 1 :]])


def test_the_proof_finds_every_fault():
    rng = np.random.default_rng(1)
    encoded, start, bits = random_sums(rng, 24, 5, 3)
    count = 0
    for wrong in damaged(adder_graph(encoded, start, bits)):
        count += 1
        with pytest.raises(MismatchError, match="adder graph: "):
            prove(wrong, encoded, start)
    assert count > 50


def test_outputs_that_share_counts_take_less():
    rng = np.random.default_rng(2)
    for largest, share, most in ((1, 0.65, 85), (3, 0.87, 150)):
        encoded, start, bits = random_sums(rng, 192, 24, largest)
        together = adder_graph(encoded, start, bits).luts
        alone = sum(adder_graph(encoded[:, [d]], start[[d]], bits).luts for d in range(4))
        assert together < share * alone * 6
        assert together < most * 24


@pytest.mark.parametrize(
    "defines", [(), pytest.param(("LUTRA_XILINX",), marks=pytest.mark.slow)], ids=["plain", "xilinx"]
)
def test_the_systemverilog_computes_the_sums(tmp_path, defines):
    rng = np.random.default_rng(3)
    largest, rows, outputs = 3, 40, 7
    encoded, start, bits = random_sums(rng, rows, outputs, largest)
    encoded[5] = 0  # a bit that nobody adds
    design = graph_design(adder_graph(encoded, start, bits), "sums")
    folder = tmp_path / "rtl"
    design.write(folder)
    files = [folder / name for name in design.sources]
    assert verilator.lint(files, "sums") == ""
    shown = Fields({f"sum_{d}": bits for d in range(outputs)})
    wires = "".join(
        f"  assign outputs_o[{shown.offsets[f'sum_{d}']} +: 32] = 32'(sums[{d * bits} +: {bits}]);\n"
        for d in range(outputs)
    )
    (folder / "bench.sv").write_text(
        f"{LUT_MODELS}\nmodule bench (input logic clk_i, input logic [63:0] inputs_i, output logic "
        f"[{32 * shown.words - 1}:0] outputs_o);\n  logic [{outputs * bits - 1}:0] sums;\n{wires}"
        f"  sums u_sums (.bits_i(inputs_i[{rows - 1}:0]), .sums_o(sums));\n"
        "  logic unused_inputs; assign unused_inputs = ^{clk_i, inputs_i};\nendmodule\n"
    )
    bench = cycles.build(
        [folder / "bench.sv", *files], "bench", Fields({"bits": 64}), shown, tmp_path / "build", defines
    )
    given = np.concatenate([rng.integers(0, 2**rows, 2000), [0, 2**rows - 1]])
    found = bench.run({"bits": given})
    expected = start + (given[:, None] >> np.arange(rows) & 1) @ encoded
    for d in range(outputs):
        assert (found[f"sum_{d}"] == expected[:, d] % (1 << bits)).all(), d


def test_a_name_that_is_no_identifier():
    encoded = np.ones((2, 1), int)
    with pytest.raises(InputError, match="module"):
        graph_design(adder_graph(encoded, np.zeros(1, int), 4), "a b")
