"""Faults in the modules of the systolic array and of ShiftGELU: simulation finds every one of them."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.accelerators.systolic import array
from lutra.accelerators.systolic import bench as systolic
from lutra.accelerators.systolic.array import ActivationConfig, SystolicConfig
from lutra.accelerators.systolic.bench import Product, simulate_products

FAULTS = {
    "an operand's bank is overwritten": ("lutra_systolic_loader", "!full_q[write_bank_q]", "1'b1"),
    "banks are not released": ("lutra_systolic_loader", "& ~freed", ""),
    "a tile does not restart": ("lutra_systolic_edge", "restart_o <= restart_i", "restart_o <= 1'b0"),
    "addresses are not handed on": ("lutra_systolic_edge", "address_o <= address_i", "address_o <= '0"),
    "a short tile ends early": ("lutra_systolic_controller", "inner < Shortest ? Shortest", "0 ? Shortest"),
    "results are drained too early": ("lutra_systolic_controller", "used_q != 2'd2 || finished", "1'b1"),
    "rows of a column change places": ("lutra_systolic_controller", "take_row_q + 1'b1", "take_row_q - 1'b1"),
    "a negative digit loses its carry": (
        "lutra_systolic_multiplier",
        "carry_o = gen_digit[0].negative",
        "carry_o = 1'b0",
    ),
    "double rows are left out": ("lutra_booth_row", "{9{two}}", "9'b0"),
    "products lose their sign": ("lutra_systolic_pe", "{(SumBits-16){product[15]}}", "{(SumBits-16){1'b0}}"),
    "sums stay between tiles": ("lutra_systolic_pe", "sum_q & {SumBits{!restart_i}}", "sum_q"),
    "the smallest element is taken": ("lutra_shift_gelu", "one > other ? one : other", "one > other ? other : one"),
    "negative elements become the largest": ("lutra_shift_gelu", "data_i[8*l+7] ? 7'b0 : ", ""),
    "a stored row is overwritten": ("lutra_shift_gelu", "!full_q[write_bank_q] || freed[write_bank_q]", "1'b1"),
    "exponents are left out": ("lutra_shift_exp", "ValueBits'(mantissa) << exponent", "ValueBits'(mantissa)"),
    "the sum lacks the largest element": (
        "lutra_shift_gelu_lane",
        "{1'b0, value_2} + {1'b0, rest_i}",
        "{1'b0, value_2}",
    ),
    "a sigmoid of another bit": ("lutra_shift_gelu_lane", "shifted_5[30:24]", "shifted_5[29:23]"),
}
PIPELINED_FAULTS = {
    "the low half stays between tiles": (
        "lutra_systolic_pe",
        "sum_q[LowBits-1:0] & {LowBits{!restart_i}}",
        "sum_q[LowBits-1:0]",
    ),
    "the high half restarts with the low one": (
        "lutra_systolic_pe",
        "sum_q[SumBits-1:LowBits] & {HighBits{!restart_q}}",
        "sum_q[SumBits-1:LowBits] & {HighBits{!restart_i}}",
    ),
    "the high half misses the carry": ("lutra_systolic_pe", " + HighBits'(carry_q)", ""),
    "the high half misses the sign": ("lutra_systolic_pe", "negative_q <= product[15]", "negative_q <= 1'b0"),
    "the pair below misses its carry": ("lutra_systolic_pair_multiplier", " + 12'({high_negative, 2'b0})", ""),
    "the pair above misses its carry": ("lutra_systolic_pair_multiplier", "gen_pair[1].negative_q, 4'b0", "5'b0"),
    "a row of both halves": ("lutra_systolic_selector", "row_q     <= row_i", "row_q     <= row_i + 1'b1"),
    "sums are stored too early": ("lutra_systolic_result", "Pipelined ? place_o", "Pipelined ? place_i"),
    "sums restart with the operands": ("lutra_systolic_controller", "if (Pipelined)", "if (0)"),
    "sums are taken out too early": ("lutra_systolic_controller", "drain_sums <= drain;", "drain_sums <= last;"),
    "results wait for a bank": ("lutra_systolic_controller", "Pipelined ? Size + 1", "Pipelined ? Size"),
}


def results(tmp_path, pipelined):
    """Products of a small array with ShiftGELU; pipelined, its output keeps up with tiles of `size` terms."""
    config = SystolicConfig(4, 16, 4 if pipelined else 2, shift=12, pipelined=pipelined)
    bench = systolic.build(config, tmp_path, ActivationConfig(15, 23, 700, 16, 5))
    rng = np.random.default_rng(6)
    shapes = [(9, 16, 17, True), (5, 2, 20, False), (12, 7, 12, True), (3, 1, 4, False), (40, 2, 17, True)]
    products = [
        Product(rng.integers(-128, 128, (m, k)), rng.integers(-128, 128, (k, p)), 40, activated)
        for m, k, p, activated in shapes
    ]
    return simulate_products(bench, products)


@pytest.mark.slow
@pytest.mark.parametrize("pipelined", [False, True])
def test_nothing_is_found_without_a_fault(tmp_path, pipelined):
    assert [result.problem for result in results(tmp_path, pipelined)] == [None] * 5


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*FAULTS, *PIPELINED_FAULTS])
def test_faults_in_arrays_are_found(tmp_path, monkeypatch, fault):
    module, right, wrong = (FAULTS | PIPELINED_FAULTS)[fault]
    files = dict(array.library_files(array.RTL))
    assert files[f"{module}.sv"].count(right) == 1
    files[f"{module}.sv"] = files[f"{module}.sv"].replace(right, wrong)
    monkeypatch.setattr(array, "library_files", lambda *_: files)
    assert any(result.problem for result in results(tmp_path, fault in PIPELINED_FAULTS))
