"""Requantising, tables and the residual stream of the transformer's vector units: every bit, every cycle, faults."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import cycle_variants
from cycle_variants import unpack
from hardware_variants import Variant
from lutra.accelerators.transformer.units import REQUANTISE_STAGES, RESIDUAL_STAGES, TABLE_STAGES
from lutra.frozen.ops import Requantise, Residual, Table
from lutra.frozen.types import TensorType
from transformer_units import PREFIX, SOURCES

pytestmark = pytest.mark.usefixtures("unoptimised")

INT8, INT16 = TensorType(True, 8), TensorType(True, 16)
REQUANTISE, TABLE, RESIDUAL = (f"{PREFIX}{name}" for name in ("requantise", "table", "residual"))
LANE = f"{REQUANTISE}_lane"
TABLES = (1, 3)
FAULTS = {
    REQUANTISE: {
        "shifts of the beat after": (REQUANTISE, ".shift_i(shift_2_q)", ".shift_i(shift_1_q)"),
        "widths of the beat after": (REQUANTISE, ".wide_i(wide_2_q)", ".wide_i(wide_1_q)"),
        "the first lane's bias": (REQUANTISE, "bias_i[32*l +: 32]", "bias_i[31:0]"),
        "no bias": (LANE, "<= sum_i + bias_i", "<= sum_i"),
        "a signed multiplier": (LANE, "{1'b0, multiplier_q}", "{multiplier_q[16], multiplier_q}"),
        "never clamped to int8": (LANE, "!wide_i && wide[15:7]", "0 && wide[15:7]"),
        "int8 clamped one too early": (LANE, "{7{!wide[15]}}}", "{6{!wide[15]}}, wide[15]}"),
        "rows without their carry": ("lutra_multiply", "row[XBits], row, negative}", "row[XBits], row, 1'b0}"),
        "double rows left out": ("lutra_multiply", "{XBits+1{two}}", "'0"),
        "rows below without their sign": ("lutra_multiply", "{2{gen_row[r-1].sum[XBits+1]}}", "2'b0"),
        "rounded down": ("lutra_round_shift", " + OutBits'(moved[0])", ""),
        "rounding beyond the range": ("lutra_round_shift", "outside || (floor == High && moved[0])", "outside"),
        "clamped at half the range": ("lutra_round_shift", "moved[Bits:OutBits] != {Bits-OutBits+1{moved[Bits]}}",
                                      "moved[Bits:OutBits-1] != {Bits-OutBits+2{moved[Bits]}}"),
        "not clamped": ("lutra_round_shift", "outside || (floor", "(floor"),
        "an unsigned shift": ("lutra_round_shift", "doubled >>> shift_i", "doubled >> shift_i"),
        "never held": (LANE, "if (enable_i) begin", "begin"),
    },
    TABLE: {
        "signed addresses": (TABLE, "!x_i[8*l+7]", "x_i[8*l+7]"),
        "one table for all": (TABLE, "address = {table_i,", "address = {TableBits'(0),"),
        "the first lane": (TABLE, "x_i[8*l +: 7]", "x_i[6:0]"),
        "never held": (TABLE, ".read_i(enable_i), .clear_i", ".read_i(1'b1), .clear_i"),
    },
    RESIDUAL: {
        "not clamped": ("lutra_saturating_add", "sum[Bits] == sum[Bits-1]", "1"),
        "clamped to the other end": ("lutra_saturating_add", "{sum[Bits], {Bits-1{!sum[Bits]}}}",
                                     "{!sum[Bits], {Bits-1{sum[Bits]}}}"),
        "unsigned": ("lutra_saturating_add", "{x_i[Bits-1], x_i}", "{1'b0, x_i}"),
        "never held": (RESIDUAL, "if (enable_i) begin", "begin"),
    },
}  # fmt: skip
RIGHT = {
    REQUANTISE: [Variant({"Lanes": 2})],
    TABLE: [Variant({"Lanes": 2, "Tables": tables, "TableBits": 2}) for tables in TABLES],
    RESIDUAL: [Variant({"Lanes": 2})],
}


def variants(module):
    right = RIGHT[module]
    return right + [Variant(right[-1].parameters, fault) for fault in FAULTS[module].values()]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return cycle_variants.build(
        {module: variants(module) for module in RIGHT}, SOURCES, tmp_path_factory.mktemp("lanes")
    )


def lanes(values, bits):
    """(n, lanes) -> words (n,), the first lane in the lowest bits."""
    words = values & (1 << bits) - 1
    return (words << bits * np.arange(values.shape[1])).sum(axis=1)


def unlanes(words, count, bits):
    """Inverse of `lanes`, of signed values."""
    return unpack(words, count, bits, signed=True)


def holds(rng, count):
    """When a pipeline goes on: in about half of the cycles, and in all cycles of the second half."""
    return np.where(np.arange(2 * count) < count, rng.integers(0, 2, 2 * count), 1)


def spread(values, enable):
    """Inputs (n, ...) in those cycles in which a pipeline goes on, and others in the rest."""
    places = np.minimum(np.cumsum(enable) - enable, len(values) - 1)
    garbage = np.random.default_rng(9).permutation(values.reshape(-1)).reshape(values.shape)
    chosen = enable.reshape(-1, *[1] * (values.ndim - 1)) == 1
    return np.where(chosen, values[places], garbage[places])


def gone_on(outputs, enable, stages, count):
    """Results of the first `count` inputs: what is seen after as many enabled cycles as there are stages."""
    cycles = np.flatnonzero(enable)[stages : stages + count]
    return outputs[cycles]


def requantised(sums, bias, multiplier, shift, type_):
    """The golden operation, each element with numbers of its own."""
    op = Requantise(("x",), "y", multiplier, shift, type_)
    return op.meaning((sums + bias)[None])[0]


def wrong_requantised(bench, rng, count, variant=0):
    enable = holds(rng, count)
    total = rng.integers(-(2**31), 2**31, (count, 2)) >> rng.integers(0, 32, (count, 2))
    bias = np.clip(rng.integers(-(2**31), 2**31, (count, 2)) >> rng.integers(0, 32, (count, 2)),
                   total - 2**31 + 1, total + 2**31)  # fmt: skip
    sums = total - bias
    multiplier = rng.choice([0, 1, 2**15, 2**16 - 1, 2**16, 2**17 - 1, *rng.integers(0, 2**17, 9)], (count, 2))
    shift, wide = rng.integers(0, 64, count), rng.integers(0, 2, count)
    sums[:2], bias[:2], multiplier[:2], shift[:2], wide[:2] = (-(2**31), 2**31 - 1), 0, 2**17 - 1, (47, 0), 1
    # Half a unit within both ends of the output, and beyond.
    sums[2], sums[3], bias[2:4], multiplier[2:4], shift[2:4], wide[2:4] = (65534, 65535), (-65537, -65538), 0, 1, 1, 1
    given = {
        "sums_i": lanes(sums, 32),
        "bias_i": lanes(bias, 32),
        "multiplier_i": lanes(multiplier, 17),
        "shift_i": shift,
        "wide_i": wide,
    }
    outputs = bench.run(
        REQUANTISE, 0, variant_i=variant, enable_i=enable, **{port: spread(v, enable) for port, v in given.items()}
    )
    found = unlanes(gone_on(outputs["y_o"], enable, REQUANTISE_STAGES, count), 2, 16)
    every = shift[:, None] + np.zeros(2, int)
    expected = np.where(
        wide[:, None],
        *(requantised(sums.ravel(), bias.ravel(), multiplier.ravel(), every.ravel(), type_).reshape(sums.shape)
          for type_ in (INT16, INT8)),
    )  # fmt: skip
    return np.count_nonzero(found != expected)


def test_sums_are_requantised_whatever_their_size(bench):
    assert wrong_requantised(bench, np.random.default_rng(1), 6000) == 0


def wrong_of_all_sums(bench, multiplier, shift):
    sums = np.arange(-(2**15), 2**15)
    pairs = lanes(sums.reshape(-1, 2), 32)
    outputs = bench.run(
        REQUANTISE, REQUANTISE_STAGES, enable_i=1, sums_i=np.tile(pairs, 2), multiplier_i=multiplier * (1 + 2**17),
        shift_i=shift, wide_i=np.repeat([0, 1], len(pairs)),
    )  # fmt: skip
    found = unlanes(outputs["y_o"], 2, 16).reshape(2, -1)
    column = np.ones(len(sums), int)
    return sum(
        np.count_nonzero(found[wide] != requantised(sums, 0, multiplier * column, shift * column, type_))
        for wide, type_ in enumerate((INT8, INT16))
    )


@pytest.mark.parametrize("multiplier", [1, 2**15, 2**16 - 1])
def test_all_sums_of_16_bits(bench, multiplier):
    assert [wrong_of_all_sums(bench, multiplier, shift) for shift in (1, 7, 15, 16, 40)] == [0] * 5


@pytest.mark.slow
def test_all_sums_of_16_bits_with_all_shifts(bench):
    for multiplier, shift in itertools.product((1, 2**15, 2**16 - 1, 2**16), range(48)):
        assert wrong_of_all_sums(bench, multiplier, shift) == 0, (multiplier, shift)


def wrong_looked_up(bench, rng, variant, tables):
    values = rng.integers(-128, 128, (tables, 256))
    entries = np.arange(256 * tables)
    writes = {"write_i": np.ones(len(entries), int), "write_address_i": entries, "write_data_i": values.ravel() & 255}
    count = 600 * tables
    x, which = rng.integers(-128, 128, (count, 2)), np.repeat(np.arange(tables), 600)
    x[np.arange(tables * 256) // 256 * 600 + np.arange(tables * 256) % 256, 0] = np.tile(np.arange(-128, 128), tables)
    enable = holds(rng, count)
    looked_up = {"x_i": spread(lanes(x, 8), enable), "table_i": spread(which, enable), "enable_i": enable}
    before, after = len(entries), len(enable)
    outputs = bench.run(
        TABLE, 0, variant_i=variant,
        **{port: np.pad(v, (0, after)) for port, v in writes.items()},
        **{port: np.pad(v, (before, 0)) for port, v in looked_up.items()},
    )  # fmt: skip
    found = unlanes(gone_on(outputs["y_o"][before:], enable, TABLE_STAGES, count), 2, 8)
    ops = [Table(("x",), "y", table, INT8) for table in values]
    expected = np.concatenate([op.meaning(x[which == index]) for index, op in enumerate(ops)])
    return np.count_nonzero(found != expected)


@pytest.mark.parametrize("tables", TABLES)
def test_every_entry_of_every_table(bench, tables):
    assert wrong_looked_up(bench, np.random.default_rng(tables), TABLES.index(tables), tables) == 0


def wrong_added(bench, rng, variant=0):
    ends = [-(2**15), -(2**15) + 1, -1, 0, 1, 2**15 - 2, 2**15 - 1]
    corners = np.array(list(itertools.product(ends, ends)))
    x, branch = np.concatenate(
        [rng.integers(-(2**15), 2**15, (2, 2000, 2)), corners.T[:, :48].reshape(2, -1, 2)], axis=1
    )
    count = len(x)
    enable = holds(rng, count)
    outputs = bench.run(
        RESIDUAL, 0, variant_i=variant, enable_i=enable, x_i=spread(lanes(x, 16), enable),
        branch_i=spread(lanes(branch, 16), enable),
    )  # fmt: skip
    found = unlanes(gone_on(outputs["y_o"], enable, RESIDUAL_STAGES, count), 2, 16)
    return np.count_nonzero(found != Residual(("x", "b"), "y", INT16).meaning(x, branch))


def test_the_residual_stream_is_clamped(bench):
    assert wrong_added(bench, np.random.default_rng(5)) == 0


@pytest.mark.parametrize("module", FAULTS)
def test_faults_are_found(bench, module):
    missed = []
    for index, fault in enumerate(FAULTS[module]):
        rng, variant = np.random.default_rng(6), len(RIGHT[module]) + index
        if module == REQUANTISE:
            wrong = wrong_requantised(bench, rng, 1500, variant)
        elif module == TABLE:
            wrong = wrong_looked_up(bench, rng, variant, TABLES[-1])
        else:
            wrong = wrong_added(bench, rng, variant)
        missed += [] if wrong else [fault]
    assert missed == []
