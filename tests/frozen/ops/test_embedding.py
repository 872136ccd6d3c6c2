"""embedding, patches, positions: spec.md's constraints and meaning, and what callers may not ask."""

from __future__ import annotations

import numpy as np
import pytest

from frozen_ops import INT8, INT16, Broken
from lutra.errors import InputError
from lutra.frozen.ops import Embedding, Past, Patches, Positions
from lutra.frozen.types import TensorType, Value

TOKEN = TensorType(False, 2)
PIXEL = TensorType(False, 8)


def embedding():
    return Embedding(
        ("t",), "x", np.array([[30000, -5], [1, 2], [3, 4]]), np.array([[30000, 1], [10, 20], [7, 7], [0, 0]]), INT16
    )


def test_embedding():
    op = embedding()
    Broken(
        op,
        [Value(TOKEN, 1)],
        {
            1: [
                ({}, [Value(TOKEN, 2)], "inputs must be one token number"),
                ({}, [Value(INT8, 1)], "inputs must be one token number"),
                ({}, [Value(TOKEN, 1, rows=3)], "inputs must be one token number"),
            ],
            2: [
                ({"type": INT8}, None, "type must be int16"),
                ({"positions": np.zeros((4, 3), int)}, None, "positions must have 2 columns"),
                ({"tokens": np.full((3, 2), 2**15)}, None, "tokens must lie in"),
                ({"positions": np.full((4, 2), -(2**15) - 1)}, None, "positions must lie in"),
            ],
            3: [({"tokens": np.zeros((5, 2), int)}, None, "tokens has 5 rows, more than")],
        },
    ).check()
    assert op.meaning_at(Past(), np.array([[[0], [1]]])).tolist() == [[[32767, -4], [11, 22]]]
    assert op.meaning_at(Past(tokens=2), np.array([[[1]]])).tolist() == [[[8, 9]]]


def test_unknown_tokens_and_sequences_beyond_the_context_are_one_line():
    with pytest.raises(InputError, match=r"^token 3 is unknown; the model knows 0 to 2$"):
        embedding().meaning_at(Past(), np.array([[[3]]]))
    with pytest.raises(InputError, match=r"^5 tokens are more than the model's context of 4$"):
        embedding().meaning_at(Past(tokens=3), np.zeros((1, 2, 1), int))


def test_patches():
    op = Patches(("x",), "y", height=4, width=6, patch=2)
    image = Value(PIXEL, 3, rows=24)
    Broken(
        op,
        [image],
        {
            1: [
                ({}, [Value(INT8, 3, rows=24)], "inputs must be uint8"),
                ({}, [Value(PIXEL, 3, rows=23)], "inputs must have 24 rows, found 23"),
                ({}, [Value(PIXEL, 3)], "inputs must have 24 rows, found None"),
            ],
            2: [
                ({"patch": 4}, None, "patch must divide the image of 4 x 6"),
                ({"patch": 0}, None, r"patch must lie in \[1, 65536\]"),
            ],
        },
    ).check()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3))
    rows = op.meaning_at(Past(), pixels.reshape(2, 24, 3))
    assert rows.shape == (2, 6, 12)
    for r in range(2):
        for c in range(3):
            for k in range(3):
                for i in range(2):
                    for j in range(2):
                        found = rows[:, r * 3 + c, (k * 2 + i) * 2 + j]
                        assert (found == pixels[:, r * 2 + i, c * 2 + j, k] - 128).all()


def test_positions():
    op = Positions(("x",), "y", np.array([[7, 8]]), np.array([[1, 2], [32767, -32768]]), INT16)
    Broken(
        op,
        [Value(INT16, 2, rows=2)],
        {
            1: [
                ({}, [Value(INT16, 2)], "inputs must have a fixed number of rows"),
                ({}, [Value(TensorType(True, 16, 0.5), 2, rows=2)], "inputs must be"),
            ],
            2: [
                ({}, [Value(INT16, 2, rows=3)], r"positions must have shape \(3, 2\)"),
                ({"leading": np.zeros((1, 3), int)}, None, "leading must have 2 columns"),
                ({"leading": np.full((1, 2), 2**15)}, None, "leading must lie in"),
            ],
        },
    ).check()
    assert op.meaning_at(Past(), np.array([[[10, 20], [5, -5]]])).tolist() == [[[7, 8], [11, 22], [32767, -32768]]]
    with pytest.raises(InputError, match="takes whole sequences"):
        op.meaning_at(Past(tokens=1), np.zeros((1, 2, 2), int))
