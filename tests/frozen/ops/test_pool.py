"""select and mean_rows: spec.md's constraints and meaning."""

from __future__ import annotations

import numpy as np

from frozen_ops import INT8, INT16, Broken
from lutra.frozen.ops import MeanRows, Past, Select
from lutra.frozen.types import TensorType, Value


def test_select():
    op = Select(("x",), "y", 2)
    Broken(
        op,
        [Value(INT16, 4, rows=3)],
        {
            1: [
                ({}, [Value(INT16, 4)], "inputs must have a fixed number of rows"),
                ({"row": 3}, None, r"row must lie in \[0, 2\]"),
            ]
        },
    ).check()
    x = np.arange(24).reshape(2, 3, 4)
    assert (op.meaning_at(Past(), x) == x[:, 2:]).all()
    assert op.result([Value(INT16, 4, rows=3)]) == Value(INT16, 4, rows=1)


def test_mean_rows():
    op = MeanRows(("x",), "y", 2**16 // 3, 16, INT16)
    rows = Value(INT16, 4, rows=3)
    Broken(
        op,
        [rows],
        {
            1: [({}, [Value(INT16, 4)], "inputs must have a fixed number of rows")],
            2: [({"multiplier": 2**16}, None, "multiplier must lie in"), ({"shift": 0}, None, "shift must lie in")],
            3: [({"type": TensorType(True, 17)}, None, "type must be signed")],
        },
    ).check()
    x = np.array([[[3, -3], [4, -4], [6, -7]]])
    assert op.meaning_at(Past(), x).tolist() == [[[4, -5]]]
    assert INT8.bits == 8
