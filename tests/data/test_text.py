"""Tiny Shakespeare, its vocabulary, and batches that can be drawn again."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lutra.data.text import decode, encode, load_dataset, load_shakespeare, training_batch, validation_windows
from lutra.errors import InputError

DATA = load_shakespeare()


def test_sizes_and_split_are_those_of_nanogpt():
    assert (len(DATA.train), len(DATA.validation), len(DATA.characters)) == (1_003_854, 111_540, 65)
    assert list(DATA.characters) == sorted(DATA.characters)
    assert decode(DATA.train[:14], DATA.characters) == "First Citizen:"
    assert decode(DATA.validation[:4], DATA.characters) == "?\n\nG"


@given(st.text(alphabet=DATA.characters))
def test_decoding_undoes_encoding(text):
    assert decode(encode(text, DATA.characters), DATA.characters) == text


def test_unknown_character_is_named_with_its_position():
    with pytest.raises(InputError, match="'é' at position 4"):
        encode("Romé"[:3] + "eé", DATA.characters)


@pytest.mark.parametrize("number", [-1, 65])
def test_number_outside_the_vocabulary(number):
    with pytest.raises(InputError, match=f"{number} is outside 0 to 64"):
        decode(torch.tensor([0, number]), DATA.characters)


def test_batches_are_a_function_of_seed_and_iteration():
    def draw(seed, iteration):
        return training_batch(torch.arange(10_000), seed, iteration, 4, 16)

    inputs, targets = draw(1, 5)
    assert inputs.shape == targets.shape == (4, 16)
    assert torch.equal(targets, inputs + 1)
    assert torch.equal(draw(1, 5)[0], inputs)
    assert not torch.equal(draw(1, 6)[0], inputs) and not torch.equal(draw(2, 5)[0], inputs)


def test_batches_reach_the_first_and_the_last_character():
    inputs, targets = training_batch(torch.arange(6), 0, 0, 200, 4)
    assert (inputs.min(), targets.max()) == (0, 5)


def test_too_short_text():
    with pytest.raises(InputError, match="4 characters is too short"):
        training_batch(torch.arange(4), 0, 0, 1, 4)


@given(st.integers(2, 300), st.integers(1, 9), st.integers(1, 40))
def test_windows_hold_every_prediction_once_and_in_order(length, batch, context):
    windows = list(validation_windows(torch.arange(length), batch, context))
    assert torch.cat([targets.flatten() for _, targets in windows]).tolist() == list(range(1, length))
    for inputs, targets in windows:
        assert torch.equal(targets, inputs + 1)
        assert inputs.shape[0] <= batch and inputs.shape[1] <= context


def test_a_recipe_names_its_text():
    assert load_dataset("shakespeare-char") is DATA
    with pytest.raises(InputError, match="there is no text 'wikipedia'; there are shakespeare-char"):
        load_dataset("wikipedia")
