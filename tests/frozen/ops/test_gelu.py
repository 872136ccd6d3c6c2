"""shift_gelu: spec.md's constraints (meaning: test_shift.py and test_dense.py)."""

from __future__ import annotations

from frozen_ops import INT8, INT16, Broken
from lutra.frozen.ops import ShiftGelu
from lutra.frozen.types import Value


def test_shift_gelu():
    op = ShiftGelu(("x",), "y", 4, 127, 23)
    Broken(
        op,
        [Value(INT8, 4)],
        {
            1: [({}, [Value(INT16, 4)], "inputs must be int8"), ({"width": 5}, None, "width must be 4")],
            2: [({"shift": 24}, None, r"shift must lie in \[1, 23\]"), ({"shift": 0}, None, "shift must lie in")],
            3: [({"unit": 128}, None, r"unit must lie in \[1, 127\]"), ({"unit": 0}, None, "unit must lie in")],
        },
    ).check()
