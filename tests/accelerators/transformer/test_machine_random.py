"""Random models on random machines: every value of every step, every cycle; then again with stalls and a reset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frozen_transformers import random_gpt, random_vit
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.simulate import GivenRows, simulate_model
from transformer_machines import random_input

pytestmark = pytest.mark.usefixtures("unoptimised")


def random_case(rng, largest, overlap):
    """An image, rows, and the pieces in which they come; the first models are small."""
    size = int(2 ** rng.integers(1, largest + 1))
    lanes = int(2 ** rng.integers(0, size.bit_length()))
    norm_lanes = int(2 ** rng.integers(0, lanes.bit_length()))
    heads = int(rng.integers(1, 4))
    width = heads * int(rng.integers(2, 9))
    ffn = str(rng.choice(["mlp", "weightless", "weightless", "none"]))
    layers = int(rng.integers(1, 3))
    if rng.random() < 0.7:
        context = int(rng.integers(3, 20))
        pieces = [int(rng.integers(1, context))]
        while sum(pieces) < context and rng.random() < 0.7:
            pieces.append(int(rng.integers(1, context - sum(pieces) + 1)))
        vocabulary = int(rng.integers(2, 24))
        program = random_gpt(
            rng, layers=layers, width=width, heads=heads, context=context, vocabulary=vocabulary, ffn=ffn
        )
    else:
        pieces, patch = [1], int(rng.integers(1, 3))
        image = (patch * int(rng.integers(1, 4)), patch * int(rng.integers(1, 4)))
        shapes = {"layers": layers, "width": width, "heads": heads, "image": image, "patch": patch}
        program = random_vit(rng, **shapes, ffn=ffn, only_class=bool(rng.integers(0, 2)))
    folds = {"fold_factor": [1, 3, 8, "all"][rng.integers(0, 4)], "dataflow": str(rng.choice(["tree", "accumulate"]))}
    config = replace(sized_for(program, size, lanes, norm_lanes, overlap=overlap), **folds)
    image = compile_model(program, config)
    return image, GivenRows(random_input(rng, image, sum(pieces)), tuple(pieces))


@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 35))])
def test_a_random_model_on_a_random_machine(tmp_path, seed):
    image, given = random_case(np.random.default_rng(seed), 2 if seed < 5 else 4, overlap=seed % 2 == 1)
    result = simulate_model(image, [given], tmp_path)
    assert result.problem is None, f"{image.config}: {result.problem}"
    assert sum(values for values, _ in result.steps.values()) > 100
    assert any(call.stalled for call in result.calls)
