"""matmul, requantise, table, residual: spec.md's constraints, and their meaning in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen_ops import INT8, INT16, Broken, clamp, round_shift
from lutra.frozen.ops import MatMul, Requantise, Residual, Table
from lutra.frozen.types import TensorType, Value


def test_matmul():
    op = MatMul(("x",), "y", np.array([[-128, 127, 0], [1, 2, 3]]), np.array([2**31 - 2**16, 0, -5]))
    Broken(
        op,
        [Value(INT8, 2)],
        {
            1: [
                ({}, [Value(INT8, 3)], r"weights must have shape \(3, 3\)"),
                ({"weights": np.full((2, 3), -129)}, None, r"weights must lie in \[-128, 127\]"),
                ({}, [Value(INT8, 1), Value(INT8, 1)], "inputs must be one value"),
            ],
            2: [({"bias": np.full(3, -(2**31) - 1)}, None, "bias must fit in 32 bits")],
            3: [({"bias": np.full(3, 2**31 - 1)}, None, "weights and bias overflow a 32-bit accumulator")],
        },
    ).check()


def test_requantise():
    op = Requantise(("x",), "y", np.array([0, 2**31 - 1]), np.array([0, 62]), INT8)
    accumulator = TensorType(True, 32)
    Broken(
        op,
        [Value(INT16, 2)],
        {
            1: [
                ({}, [Value(INT16, 3)], "multiplier and shift must have 3 values"),
                ({"shift": np.zeros(3, int)}, None, "multiplier and shift must have 2 values"),
            ],
            2: [
                ({"multiplier": np.array([0, -1])}, None, "multiplier must lie in"),
                ({"multiplier": np.array([0, 2**31])}, None, r"multiplier must lie in \[0, 2\^31 - 1\]"),
            ],
            3: [({"shift": np.array([0, 63])}, None, r"shift must lie in \[0, 62\]")],
            4: [({"type": INT8}, [Value(TensorType(True, 33), 2)], "multiplier and shift overflow 64 bits")],
        },
    ).check()
    op.check([Value(accumulator, 2)], "here")


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=8), st.integers(0, 2**31 - 1), st.integers(0, 62)
)
def test_requantise_rounds_half_up(row, multiplier, shift):
    op = Requantise(("x",), "y", np.full(len(row), multiplier), np.full(len(row), shift), INT16)
    expected = [clamp(round_shift(x * multiplier, shift), 16) for x in row]
    assert op.meaning(np.array([row])).tolist() == [expected]


def test_table():
    values = np.arange(-128, 128) // 2
    op = Table(("x",), "y", values, INT8)
    Broken(
        op,
        [Value(INT8, 5)],
        {
            1: [
                ({}, [Value(TensorType(False, 8), 5)], "inputs must be signed with 2 to 12 bits"),
                ({}, [Value(TensorType(True, 13), 5)], "inputs must be signed with 2 to 12 bits"),
            ],
            2: [({"values": np.zeros(255, int)}, None, "values must have 256 entries")],
            3: [
                ({"type": TensorType(True, 17)}, None, "type must be signed with at most 16 bits"),
                ({"values": np.full(256, 128)}, None, r"values must lie in \[-128, 127\]"),
            ],
        },
    ).check()
    every = np.arange(-128, 128)[:, None]
    assert (op.meaning(every)[:, 0] == values).all()


def test_residual():
    op = Residual(("x", "b"), "y", INT16)
    x = Value(INT16, 4)
    Broken(
        op,
        [x, x],
        {
            1: [
                ({}, [x], "inputs must be 2 values, found 1"),
                ({}, [x, Value(TensorType(True, 16, 0.002), 4)], "inputs must be of one type"),
                ({}, [x, Value(INT16, 5)], "inputs differ in width: 4 and 5"),
                ({}, [x, Value(INT16, 4, rows=3)], "inputs differ in their rows"),
            ],
            2: [({"type": INT8}, None, "type must be the inputs', and signed")],
        },
    ).check()
    rows = np.array([[32767, -32768, 5, -7]])
    assert op.meaning(rows, np.array([[1, -1, 6, 7]])).tolist() == [[32767, -32768, 11, 0]]
