"""The runtime of frozen BERTs against the golden model: every bit, on every instruction set, for any threads."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bat_models
from frozen_berts import METHODS, configs, sentences, small_config
from lutra.errors import FrozenModelError, InputError, LutraError
from lutra.frozen import bert_golden
from lutra.frozen.bert import FrozenBert
from lutra.runtime.bert.engine import BertRuntime, GoldenBert, bert_runtime
from lutra.runtime.library import INSTRUCTION_SETS, library

KERNELS = library()
AVAILABLE = () if KERNELS is None else INSTRUCTION_SETS[: KERNELS.lutra_best_isa() + 1]
pytestmark = pytest.mark.skipif(KERNELS is None, reason="no C++ compiler")


def runtime_of(model, isa, threads=1):
    """One instruction set, without the environment: hypothesis runs many examples to a fixture."""
    runtime = BertRuntime(model, threads)
    runtime._isa = INSTRUCTION_SETS.index(isa)
    return runtime


def given_to(config, count, seed):
    return [each.numpy() for each in sentences(config, count, config.positions, seed)]


def assert_equal(model, isa, threads, batch, noise=None):
    expected = bert_golden.golden_logits(model, *batch, noise=noise)
    found = runtime_of(model, isa, threads).logits(*batch, noise)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found.view(np.uint16), expected.view(np.uint16))


@settings(max_examples=40, deadline=None)
@given(configs(), st.sampled_from(AVAILABLE or ("",)), st.integers(1, 3), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_every_bit_of_random_models(config, isa, threads, count, seed):
    assert_equal(bat_models.frozen(config, seed), isa, threads, given_to(config, count, seed))


@pytest.mark.parametrize("isa", AVAILABLE)
@pytest.mark.parametrize("quantisation", METHODS, ids=lambda each: "-".join(map(str, each.values())))
def test_every_bit_where_registers_and_tiles_are_full(isa, quantisation):
    """Also of more keys than a tile has, of lengths that are no multiple of anything, and of several pieces."""
    config = small_config(
        layers=1, heads=2, head_width=32, width=80, intermediate=192, positions=131, quantisation=quantisation
    )
    assert_equal(bat_models.frozen(config, 3), isa, 2, given_to(config, 5, 3))


@pytest.mark.parametrize("isa", AVAILABLE)
def test_numbers_of_all_magnitudes(isa):
    """Among them subnormal ones, and quantised ones beyond the largest."""
    config = small_config(width=33, positions=20, quantisation={"method": "bmt", "activation_bits": 4})
    compared = 0
    for seed in range(12):
        model = bat_models.frozen(config, seed)
        rng = np.random.default_rng(seed)
        tensors = dict(model.tensors)
        for name, tensor in tensors.items():
            if tensor.dtype == np.float16 and name.startswith("layers") and not name.endswith(".inverse_step"):
                tensors[name] = (tensor * 2.0 ** rng.integers(-14, 6, tensor.shape)).astype(np.float16)
            elif name.endswith(".inverse_step"):
                tensors[name] = np.asarray(2.0 ** rng.integers(-10, 15)).astype(np.float16)
        model = FrozenBert(config, tensors)
        batch = given_to(config, 3, seed)
        try:
            bert_golden.golden_logits(model, *batch)
        except LutraError as said:
            with pytest.raises(LutraError, match=str(said).split(":")[0].replace(".", r"\.")):
                runtime_of(model, isa).logits(*batch)
            continue
        assert_equal(model, isa, 1, batch)
        compared += 1
    assert compared >= 4


@pytest.mark.parametrize("isa", AVAILABLE)
@pytest.mark.parametrize("part", ["attention.output.factor", "attention.query.factor", "feed_forward.norm.gain"])
def test_an_activation_out_of_range_is_refused_in_the_golden_models_words(isa, part):
    config = small_config(quantisation={"method": "bmt"})
    model = bat_models.frozen(config, 1)
    name = f"layers.1.{part}"
    model = FrozenBert(config, {**model.tensors, name: np.full_like(model.tensors[name], 65504)})
    batch = given_to(config, 3, 1)
    with pytest.raises(LutraError, match="range of binary16") as expected:
        bert_golden.golden_logits(model, *batch)
    with pytest.raises(LutraError) as found:
        runtime_of(model, isa).logits(*batch)
    assert str(found.value) == str(expected.value)


def test_sentences_do_not_depend_on_their_batch():
    config = small_config(quantisation={"method": "bmt"})
    runtime = bert_runtime(bat_models.frozen(config, 5), 2)
    tokens, types, mask = given_to(config, 7, 5)
    together = runtime.logits(tokens, types, mask)
    alone = [runtime.logits(tokens[i : i + 1], types[i : i + 1], mask[i : i + 1]) for i in range(7)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("isa", AVAILABLE)
def test_noise_is_added_to_the_embeddings(isa):
    config = small_config(width=37, quantisation={"method": "bmt"})
    batch, rng = given_to(config, 70, 4), np.random.default_rng(4)
    noise = rng.normal(size=(int(batch[2].sum()), config.width)).astype(np.float16)
    model = bat_models.frozen(config, 4)
    assert_equal(model, isa, 2, batch, noise)
    assert (bert_golden.golden_logits(model, *batch) != bert_golden.golden_logits(model, *batch, noise=noise)).any()
    for wrong in (noise[:-1], noise.astype(np.float32), noise * np.float16(np.inf)):
        with pytest.raises(InputError, match="noise must be finite float16"):
            runtime_of(model, isa).logits(*batch, wrong)


def test_a_mask_with_holes_keeps_positions():
    config = small_config(quantisation={"method": "bmt"})
    tokens, types, mask = given_to(config, 4, 6)
    mask[:, 2] = 0
    assert_equal(bat_models.frozen(config, 6), AVAILABLE[-1], 1, (tokens, types, mask))


def test_a_copy_computes_the_same():
    config = small_config(quantisation={"method": "ternary", "activation_bits": 8})
    runtime = bert_runtime(bat_models.frozen(config, 7))
    batch = given_to(config, 3, 7)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(runtime)).logits(*batch), runtime.logits(*batch))


def test_no_sentences_have_no_logits():
    config = small_config(quantisation={"method": "bmt"})
    runtime = bert_runtime(bat_models.frozen(config, 8))
    nothing = np.zeros((0, 4), np.int64)
    assert runtime.logits(nothing, nothing, nothing).shape == (0, config.outputs)


def test_what_the_kernels_cannot_take_is_refused():
    config = small_config(quantisation={"method": "ternary", "activation_bits": 8}, positions=2048)
    with pytest.raises(FrozenModelError, match="contexts: sums of up to 66846720 are more than the runtime's 16777216"):
        BertRuntime(bat_models.untrained(config, 0))
    runtime = bert_runtime(bat_models.frozen(small_config(quantisation={"method": "bmt"}), 0))
    tokens = np.full((1, 4), 50)
    with pytest.raises(InputError, match="tokens must lie in"):
        runtime.logits(tokens, np.zeros_like(tokens), np.ones_like(tokens))
    with pytest.raises(InputError, match="threads"):
        BertRuntime(runtime.model, 0)


def test_without_a_compiler_the_golden_model_computes(monkeypatch):
    monkeypatch.setenv("LUTRA_ISA", "reference")
    config = small_config(quantisation={"method": "bmt"})
    model = bat_models.frozen(config, 9)
    runtime = bert_runtime(model)
    assert isinstance(runtime, GoldenBert) and runtime.isa == "golden"
    batch = given_to(config, 2, 9)
    np.testing.assert_array_equal(runtime.logits(*batch), bert_golden.golden_logits(model, *batch))
