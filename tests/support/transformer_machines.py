"""Random inputs of whole transformers for the transformer machine."""

from __future__ import annotations

import numpy as np

from lutra.accelerators.transformer.compiler import Image
from lutra.frozen.ops import Embedding
from lutra.frozen.types import IntArray


def random_input(rng: np.random.Generator, image: Image, tokens: int) -> IntArray:
    """Tokens (tokens, 1) that the model knows, or the pixels (height * width, channels) of an image."""
    first = image.program.ops[0]
    if isinstance(first, Embedding):
        return rng.integers(0, len(first.tokens), (tokens, 1))
    assert image.program.input_rows is not None
    return rng.integers(0, 256, (image.program.input_rows, image.program.input_width))
