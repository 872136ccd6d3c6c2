"""The machine whose attention overlaps: its closed form, its values and cycles, and faults of what makes it overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frozen_transformers import random_gpt, random_vit
from lutra.accelerators.systolic.array import product_cycles
from lutra.accelerators.transformer import emit, latency, units
from lutra.accelerators.transformer.bench import harness
from lutra.accelerators.transformer.bench.harness import Drive
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.machine import calls_of
from lutra.accelerators.transformer.overlap import Array, Product
from lutra.accelerators.transformer.program import Op, Target
from lutra.accelerators.transformer.simulate import GivenRows, compare_call, driven_calls, simulate_model
from transformer_machines import random_input

pytestmark = pytest.mark.usefixtures("unoptimised")

FAULTS = {
    "one tile of exponentials": ("core", "e_bank ? ExponentialBits'(Chunks) : '0", "'0"),
    "contexts read the other tile": ("attention", "bank_q ? Chunks : '0", "bank_q ? '0 : Chunks"),
    "a context does not wait for its softmax": ("attention", "contexts_left_q && given_q != '0;", "contexts_left_q;"),
    "a softmax does not wait for the one before": ("attention", "waiting_q && !exponentials_q", "waiting_q"),
    "three tiles of scores": ("attention", "ahead_q <= 2'(Overlap)", "ahead_q <= 2'd2"),
    "no scores ahead": ("attention", "ahead_q <= 2'(Overlap)", "ahead_q == '0"),
    "an attention ends with the context before its last": ("attention", "&& running_q == 2'd1", ""),
    "scores go to the tile that is read": ("softmax", "store_row  = {store_bank,", "store_row  = {pass_bank,"),
    "the largest scores are forgotten too late": ("softmax", "{clear_i && clear_bank_q,", "{1'b0,"),
    "rows of the tile before": ("softmax", "known_q[pass_bank_q]", "known_q[~pass_bank_q]"),
    "keys of another tile are seen": ("softmax", "known_q[store_bank_q]", "known_q[pass_bank_q]"),
    "reciprocals of the tile behind": ("softmax", "used_bank_q ^ used_i", "pass_bank_q"),
    "largest scores of the other tile": ("softmax_max", "max_o  = maxima[row_i]", "max_o  = maxima[row_2_q]"),
    "results do not wait for those before": ("queue", "hold_o         = ending_q", "hold_o         = 1'b0"),
    "results go where operands come from": ("queue", "result_o       = result_q", "result_o       = feed_q"),
    "operands are changed while they are read": ("queue", "!feeding_i && !waits_q", "!waits_q"),
    "a product has the shape of the one behind it": ("systolic_sums", "inner_q[a_bank]", "inner_i"),
    "a norm does not follow": ("scoreboard", "? other_busy_q && !other_done_i", "? 1'b0"),
    "what reads a norm does not follow it": ("scoreboard", "? norm_busy_q && !norm_done_i", "? 1'b0"),
    "two steps at a time": ("scoreboard", "free = !other_busy_q;", "free = 1'b1;"),
    "a norm starts beside any step": ("scoreboard", "(!other_busy_q || in_rows_q)", "1'b1"),
    "a norm waits for the step before": ("scoreboard", "(!other_busy_q || in_rows_q)", "!other_busy_q"),
    "the end does not wait": ("scoreboard", "free = !norm_busy_q && !other_busy_q;", "free = 1'b1;"),
    "a step's word goes with the next one": ("program", "norm_word   <= word;", "norm_word   <= other_word_o;"),
    "rows of a norm are there too early": ("rows", "written_o <= start_i ? '0 : row_q;", "written_o <= row_q + 1'b1;"),
    "a norm reads rows before they are there": ("rows", "!follow_i || there_i > row", "1'b1"),
    "a product reads rows before they are there": ("product", "(there_i >> RowBits) > left_tile", "1'b1"),
    "rows of the stream are there too early": (
        "product",
        "target_i == Stream ? first_row_i",
        "target_i == Stream ? 16'd9",
    ),
    "one row of the stream is there too early": ("product", "? first_row_i :", "? first_row_i + 16'd1 :"),
    "a block reads rows before they are there": ("block_rows", "there_i > read_row_q", "1'b1"),
    "operands come from the other memory": ("left", "normed_q ? normed_column", "!normed_q ? normed_column"),
    "words of a block come from the other memory": ("left", "normed_q ? normed_word", "!normed_q ? normed_word"),
    "a norm reads only what is added to": ("stream", ".read_i(norm_read_i)", ".read_i(read_i)"),
}


def overlapping(program, *size, **settings):
    return compile_model(program, replace(sized_for(program, *size, overlap=True), **settings))


def test_a_product_alone_takes_what_the_arrays_closed_form_says():
    rng = np.random.default_rng(3)
    program = random_gpt(rng, ffn="mlp")
    for _ in range(300):
        size = int(2 ** rng.integers(1, 7))
        lanes = int(2 ** rng.integers(0, size.bit_length()))
        rows, tiles, inner, start = (int(rng.integers(1, most)) for most in (4 * size, 6, 5 * size, 1000))
        time = Array(sized_for(program, size, lanes)).run(Product(-(-rows // size), tiles, inner), start)
        assert time.done - start == product_cycles(rows, inner, tiles * size, size, lanes) + units.RESULT_STAGES


@pytest.mark.parametrize("size", [8, 16, 32])
def test_overlap_takes_fewer_cycles(size):
    program = random_gpt(np.random.default_rng(1), layers=1, width=64, heads=4, context=64, ffn="mlp")
    image = overlapping(program, size)
    serial = compile_model(program, sized_for(program, size))
    for call in calls_of(image, [63, 1]):
        before, after = (latency.step_times(each, call) for each in (serial, image))
        assert after[-1].end < before[-1].end
        for one, other in zip(before, after, strict=True):
            if one.step.op == Op.ATTENTION:
                assert other.cycles < one.cycles
            elif one.step.op == Op.PRODUCT and one.step.target in (Target.KEYS, Target.VALUES):
                assert other.cycles == one.cycles
        for times in (before, after):
            assert sum(cycles for _, cycles in latency.shares(times)) == times[-1].end + 1
        norms = [k for k, time in enumerate(after) if time.step.op == Op.NORM and k > 1]
        assert all(after[k].start < after[k - 1].end for k in norms)
        assert all(after[k + 1].start < after[k].end for k in norms)


@pytest.fixture(scope="module", params=["text", "images"])
def machine(request, tmp_path_factory):
    """A GPT with a block that is slower than a norm; a ViT with an MLP that ends with queries for one row alone."""
    rng = np.random.default_rng(1)
    if request.param == "text":
        program = random_gpt(rng, width=36, heads=2, layers=1, context=12, vocabulary=16)
    else:
        program = random_vit(rng, image=(3, 5), patch=1, only_class=True)
    image = overlapping(program, 4, 2, 2, fold_factor=1)
    return image, harness.build(image.config, tmp_path_factory.mktemp("overlapping"), image.blocks)


@pytest.mark.parametrize(
    ("pieces", "drive"),
    [([12], Drive()), ([5, 1, 1, 5], Drive()), *(([9, 2], Drive(True, cycle, cycle)) for cycle in (250, 601, 900))],
)
def test_every_value_is_goldens_and_every_cycle_as_predicted(machine, pieces, drive):
    image, built = machine
    driven = driven_calls(image, GivenRows(random_input(np.random.default_rng(2), image, sum(pieces)), tuple(pieces)))
    runs = harness.simulate(built, image, [(call, inputs) for call, inputs, _ in driven], drive)
    for (call, _, expected), run in zip(driven, runs, strict=True):
        assert compare_call(image, call, run, expected, drive.stalls)[0].problem is None


def problem(folder):
    """What comparing says of small machines: several heads and row tiles, all keys or fewer, a slow block, an MLP."""
    rng = np.random.default_rng(9)
    gpt = random_gpt(rng, layers=1, width=12, heads=3, context=11, vocabulary=9)
    vit = random_vit(rng, layers=1, width=18, heads=2, image=(3, 3), patch=1, ffn="mlp", only_class=True)
    for number, program in enumerate((gpt, vit)):
        image = overlapping(program, 2, 2, fold_factor=1)
        given = GivenRows(random_input(rng, image, 11), (8, 1, 2))
        if found := simulate_model(image, [given], folder / str(number)).problem:
            return found
    return None


@pytest.mark.slow
def test_nothing_is_found_without_a_fault(tmp_path):
    assert problem(tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(tmp_path, monkeypatch, fault):
    module, right, wrong = FAULTS[fault]
    library = emit.library_files
    file = f"lutra_{module}.sv" if module.startswith("systolic") else f"lutra_transformer_{module}.sv"

    def faulty(*folders):
        files = dict(library(*folders))
        assert files[file].count(right) == 1
        return files | {file: files[file].replace(right, wrong)}

    monkeypatch.setattr(emit, "library_files", faulty)
    assert problem(tmp_path)
