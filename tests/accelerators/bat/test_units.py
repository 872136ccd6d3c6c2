"""BAT's vector unit, quantisation unit, softmax and layer norm: every bit and every cycle, and faults in each."""

from __future__ import annotations

import numpy as np
import pytest

import bat_units
from bat_units import LANES, Rows, problems
from frozen_berts import small_config
from lutra.accelerators.bat import tables
from lutra.frozen.bert_golden import codes_of
from lutra.synth.tools.find import fpga_yosys, run_tool

pytestmark = pytest.mark.usefixtures("unoptimised")

FAULTS = {
    "vector": {
        "the second copy begins anew": ("lutra_bat_vector", "!first_q[Adder] ? row", "0 ? row"),
        "biases of another beat": ("lutra_bat_vector", "bias_address_o = number_q[Adder]", "bias_address_o = beat_q"),
        "factors of the first copy": ("lutra_bat_vector", "take && !residual) begin", "take && first && !last) begin"),
        "passes too short for the memory": ("lutra_bat_vector", "BeatBits'(3)", "BeatBits'(2)"),
        "the row between passes not kept": (
            "lutra_bat_vector",
            "advance && valid_q[Latency] && !last_q",
            "0 && !last_q",
        ),
        "results lost when not taken": ("lutra_bat_vector", "!last_q[Latency] || ready_i", "1'b1"),
        "the residual multiplied": ("lutra_bat_vector_lane", "use_residual_i ? One : factor_i", "factor_i"),
        "the exponent of sums": ("lutra_bat_vector_lane", ".a_i(sum_i), .exponent_i,", ".a_i(sum_i), .exponent_i('0),"),
        "no ReLU": ("lutra_bat_relu", "enable_i && x_i[15]", "0"),
    },
    "quantise_4": {
        "a threshold too high": ("lutra_bat_quantise_lane", "key >= thresholds", "key > thresholds"),
        "keys of negative numbers": ("lutra_bat_quantise_lane", "number[15] ? ~number", "0 ? ~number"),
        "unsigned codes": ("lutra_bat_quantise_lane", "signed_i ? Smallest", "0 ? Smallest"),
        "the first segment's quantiser": ("lutra_bat_quantise", "segments_q[Table] == 2'd1 ?", "0 ?"),
        "biases of another beat": ("lutra_bat_quantise", "head_beat_q + beat_q", "head_beat_q + beat_q + 1'b1"),
        "codes lost when not taken": ("lutra_bat_quantise", ".reserve_i(take)", ".reserve_i(1'b0)"),
    },
    "quantise_8": {
        "no clipping": ("lutra_bat_scale_lane", "|| magnitude > limit", ""),
        "huge numbers": ("lutra_bat_scale_lane", "u[14:10] >= 5'd24 || magnitude", "magnitude"),
        "half down": ("lutra_bat_scale_lane", "!u[15] || |moved[11:0]", "|moved[11:0]"),
        "truncated": ("lutra_bat_scale_lane", "{10'd0, !u[15] || |moved[11:0]}", "11'd0"),
    },
    "softmax": {
        "the smallest element": (
            "lutra_bat_softmax_max",
            "first_q || largest_q > max_q",
            "first_q || largest_q < max_q",
        ),
        "the maximum of the row before": ("lutra_bat_softmax_max", "first_q || largest_q > max_q", "largest_q > max_q"),
        "padding in the maximum": ("lutra_bat_softmax_max", "counted_i[l] && key_of", "key_of"),
        "padding in the sum": ("lutra_bat_softmax_exp", "counted_q[Fixed][l] ?", "1 ?"),
        "the sum of the row before": ("lutra_bat_softmax_exp", "first_q[Total] ? '0 : sum_q", "sum_q"),
        "reciprocals of powers of two": ("lutra_bat_softmax_exp", "sum[9:0] == '0 ? 5'd30", "0 ? 5'd30"),
        "exponentials near 0": ("lutra_bat_exp_table", "magnitude < First", "0"),
        "tiny exponentials": ("lutra_bat_exp_table", "magnitude <= LastTwo ? 2'd2", "0 ? 2'd2"),
        "a row released too early": ("lutra_bat_softmax", ".read_i(exp_take && exp_last)", ".read_i(exp_take)"),
        "results lost when not taken": ("lutra_bat_softmax", "!valid_q[2] || ready_i", "1'b1"),
    },
    "norm": {
        "padding in the mean": ("lutra_bat_norm", "sum_last && !last_lanes[l] ? '0 :", ""),
        "padding in the variance": ("lutra_bat_norm_squares", "counted_q[Square][l] ?", "1 ?"),
        "the sum of the row before": ("lutra_bat_norm_sum", "first_q[Total] ? '0 : sum_q", "sum_q"),
        "epsilon left out": ("lutra_bat_norm_squares", "{17'd0, epsilon_i}", "49'd0"),
        "squares not rounded": ("lutra_bat_square_lane", " + {47'd0, moved[0]}", ""),
        "roots of odd exponents": (
            "lutra_bat_norm_squares",
            "words[{exponent[0], significand}]",
            "words[{1'b0, significand}]",
        ),
        "roots of powers of two": ("lutra_bat_norm_squares", "exponent[0] || significand != '0}", "1'b1}"),
        "no variance": ("lutra_bat_norm_squares", "else if (empty) begin", "else if (0) begin"),
        "gains of another beat": (
            "lutra_bat_norm",
            "gain_address_o = number_q[Gain]",
            "gain_address_o = number_q[Bias]",
        ),
        "biases of another beat": (
            "lutra_bat_norm",
            "bias_address_o = number_q[Bias]",
            "bias_address_o = number_q[Gain]",
        ),
        "results lost when not taken": ("lutra_bat_norm", "!valid_q[Latency] || ready_i", "1'b1"),
    },
}


