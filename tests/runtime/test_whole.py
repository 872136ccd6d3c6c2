"""The runtime of whole programs against the golden model: every bit, on every instruction set, for any threads."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen_transformers import random_gpt, random_vit
from lutra.errors import FrozenModelError, InputError
from lutra.frozen import golden
from lutra.frozen.ops import IntegerLayerNorm, LayerNorm, MeanRows, Select
from lutra.frozen.types import TensorType
from lutra.runtime.library import INSTRUCTION_SETS, library
from lutra.runtime.whole.engine import GoldenWhole, WholeRuntime, whole_runtime

KERNELS = library()
AVAILABLE = () if KERNELS is None else INSTRUCTION_SETS[: KERNELS.lutra_best_isa() + 1]
pytestmark = pytest.mark.skipif(KERNELS is None, reason="no C++ compiler")


@pytest.fixture(params=AVAILABLE)
def isa(request, monkeypatch):
    monkeypatch.setenv("LUTRA_ISA", request.param)
    return request.param


def runtime_of(program, isa, threads=1):
    """One instruction set, without the environment: hypothesis runs many examples to a fixture.

    All threads work, however small the program is.
    """
    runtime = WholeRuntime(program, threads)
    runtime._worth_a_thread = 0
    runtime._isa = INSTRUCTION_SETS.index(isa)
    return runtime


@st.composite
def programs(draw):
    seed, heads = draw(st.integers(0, 2**32)), draw(st.integers(1, 3))
    rng = np.random.default_rng(seed)
    sizes = {"layers": draw(st.integers(1, 2)), "width": heads * draw(st.integers(2, 23)), "heads": heads}
    ffn = draw(st.sampled_from(["weightless", "mlp", "none"]))
    if draw(st.booleans()):
        program = random_gpt(
            rng, context=draw(st.integers(1, 40)), vocabulary=draw(st.integers(2, 70)), ffn=ffn, **sizes
        )
        rows = rng.integers(0, len(program.ops[0].tokens), (draw(st.integers(1, 5)), program.context, 1))
    else:
        image = draw(st.sampled_from([(6, 4), (8, 8), (3, 3), (20, 20)]))
        program = random_vit(rng, image=image, patch=1 if image == (3, 3) else 2, ffn=ffn, **sizes)
        rows = rng.integers(0, 256, (draw(st.integers(1, 5)), image[0] * image[1], 3))
    return program, rows


@settings(max_examples=40, deadline=None)
@given(programs(), st.sampled_from(AVAILABLE or ("",)), st.integers(1, 3))
def test_every_bit_of_random_programs(drawn, isa, threads):
    program, rows = drawn
    assert (runtime_of(program, isa, threads).run(rows) == golden.run(program, rows)).all()


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(programs(), st.sampled_from(AVAILABLE or ("",)), st.integers(1, 3))
def test_every_bit_of_very_many_random_programs(drawn, isa, threads):
    program, rows = drawn
    assert (runtime_of(program, isa, threads).run(rows) == golden.run(program, rows)).all()


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(AVAILABLE or ("",)),
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from(["weightless", "mlp"]),
    st.integers(0, 2**32),
)
def test_a_session_gives_the_same_bits_however_it_is_cut(isa, lengths, sequences, ffn, seed):
    rng = np.random.default_rng(seed)
    program = random_gpt(rng, context=sum(lengths), width=20, heads=2, ffn=ffn)
    rows = rng.integers(0, 11, (sequences, sum(lengths), 1))
    expected, session, begin = golden.run(program, rows), runtime_of(program, isa, 2).session(), 0
    for length in lengths:
        part = session(rows[:, begin : begin + length])
        assert (part == expected[:, begin : begin + length]).all()
        begin += length
    with pytest.raises(InputError, match="more than the model's context"):
        session(rows[:, :1])


def test_one_token_at_a_time(isa):
    rng = np.random.default_rng(3)
    program = random_gpt(rng, context=50, width=32, heads=4)
    rows = rng.integers(0, 11, (1, 50, 1))
    session = WholeRuntime(program).session()
    found = np.concatenate([session(rows[:, i : i + 1]) for i in range(50)], axis=1)
    assert (found == golden.run(program, rows)).all()


def extreme(program):
    """The same program with the largest shifts of scores undone, so that scores saturate both ways."""
    ops = [replace(op, multiplier=65535, shift=1) if op.kind == "attention" else op for op in program.ops]
    return replace(program, ops=tuple(ops))


def test_saturated_scores(isa):
    rng = np.random.default_rng(5)
    program = extreme(random_gpt(rng, context=20))
    rows = rng.integers(0, 11, (3, 20, 1))
    assert (WholeRuntime(program).run(rows) == golden.run(program, rows)).all()


def test_sums_that_leave_32_bits_before_they_are_clamped(isa):
    rng = np.random.default_rng(6)
    program = random_gpt(rng, ffn="none")
    ops = [replace(op, shift=np.ones_like(op.shift)) if op.kind == "requantise" else op for op in program.ops]
    wide = replace(program, ops=tuple(ops))
    rows = rng.integers(0, 11, (2, 8, 1))
    assert (WholeRuntime(wide).run(rows) == golden.run(wide, rows)).all()


def test_pooling_by_the_mean(isa):
    rng = np.random.default_rng(7)
    program = random_vit(rng)
    position = next(i for i, op in enumerate(program.ops) if isinstance(op, Select))
    select = program.ops[position]
    mean = MeanRows(select.inputs, select.output, 9000, 16, TensorType(True, 8, 2.0**-5))
    pooled = replace(program, ops=(*program.ops[:position], mean, *program.ops[position + 1 :]))
    pooled.check()
    images = rng.integers(0, 256, (4, 24, 3))
    assert (WholeRuntime(pooled).run(images) == golden.run(pooled, images)).all()


def test_many_threads_at_once(isa):
    rng = np.random.default_rng(8)
    program = random_gpt(rng, width=24)
    rows = rng.integers(0, 11, (40, 8, 1))
    runtime, expected = WholeRuntime(program, 2), golden.run(program, rows)
    runtime._worth_a_thread = 0
    wrong = []

    def work():
        for _ in range(5):
            if not (runtime.run(rows) == expected).all():
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_wrong_input_is_one_line():
    program = random_gpt(np.random.default_rng(0))
    runtime = whole_runtime(program)
    for rows, message in (
        (np.zeros((1, 9, 1), int), "9 tokens are more than the model's context of 8"),
        (np.full((1, 2, 1), 11), r"input must lie in \[0, 10\], found 11 to 11"),
        (np.zeros((1, 2), int), r"shape \(sequences, tokens, 1\)"),
        (np.zeros((1, 2, 1)), "must be integers"),
    ):
        with pytest.raises(InputError, match=message):
            runtime.run(rows)
    session = runtime.session()
    session(np.zeros((2, 1, 1), int))
    with pytest.raises(InputError, match="1 sequences, but 2 were begun"):
        session(np.zeros((1, 1, 1), int))
    with pytest.raises(InputError, match="takes whole sequences"):
        whole_runtime(random_vit(np.random.default_rng(0))).session()


def test_operations_without_a_kernel_are_named():
    program = random_gpt(np.random.default_rng(0))
    position = next(i for i, op in enumerate(program.ops) if isinstance(op, LayerNorm))
    norm = program.ops[position]
    other = IntegerLayerNorm(norm.inputs, norm.output, norm.bias, norm.gain, np.full(len(norm.gain), 20), norm.type)
    changed = replace(program, ops=(*program.ops[:position], other, *program.ops[position + 1 :]))
    changed.check()
    with pytest.raises(FrozenModelError, match=r"has no kernel for this operation \(i_layer_norm h\.0\.ln_1\)"):
        WholeRuntime(changed)


def test_without_compiled_code_the_golden_model_runs(monkeypatch):
    monkeypatch.setenv("LUTRA_ISA", "reference")
    rng = np.random.default_rng(0)
    program = random_gpt(rng)
    runtime, rows = whole_runtime(program), rng.integers(0, 11, (2, 8, 1))
    assert isinstance(runtime, GoldenWhole) and runtime.isa == "golden"
    session = runtime.session()
    parts = [session(rows[:, :3]), session(rows[:, 3:])]
    assert (np.concatenate(parts, axis=1) == golden.run(program, rows)).all()
