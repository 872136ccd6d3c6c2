"""The layer norm of the transformer's vector units: every bit and every cycle of rows of all kinds, and faults."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hardware_variants
from hardware_variants import Variant
from lutra.accelerators.transformer.units import NORM_INTERVAL_CYCLES, norm_cycles
from lutra.frozen.ops import LayerNorm
from lutra.frozen.types import TensorType
from lutra.hardware.bench import jobs, streams
from lutra.hardware.bench.jobs import Interface, Job, ReadPort, Stream, WritePort
from transformer_units import PREFIX, SOURCES

pytestmark = pytest.mark.usefixtures("unoptimised")

NORM = f"{PREFIX}norm"
SUMS, VARIANCE, LANE = (f"{NORM}_{part}" for part in ("sums", "variance", "lane"))
ROOT = f"{PREFIX}root"
BENCH = """
// The unit with what a job needs: when it is over, and in which cycle each beat of results came.
module norm_bench #(
  parameter int unsigned Lanes = 1,
  parameter int unsigned Beats = 16,
  parameter int unsigned BeatBits = 4
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                start_i,
  input  logic [15:0]         expected_i,
  input  logic [BeatBits:0]   beats_i,
  input  logic [10:0]         width_i,
  input  logic [31:0]         epsilon_low_i,
  input  logic [31:0]         epsilon_high_i,
  input  logic [4:0]          shift_i,
  input  logic                x_valid_i,
  output logic                x_ready_o,
  input  logic [Lanes*16-1:0] x_data_i,
  output logic                constant_read_o,
  output logic [BeatBits-1:0] constant_beat_o,
  input  logic [Lanes*48-1:0] constant_data_i,
  output logic                y_valid_o,
  output logic [Lanes*8-1:0]  y_data_o,
  output logic [31:0]         cycle_o,
  output logic                done_o
);
  logic [31:0] cycle_q;
  logic [15:0] left_q;
  assign cycle_o = cycle_q;
  assign done_o  = y_valid_o && left_q == 16'd1;
  always_ff @(posedge clk_i) begin
    cycle_q <= start_i ? 32'd1 : cycle_q + 32'd1;
    left_q  <= start_i ? expected_i : left_q - 16'(y_valid_o);
  end
  lutra_transformer_norm #(.Lanes(Lanes), .Beats(Beats), .BeatBits(BeatBits)) u_norm (
    .clk_i, .rst_ni, .beats_i, .width_i, .epsilon_i({epsilon_high_i[17:0], epsilon_low_i}), .shift_i, .x_valid_i,
    .x_ready_o, .x_data_i, .constant_read_o, .constant_beat_o, .constant_data_i, .y_valid_o, .y_data_o);
