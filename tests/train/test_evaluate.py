"""Validation loss over the whole set, recovery, and generated text."""

import math

import pytest
import torch
from torch.nn import functional as F

from lutra.errors import InputError
from lutra.evaluate.recovery import recovery
from lutra.evaluate.text import generate_text
from lutra.models.zoo import create_model
from lutra.train.evaluate import validation_loss
from tiny_training import short_text, tiny_recipe

DATA = short_text()


def test_every_prediction_counts_once():
    model = create_model(tiny_recipe(), 65)
    torch.nn.init.normal_(model.transformer.wte.weight)
    model.eval()
    tokens = DATA.validation[:50]  # three windows of 16 predictions and one of 1
    total = 0.0
    for start in range(0, 49, 16):
        inputs, targets = tokens[start : min(start + 16, 49)], tokens[start + 1 : start + 17]
        total += F.cross_entropy(model(inputs[None])[0], targets, reduction="sum").item()
    for batch in (1, 2, 64):
        assert validation_loss(model, tokens, batch) == pytest.approx(total / 49, rel=1e-6)


def test_uniform_guess_costs_the_logarithm_of_the_vocabulary():
    model = create_model(tiny_recipe(), 65)
    torch.nn.init.zeros_(model.transformer.wte.weight)
    assert validation_loss(model, DATA.validation, 8) == pytest.approx(math.log(65), rel=1e-6)


def test_dropout_is_off_during_evaluation_and_on_again_after():
    model = create_model(tiny_recipe(), 65).train()
    torch.nn.init.normal_(model.transformer.wte.weight)
    assert validation_loss(model, DATA.validation, 8) == validation_loss(model, DATA.validation, 8)
    assert model.training


def test_recovery():
    assert recovery(2.2, 2.0, 1.8) == pytest.approx(0.5)
    assert recovery(2.2, 2.2, 1.8) == 0 and recovery(2.2, 1.8, 1.8) == 1
    assert recovery(2.0, 1.9, 2.0) is None and recovery(1.9, 1.9, 2.0) is None


def test_text_depends_on_the_seed_alone():
    model = create_model(tiny_recipe(), 65)

    def text(prompt, seed=1):
        return generate_text(model, prompt, DATA.characters, seed=seed, max_new_characters=30)

    assert text("ROMEO:") == text("ROMEO:") != text("ROMEO:", seed=2)
    assert text("ROMEO:").startswith("ROMEO:") and len(text("ROMEO:")) == 36 and len(text("")) == 30
    with pytest.raises(InputError, match="'ü' at position 1"):
        text("Rüde")
