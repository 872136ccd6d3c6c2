"""Models of the sizes that are reported, of random contents, on machines of several sizes; the dense MLP, whose RTL is
compiled in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from frozen_transformers import random_gpt, random_vit
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.simulate import GivenRows, simulate_model
from transformer_machines import random_input


def model_of(name, rng):
    if name == "gpt-mini":
        return random_gpt(rng, layers=4, width=128, heads=4, context=64, vocabulary=65, ffn="mlp")
    if name == "vit-mini":
        return random_vit(rng, layers=4, width=96, heads=3, image=(32, 32), patch=4, classes=10)
    return random_vit(rng, layers=12, width=192, heads=3, image=(224, 224), patch=16, classes=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("gpt-mini", 8),
        ("gpt-mini", 16),
        ("vit-mini", 8),
        ("vit-mini", 32),
        ("ivit-t", 8),
        ("ivit-t", 16),
        ("ivit-t", 32),
    ],
)
def test_a_model_of_a_reported_size(tmp_path, name, size):
    rng = np.random.default_rng(size)
    program = model_of(name, rng)
    image = compile_model(program, sized_for(program, size, norm_lanes=4))
    tokens = random_input(rng, image, 64)
    given = [GivenRows(tokens, (1,) * 64 if name == "gpt-mini" else (1,))]
    if name == "gpt-mini":
        given.insert(0, GivenRows(tokens, (64,)))
    result = simulate_model(image, given, tmp_path)
    assert result.problem is None
    assert all(call.cycles_measured == call.cycles_predicted for call in result.calls if not call.stalled)