endmodule
"""


def parameters(lanes, beats):
    return {"Lanes": lanes, "Beats": beats, "BeatBits": max(1, (beats - 1).bit_length())}


FORMS = [parameters(2, 24), parameters(1, 40), parameters(16, 64), parameters(4, 1)]
FAULTS = {
    "the sum of the row before": (SUMS, "first_q[Tree] ? '0 : total_o", "total_o"),
    "the squares of the row before": (SUMS, "first_q[Tree] ? '0 : squares_o", "squares_o"),
    "half of the squares": (SUMS, "32'(x * x)", "32'(x * x) >> 1"),
    "unsigned elements": (SUMS, "logic signed [15:0] x;", "logic [15:0] x;"),
    "a total of 25 bits": (VARIANCE, "total_i[25] ? -total_i : total_i",
                           "26'(total_i[24] ? -total_i[24:0] : total_i[24:0])"),
    "the total's sign": (VARIANCE, "total_i[25] ? -total_i : total_i", "total_i"),
    "the total not squared": (VARIANCE, "magnitude_q & {26{magnitude[place_q]}}", "'0"),
    "epsilon's low half": (VARIANCE, "epsilon[place_q]}", "1'b0}"),
    "epsilon's high half": (VARIANCE, "{29'd0, epsilon_i[49:26]}", "'0"),
    "a width of 10 bits": (VARIANCE, "{21'd0, width_i}", "{22'd0, width_i[9:0]}"),
    "the total of the row after": (NORM, "total_1_q    <= factor_total_q", "total_1_q    <= root_total_q"),
    "the factor of the row after": (NORM, ".factor_i(factor_2_q)", ".factor_i(factor_1_q)"),
    "the exponent of the row after": (NORM, ".exponent_i(exponent_3_q)", ".exponent_i(exponent_2_q)"),
    "constants of another beat": (NORM, "constant_beat_o = beat_q[ConstantRead]",
                                  "constant_beat_o = beat_q[ConstantRead-1]"),
    "rows too close": (NORM, "write_beat_q != last_beat || gap_q == '0", "1'b1"),
    "a ring too small": (NORM, "$clog2(2 * Beats + 80)", "$clog2(2 * Beats)"),
    "rows longer than the reciprocal": (NORM, "reading_q    <= read_beat != last_beat", "reading_q    <= 1'b0"),
    "the mean left out": (LANE, "widened[26:0] - {total_i[25], total_i}", "widened[26:0]"),
    "normalised values of 16 bits": (LANE, "normal_q     <= moved[16:0]", "normal_q     <= {moved[15], moved[15:0]}"),
    "rounded to nearest": (LANE, "product_q >>> distance", "(product_q + (44'sd1 <<< (distance - 7'd1))) >>> distance"),
    "a bit too few": (LANE, "7'd6", "7'd5"),
    "no bias": (LANE, " + {{2{bias_i[31]}}, bias_i}", ""),
    "a gain without its sign": (LANE, ".y_i(gain_i)", ".y_i({1'b0, gain_i[14:0]})"),
    "roots too small": (ROOT, "LastStep = 5'd25", "LastStep = 5'd24"),
}  # fmt: skip
FAULTY_FORMS = [parameters(2, 30), parameters(4, 256)]
"""For faults; the second holds rows that are as long as rows can be, for those in the number of bits."""
FAULTY = [*((None, form) for form in FAULTY_FORMS), *((name, FAULTY_FORMS["bits" in name]) for name in FAULTS)]
"""Fault or none, and form."""


def interface(lanes):
    """Ports of the unit with so many lanes."""
    return Interface(
        settings=("variant_i", "expected_i", "beats_i", "width_i", "epsilon_low_i", "epsilon_high_i", "shift_i"),
        start="start_i",
        done="done_o",
        sources=(Stream("x_valid_i", "x_ready_o", "x_data_i", 16 * lanes),),
        reads=(ReadPort("constant_read_o", "constant_beat_o", "constant_data_i", 48 * lanes),),
        writes=(WritePort("y_valid_o", 1, "cycle_o", "y_data_o", 8 * lanes),),
    )


def build(variants, folder):
    files = hardware_variants.write(
        variants, "norm_bench", {**SOURCES, "norm_bench": BENCH}, folder / "rtl", gate_clocks=True
    )
    widest = max(variant.parameters["Lanes"] for variant in variants)
    return jobs.build(files, "norm_bench_variants", interface(widest), folder / "build", defines=())


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return build([*map(Variant, FORMS)], tmp_path_factory.mktemp("norm"))


class Rows:
    """Rows (n, D) of one norm, and the norm."""

    def __init__(self, rng, form, x, epsilon=None):
        self.form, self.x, width = form, x, x.shape[1]
        gain = rng.integers(-(2**15), 2**15, width)
        bias = rng.integers(-(2**31), 2**31, width) >> int(rng.integers(0, 16))
        gain[0], bias[:1] = -(2**15), rng.choice([-(2**31), 2**31 - 1, 0])
        epsilon = int(rng.integers(0, 2 ** int(rng.integers(0, 51)))) if epsilon is None else epsilon
        shift = int(rng.integers(1, 31)) if rng.integers(2) else int(rng.integers(14, 24))
        self.norm = LayerNorm(("x",), "y", gain, bias, epsilon, shift, TensorType(True, 8))

    @property
    def beats(self):
        return -(-self.x.shape[1] // self.form["Lanes"])

    def lanes(self, values):
        """(n, D) -> (n * beats, lanes), 0 beyond the row."""
        missing = self.beats * self.form["Lanes"] - values.shape[1]
        return np.pad(values, ((0, 0), (0, missing))).reshape(-1, self.form["Lanes"])

    def job(self, variant, ports):
        norm = self.norm
        constants = self.lanes(((norm.bias & 2**32 - 1) << 16 | norm.gain & 2**16 - 1)[None])
        settings = {
            "variant_i": variant, "expected_i": len(self.x) * self.beats, "beats_i": self.beats,
            "width_i": self.x.shape[1], "epsilon_low_i": norm.epsilon & 2**32 - 1, "epsilon_high_i": norm.epsilon >> 32,
            "shift_i": norm.shift,
        }  # fmt: skip
        beats = _widened(streams.pack(self.lanes(self.x), 16), ports.sources[0].bits)
        return Job(settings, sources=(beats,), memories=(_widened(streams.pack(constants, 48), ports.reads[0].bits),))

    def problems(self, runs):
        """What is wrong in the passes without and with stalls."""
        found = [problem for run in runs for problem in run.problems]
        lanes, beats = self.form["Lanes"], self.beats
        expected = self.lanes(self.norm.meaning(self.x))
        for run in runs if not found else ():
            y = streams.unpack(run.writes[0].data, lanes, 8, signed=True)
            if y.shape != expected.shape or (y != expected).any():
                found.append("other results")
        if not found:
            cycles = norm_cycles(len(self.x), beats, lanes)
            first, last = runs[0].taken[0][0], runs[0].writes[0].addresses[-1]
            if last - first + 1 != cycles:
                found.append(f"{last - first + 1} cycles, {cycles} predicted")
            ends = runs[0].taken[0][beats - 1 :: beats]
            if (np.diff(ends) != max(beats, NORM_INTERVAL_CYCLES)).any():
                found.append("rows do not follow each other as predicted")
        return found


def _widened(words, bits):
    return np.pad(words, ((0, 0), (0, streams.words_of_bits(bits) - words.shape[1])))


def random_rows(rng, width, count=6):
    deviation = rng.choice([0, 1, 3, 30, 3000, 20000])
    centre = int(rng.integers(-(2**15), 2**15))
    return np.clip(np.rint(rng.normal(centre, deviation, (count, width))).astype(np.int64), -(2**15), 2**15 - 1)


def extreme_rows(width):
    """All at one end, half at each, one element beside equal ones, no variance."""
    low, high = -(2**15), 2**15 - 1
    rows = np.zeros((9, width), np.int64)
    rows[0], rows[1] = low, high
    rows[2, ::2], rows[2, 1::2] = low, high
    rows[3, 0], rows[4, -1], rows[5, 0], rows[6] = 1, -1, low, 17
    rows[7], rows[8] = low, high
    rows[7, width // 2], rows[8, 0] = high, low
    return rows


def widths(rng, form, count):
    most = min(form["Lanes"] * form["Beats"], 1024)
    return [most, most - 1, 2, 3, *(int(each) for each in rng.integers(2, most + 1, count))]


def found_in(bench, variant, every):
    runs = bench.run([rows.job(variant, bench.interface) for rows in every], patience_cycles=400)
    return [problem for rows, *passes in zip(every, *runs, strict=True) for problem in rows.problems(passes)]


@pytest.mark.parametrize("variant", range(len(FORMS)), ids=[f"{f['Lanes']} lanes, {f['Beats']} beats" for f in FORMS])
def test_rows_of_all_kinds(bench, variant):
    rng, form = np.random.default_rng(variant), FORMS[variant]
    every = [Rows(rng, form, random_rows(rng, width)) for width in widths(rng, form, 12)]
    every += [
        Rows(rng, form, extreme_rows(width), epsilon) for width in widths(rng, form, 2) for epsilon in (0, 2**50 - 1)
    ]
    assert found_in(bench, variant, every) == []


@pytest.mark.slow
def test_faults_are_found(tmp_path):
    faulty = build([Variant(form, FAULTS.get(fault)) for fault, form in FAULTY], tmp_path)
    missed = []
    for variant, (fault, form) in enumerate(FAULTY):
        rng = np.random.default_rng(5)
        every = [Rows(rng, form, random_rows(rng, width, 8)) for width in widths(rng, form, 8)]
        extremes = itertools.product(widths(rng, form, 1), (0, 2**49 + 1))
        every += [Rows(rng, form, extreme_rows(width), epsilon) for width, epsilon in extremes]
        missed += [fault] if found_in(faulty, variant, every) == [] else []
    assert missed == [None, None]