@pytest.fixture(autouse=True)
def quiet():
    """Steps are drawn so that quantisers also clip infinities."""
    with np.errstate(over="ignore"):
        yield


def rows_of(count, seed=0):
    """Rows of all widths; every fifth one of scores, as they come without a bias and with one factor; and extremes."""
    sizes = np.random.default_rng(seed).integers(2, LANES * bat_units.BEATS + 1, count)
    sizes[:4] = 1, LANES, LANES + 1, LANES * bat_units.BEATS
    rows = [Rows(seed + i, int(size), 7, bool(i % 2), scores=i % 5 == 4) for i, size in enumerate(sizes)]
    return [*rows, extremes()]


def extremes():
    """The largest numbers, of which rounding makes a place more, and exponentials of one and two units."""
    rows = Rows(1000, LANES, 3, signed=True)
    rows.biases[:] = 0
    for name in rows.numbers:
        rows.numbers[name][:] = np.float16(65504)
        rows.steps[name][:] = np.float16(1)
    rows.softmax_in[:] = -16.0 - np.arange(LANES) / 8
    rows.softmax_in[:, 0] = 0
    return rows


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return bat_units.build(tmp_path_factory.mktemp("units"))


def test_every_value_and_every_cycle(bench):
    assert problems(bench, rows_of(40)) == []


def overflowing(unit):
    """Rows of which one number of `unit` leaves the range, in the last place that counts."""
    rows = Rows(1, LANES + 2, 3, signed=True)
    last = -1, -1
    if unit == "vector":
        rows.sums[1, 0, -1], rows.exponent, rows.factors[0, -1] = 2**17, 0, np.float16(2)
    elif unit == "norm":
        rows.norm_in[last], rows.norm_in[-1, 0] = np.float16(60000), np.float16(-60000)
    else:
        rows.numbers[unit][:, :, -1], rows.biases[-1], rows.use_bias = np.float16(65504), np.float16(65504), True
    return rows


@pytest.mark.parametrize("unit", bat_units.ERRORS)
def test_numbers_that_leave_the_range_set_the_error_bit_until_the_reset(bench, unit):
    for results in bench.run([overflowing(unit).case(reset=True), rows_of(5)[1].case()]):
        for result in results:
            assert result.flags >> bat_units.ERRORS.index(unit) & 1
    for results in bench.run([rows_of(5)[1].case(reset=True)]):
        assert results[0].flags == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "fault"),
    [(unit, fault) for unit, faults in FAULTS.items() for fault in faults],
    ids=lambda each: str(each),
)
def test_faults_are_found(tmp_path, unit, fault):
    faulty = bat_units.build(tmp_path, (unit,), FAULTS[unit][fault])
    assert problems(faulty, rows_of(40)) != []


def test_thresholds_give_the_codes_of_every_number():
    rng = np.random.default_rng(4)
    keys = np.arange(0x0400, 0xFC00, dtype=np.uint16)
    numbers = tables.numbers_of(keys)
    assert (tables.keys_of(numbers) == keys).all()
    for bits in (1, 2, 4):
        config = small_config(quantisation={"method": "bmt", "activation_bits": bits})
        for signed in (False, True):
            for step in (2.0 ** rng.uniform(-24, 15.9, 10)).astype(np.float16):
                counts = np.searchsorted(tables.thresholds(config, step, signed), keys, side="right")
                codes = codes_of(config, numbers, step, signed)
                lowest = -1 if signed and bits == 1 else -(2 ** (bits - 1)) * signed
                expected = (codes > 0) if bits == 1 else codes - lowest
                np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("unit", ["vector", "quantise", "softmax", "norm"])
def test_yosys_reads_the_units(tmp_path, unit):
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    files = [*sorted(bat_units.LIBRARY.glob("*.sv")), *sorted(bat_units.BAT.glob("*.sv"))]
    for path in files:
        (tmp_path / path.name).write_text(path.read_text())
    for name, text in tables.rom_files().items():
        (tmp_path / name).write_text(text)
    names = " ".join(path.name for path in files)
    script = f"read_verilog -sv -defer {names}; hierarchy -check -top lutra_bat_{unit}; proc; check -assert"
    run_tool(yosys, ["-q", "-p", script], tmp_path, tmp_path / "log")
