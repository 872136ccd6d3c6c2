"""thermometer, lut_layer, conditional_sum: what breaks spec.md's constraints (their meaning: test_golden.py)."""

from __future__ import annotations

import numpy as np

from frozen_ops import INT8, INT16, Broken
from lutra.frozen.ops import ConditionalSum, LutLayer, Thermometer
from lutra.frozen.types import BIT, TensorType, Value

BITS = Value(BIT, 6)


def test_thermometer():
    op = Thermometer(("x",), "y", np.array([[-128, 0, 128], [1, 1, 2]]))
    Broken(
        op,
        [Value(INT8, 2)],
        {
            1: [({}, [Value(INT8, 1), Value(INT8, 1)], "inputs must be one value, found 2")],
            2: [
                ({}, [Value(INT8, 3)], "thresholds must have 3 rows"),
                ({"thresholds": np.array([[-129, 0], [0, 0]])}, None, r"thresholds must lie in \[-128, 128\]"),
                ({"thresholds": np.zeros((2, 0), int)}, None, "thresholds is empty"),
            ],
            3: [({"thresholds": np.array([[0, 1], [1, 0]])}, None, "thresholds must ascend")],
        },
    ).check()


def test_lut_layer():
    op = LutLayer(("x",), "y", np.array([[0, 5], [3, 3]]), np.array([[0, 1, 1, 0], [1, 1, 1, 1]]))
    Broken(
        op,
        [BITS],
        {
            1: [
                ({}, [Value(INT8, 6)], "inputs are not bits"),
                ({}, [BITS, Value(BIT, 6, rows=4)], "inputs differ in their rows"),
            ],
            2: [
                ({"connections": np.zeros((2, 1), int)}, None, "connections must have 2 to 8 columns, found 1"),
                ({"connections": np.zeros((2, 9), int)}, None, "connections must have 2 to 8 columns, found 9"),
                ({"tables": np.full((2, 4), 2)}, None, "tables must hold bits"),
                ({"tables": np.zeros((2, 8), int)}, None, r"tables must have shape \(2, 4\)"),
            ],
            3: [({"connections": np.array([[0, 6], [0, 0]])}, None, r"connections must lie in \[0, 5\]")],
        },
    ).check()


def test_conditional_sum():
    encoded = np.zeros((6, 4), int)
    encoded[:3, :2] = encoded[3:, 2:] = -128
    op = ConditionalSum(("x",), "y", encoded, np.arange(4), groups=2)
    wide = Value(BIT, 2**17)
    Broken(
        op,
        [BITS],
        {
            1: [({}, [Value(TensorType(True, 1), 6)], "inputs are not bits")],
            2: [
                ({"encoded": np.zeros((5, 4), int)}, None, r"encoded must have shape \(6, 4\)"),
                ({"encoded": np.full((6, 4), 128)}, None, r"encoded must lie in \[-128, 127\]"),
                ({"bias": np.full(4, 2**31)}, None, "bias must fit in 32 bits"),
            ],
            3: [
                ({"encoded": np.full((2**17, 4), 127), "bias": np.full(4, 2**31 - 1), "groups": 1}, [wide], "overflow"),
            ],
            4: [
                ({"groups": 0}, None, r"groups must lie in \[1, 4\]"),
                ({"encoded": np.ones((6, 4), int)}, None, "encoded is not zero between groups"),
            ],
        },
    ).check()
    assert op.result([BITS]).type == TensorType(True, 10), "3 * 128 = 384 below 0 needs 10 bits"
    assert INT16.bits == 16
