"""Faults in the modules that hold the transformer machine together: comparing every step finds every one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frozen_transformers import random_gpt, random_vit
from lutra.accelerators.transformer import emit
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.simulate import GivenRows, simulate_model
from transformer_machines import random_input

FAULTS = {
    "words of operands are read once too often": ("feeder", "!phased_i || inner_q[PhaseBits-1:0] == '1", "1'b1"),
    "a stalled feeder goes on": ("feeder", "running_q && (!valid_o || ready_i)", "running_q"),
    "right operands are not read again": ("feeder", "last_tile ? base_i :", "0 ? base_i :"),
    "a bank is written with its neighbour": ("banks", "write_bank_i == BankBits'(b)", "1'b1"),
    "the first column of a word again and again": ("banks", ".address_i(phase_i)", ".address_i('0)"),
    "all parts of a wide word are written": ("wide", "write_group_i == GroupBits'(g)", "1'b1"),
    "rows beyond the product are kept": ("walk", "row_q < rows_i", "1'b1"),
    "a product ends with its first full row tile": ("walk", "tile_last_o && row_q >= rows_i - 1'b1", "tile_last_o"),
    "chunks of a row do not go on": ("walk", "first_chunk_q      <= chunk_q + 1'b1", "first_chunk_q      <= '0"),
    "tiles of values lie on each other": ("walk", "tile_offset_q + Distance", "tile_offset_q"),
    "biases are those of scores": ("product", "scalar ? '0 : constant_data_i[48*l + 16 +: 32]", "'0"),
    "a context forgets its row's exponent": ("product", "result_shift + exponent_i", "result_shift"),
    "the stream is read too early": ("product", "taps[0 +: WalkBits]", "taps[WalkBits +: WalkBits]"),
    "logits are clamped to eight bits": (
        "product",
        " || target == Logits || target == Scores",
        " || target == Scores",
    ),
    "a stalled output goes on": ("product", "!logits_valid_o || logits_ready_i", "1'b1"),
    "keys lie at the first rows": (
        "core",
        "target == ToValues ? past_q : first_row",
        "target == ToValues ? '0 : first_row",
    ),
    "a gain is left out": ("core", "6'd16 - 6'(gain)", "6'd16"),
    "all keys are seen": ("core", ".causal_i(causal), .first_limit_i", ".causal_i(1'b0), .first_limit_i"),
    "sums are not counted from the past on": ("tile", "past_i + row_q + rows_o", "row_q + rows_o"),
    "all heads are the first": ("tile", "head_offset_q + head_stride", "head_offset_q"),
    "values of the first head alone": ("tile", "value_offset_q + value_stride", "value_offset_q"),
    "row tiles are the first": ("tile", "tile_q + 1'b1", "tile_q"),
    "positions begin anew": ("embed", "past_i + row_q", "row_q"),
    "chunks of a token are the first": ("embed", "token_q + token_stride_i", "token_q"),
    "a token is not waited for": ("embed", "(x_valid_i || !tokens_i)", "1'b1"),
    "words of a norm are packed from one beat": ("rows", "{y, earlier_q} >> (NormLanes*8)", "{y, earlier_q}"),
    "gains are those of the first norm": (
        "rows",
        "constants_i + AddressBits'(constant_beat)",
        "AddressBits'(constant_beat)",
    ),
    "steps are left out": ("controller", "step_o + 1'b1", "step_o + AddressBits'(2)"),
    "a reset does not stop the program": ("controller", "state_q <= Idle;\n      step_o", "step_o"),
}
BLOCK_FAULTS = {
    "results of a block stay in the first row": (
        "block_rows",
        "row_o          <= row_o + CountBits'(last_chunk)",
        "row_o          <= row_o",
    ),
    "a block's words are read without waiting": ("block_rows", "running_q && (!valid_o || ready_i)", "running_q"),
    "rows of a block come from the first bank": (
        "block_rows",
        "bank_o        <= read_row_q[RowBits-1:0]",
        "bank_o        <= '0",
    ),
    "a block's results are not added": ("product", "target == Stream ? added[16*l +: 16] :", ""),
}
PIXEL_FAULTS = {
    "pixels keep their offset": ("pixels", " ^ 8'h80", ""),
    "pixels of all rows go into one bank": ("pixels", "bank_o     = row_q[RowBits-1:0]", "bank_o     = '0"),
    "patches lie before the class token": ("core", "past_q : first_row;", "past_q : '0;"),
    "positions have tokens": ("embed", "tokens_i ? token_data_i : '0", "token_data_i"),
}


def problem(folder, fault):
    """What comparing says about a small machine: with a block, with pixels, or with neither."""
    rng = np.random.default_rng(9)
    if fault in PIXEL_FAULTS:
        program = random_vit(rng, layers=1, width=6, heads=2, image=(2, 4), patch=1)
    else:
        ffn = "weightless" if fault in BLOCK_FAULTS else "mlp"
        program = random_gpt(rng, layers=1, width=8, heads=2, context=7, vocabulary=9, ffn=ffn)
    # A block that is slower than its words come: an output a cycle.
    image = compile_model(program, replace(sized_for(program, 4, 2, 1), fold_factor=1))
    return simulate_model(image, [GivenRows(random_input(rng, image, 7), (5, 2))], folder).problem


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", next(iter(BLOCK_FAULTS)), next(iter(PIXEL_FAULTS))])
def test_nothing_is_found_without_a_fault(tmp_path, fault):
    assert problem(tmp_path, fault) is None


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*FAULTS, *BLOCK_FAULTS, *PIXEL_FAULTS])
def test_faults_are_found(tmp_path, monkeypatch, fault):
    module, right, wrong = (FAULTS | BLOCK_FAULTS | PIXEL_FAULTS)[fault]
    library, file = emit.library_files, f"lutra_transformer_{module}.sv"

    def faulty(*folders):
        files = dict(library(*folders))
        assert files[file].count(right) == 1
        return files | {file: files[file].replace(right, wrong)}

    monkeypatch.setattr(emit, "library_files", faulty)
    assert problem(tmp_path, fault)
