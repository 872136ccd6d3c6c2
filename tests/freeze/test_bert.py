"""From a trained BERT to the frozen one: bit for bit what the same steps give in PyTorch, near to the float model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen_berts import METHODS, configs, sentences, small_config, trained_like
from lutra.errors import FrozenModelError, InputError, LutraError
from lutra.freeze.bert import freeze_bert
from lutra.freeze.bert_in_torch import binary16_logits
from lutra.frozen.bert import FrozenBert
from lutra.frozen.bert_golden import golden_logits
from lutra.models.bert import Bert
from lutra.nn.binary_linear import pack_

torch.set_num_threads(1)


def golden(frozen, *arrays):
    return golden_logits(frozen, *(array.numpy() for array in arrays))


def bits_of(logits):
    return np.asarray(logits).view(np.uint16)


@settings(max_examples=30, deadline=None)
@given(configs(), st.integers(1, 20), st.integers(0, 1000))
def test_golden_and_torch_in_half_steps_agree_to_the_last_bit(config, length, seed):
    model = trained_like(config, seed)
    batch = sentences(config, 4, min(length, config.positions), seed + 1)
    frozen = freeze_bert(model)
    np.testing.assert_array_equal(bits_of(golden(frozen, *batch)), bits_of(binary16_logits(model, *batch)))


@pytest.mark.parametrize("quantisation", METHODS, ids=lambda given: " ".join(map(str, given.values())))
def test_golden_stays_near_the_float_model(quantisation):
    """A rounding may move a code by one, so that single logits differ; most differ by half's precision."""
    config = small_config(quantisation=quantisation)
    model = trained_like(config, seed=3)
    batch = sentences(config, 40, 16, seed=4)
    with torch.no_grad():
        expected = model(*batch).logits.numpy()
    difference = np.abs(golden(freeze_bert(model), *batch) - expected)
    assert np.median(difference) < 0.01
    assert difference.max() < 0.25
    margin = np.abs(expected[:, 0] - expected[:, 1])
    assert (np.argmax(golden(freeze_bert(model), *batch), 1) == expected.argmax(1))[margin > 0.25].all()


@settings(max_examples=15, deadline=None)
@given(configs(), st.integers(0, 1000))
def test_a_sentence_gives_the_same_bits_alone_and_in_a_padded_batch(config, seed):
    frozen = freeze_bert(trained_like(config, seed))
    tokens, token_types, mask = sentences(config, 4, config.positions, seed)
    together = golden(frozen, tokens, token_types, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = golden(frozen, *(array[row : row + 1, :length] for array in (tokens, token_types, mask)))
        np.testing.assert_array_equal(bits_of(alone[0]), bits_of(together[row]))


def test_many_sentences_are_computed_in_parts():
    model = trained_like(small_config(quantisation={"method": "bmt"}), seed=0)
    batch = sentences(model.config, 70, 6, seed=1)
    np.testing.assert_array_equal(bits_of(golden(freeze_bert(model), *batch)), bits_of(binary16_logits(model, *batch)))


@pytest.mark.parametrize("method", ["bmt", "bit", "ternary"])
def test_packed_and_reloaded_models_are_the_same(tmp_path, method):
    model = trained_like(small_config(quantisation={"method": method}), seed=2)
    frozen = freeze_bert(model, {"recipe": "test"})
    frozen.save(tmp_path)
    pack_(model)
    packed, reloaded = freeze_bert(model), FrozenBert.load(tmp_path)
    assert reloaded.origin["recipe"] == "test"
    for name, tensor in frozen.tensors.items():
        np.testing.assert_array_equal(packed.tensors[name], tensor)
        np.testing.assert_array_equal(reloaded.tensors[name], tensor)
    batch = sentences(model.config, 5, 16, seed=1)
    np.testing.assert_array_equal(bits_of(golden(reloaded, *batch)), bits_of(binary16_logits(model, *batch)))


def test_an_activation_beyond_the_range_of_a_half_is_an_error():
    model = trained_like(small_config(quantisation={"method": "bmt"}), seed=0)
    with torch.no_grad():
        model.layers[1].feed_forward.output.bias.fill_(60000)
        model.layers[1].attention.norm.bias.fill_(30000)
    with pytest.raises(LutraError, match=r"layers\.1\.feed_forward\.residual: .*range of binary16"):
        golden(freeze_bert(model), *sentences(model.config, 2, 4, seed=0))


@pytest.mark.parametrize(
    ("quantisation", "error", "message"),
    [
        ({"method": "full"}, FrozenModelError, "32-bit weights and 32-bit activations have no frozen form"),
        ({"method": "q8"}, FrozenModelError, "8-bit weights"),
        ({"method": "bmt", "activation_bits": 32}, FrozenModelError, "32-bit activations"),
        ({"method": "bmt"}, InputError, "input_quantiser: has no step yet; run one batch"),
    ],
)
def test_models_that_can_not_be_frozen(quantisation, error, message):
    with pytest.raises(error, match=message):
        freeze_bert(Bert(small_config(quantisation=quantisation)))


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (1e-4, InputError, "pooler.factor: at most .* too small for binary16"),
        (1e8, FrozenModelError, "pooler_quantiser.inverse_step must be positive|pooler.factor has values beyond"),
    ],
)
def test_steps_that_no_half_can_hold_are_named(step, error, message):
    model = trained_like(small_config(quantisation={"method": "bmt", "wtws": False}), seed=0)
    with torch.no_grad():
        model.pooler_quantiser.step.fill_(step)
    with pytest.raises(error, match=message):
        freeze_bert(model)
