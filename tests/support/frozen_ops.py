"""What the tests of frozen operations share: constraints of spec.md by number, and plain Python arithmetic."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lutra.errors import FrozenModelError
from lutra.frozen import golden
from lutra.frozen.ops import Operation
from lutra.frozen.types import TensorType, Value

SPECIFICATION = Path(golden.__file__).with_name("spec.md")
INT8 = TensorType(True, 8, 0.03)
INT16 = TensorType(True, 16, 0.001)


def section(kind: str) -> str:
    """The text that spec.md has on an operation."""
    text = SPECIFICATION.read_text(encoding="utf-8")
    return text.split(f"### `{kind}`\n")[1].split("\n##")[0]


def constraints(kind: str) -> set[int]:
    """The numbers of the constraints that spec.md has on an operation."""
    return {int(number) for number in re.findall(r"^(\d+)\. ", section(kind), re.MULTILINE)}


class Broken:
    """Ways to break an operation, by the number of the constraint: `(changes, inputs or None, message)` each."""

    def __init__(self, op: Operation, inputs: list[Value], ways: dict[int, list[tuple[Any, ...]]]) -> None:
        self.op, self.inputs, self.ways = op, inputs, ways

    def check(self) -> None:
        """The operation itself is right, every constraint of spec.md is broken by a way, and every way is refused."""
        self.op.check(self.inputs, "here")
        assert self.ways.keys() == constraints(self.op.kind), f"spec.md, {self.op.kind}: constraints without a test"
        for number, cases in self.ways.items():
            for changes, inputs, message in cases:
                with pytest.raises(FrozenModelError, match=f"^here: {self.op.kind}.*{message}") as error:
                    replace(self.op, **changes).check(inputs or self.inputs, "here")
                    pytest.fail(f"constraint {number} of {self.op.kind} is not checked: {changes}")
                assert "\n" not in str(error.value)


def clamp(x: int, bits: int) -> int:
    return max(-(1 << bits - 1), min((1 << bits - 1) - 1, x))


def round_shift(x: int, shift: int) -> int:
    return (x + (1 << shift >> 1)) >> shift


def recip(v: int) -> tuple[int, int]:
    exponent = v.bit_length() - 1
    return (1 << 16 + exponent) // v, exponent
