"""What every operation of a frozen model is: named inputs, a named output, a check, an output type, a meaning."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from lutra.errors import FrozenModelError, InputError
from lutra.frozen.arithmetic import fits
from lutra.frozen.types import IntArray, TensorType, Value, type_problem
from lutra.limits import ELEMENTS, WIDTH

DIMENSIONS = {
    **dict.fromkeys(("thresholds", "connections", "tables", "encoded", "weights", "tokens", "positions", "leading"), 2),
    **dict.fromkeys(("bias", "multiplier", "shift", "values", "exponentials", "gain"), 1),
}
"""Axes of every stored array, by its field."""
MOST = (1 << 63) - 1
"""Of a number that is a field; each operation bounds its own more narrowly."""


@dataclass
class Past:
    """What the tokens before those of this call have left behind; empty at the start of a sequence.

    A program that runs over some tokens of a sequence, and later with the same `Past` over the next ones, computes
    what it would compute over all of them at once.
    """

    tokens: int = 0
    rows: dict[str, IntArray] = field(default_factory=dict)
    """Rows (B, tokens, width) of the values that attention reads again, such as `h.0.context.key`."""

    def extended(self, name: str, rows: IntArray) -> IntArray:
        """All rows of a value so far, (B, past + T, width), of which `rows` (B, T, width) are the new ones."""
        if name in self.rows:
            rows = np.concatenate([self.rows[name], rows], axis=1)
        self.rows[name] = rows
        return rows


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation. Arrays are held as int64 in memory and as the narrow types of `stored` on disk.

    An operation that treats every row alone has a `meaning` over rows (N, width). One that is `positional` sees whole
    sequences (B, T, width) and what came before them, in `meaning_at`.
    """

    kind: ClassVar[str]
    stored: ClassVar[dict[str, str]] = {}
    positional: ClassVar[bool] = False
    inputs: tuple[str, ...]
    output: str

    def check_fields(self, where: str) -> None:
        """Check what holds for the fields of every operation, whatever they mean: kinds of numbers, axes, limits.

        Raises:
            FrozenModelError: naming `where`, the field and what is wrong.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in self.stored:
                axes = DIMENSIONS[each.name]
                whole = isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer)
                self.require(whole, where, each.name, "must be an array of integers")
                self.require(value.ndim == axes, where, each.name, f"must have {axes} axes, found {value.ndim}")
                self.require(value.size <= ELEMENTS, where, each.name, f"has more than {ELEMENTS} elements")
                self.require(max(value.shape) <= WIDTH, where, each.name, f"has an axis of more than {WIDTH}")
            elif isinstance(value, TensorType):
                problem = type_problem(value)
                self.require(problem is None, where, each.name, str(problem))
            elif each.type == "int":
                whole = type(value) is int and 0 <= value <= MOST
                self.require(whole, where, each.name, f"must be an integer from 0 to {MOST}")

    def check(self, inputs: list[Value], where: str) -> None:
        """Check shapes and ranges against the inputs.

        Raises:
            FrozenModelError: naming `where`, the field and what is wrong.
        """
        raise NotImplementedError

    def result(self, inputs: list[Value]) -> Value:
        """Type and shape of the output, for inputs that `check` accepts."""
        raise NotImplementedError

    def meaning(self, *inputs: IntArray) -> IntArray:
        """The output's rows (N, width) from those of the inputs."""
        raise NotImplementedError

    def meaning_at(self, past: Past, *inputs: IntArray) -> IntArray:
        """The output's sequences (B, T, width) from those of the inputs."""
        raise NotImplementedError

    def require(self, condition: Any, where: str, field: str, problem: str) -> None:
        """Raise the error of `check` unless a condition holds."""
        if not condition:
            raise FrozenModelError(f"{where}: {self.kind}.{field} {problem}; freeze the checkpoint again")

    def require_range(self, where: str, field: str, low: int, high: int, bounds: str = "") -> None:
        """Require that an array field lies in [low, high]; `bounds` is how the message writes that."""
        array = getattr(self, field)
        self.require(array.size, where, field, "is empty")
        self.require(fits(array, low, high), where, field, f"must lie in {bounds or f'[{low}, {high}]'}")

    def require_inputs(self, inputs: list[Value], where: str, count: int) -> None:
        """Require a number of inputs."""
        wanted = "one value" if count == 1 else f"{count} values"
        self.require(len(inputs) == count, where, "inputs", f"must be {wanted}, found {len(inputs)}")

    def require_signed(self, value: Value, where: str, bits: int) -> None:
        """Require an input of exactly so many bits, signed."""
        self.require(value.type.signed and value.type.bits == bits, where, "inputs", f"must be int{bits}")

    def require_scalar(self, where: str, field: str, low: int, high: int) -> None:
        """Require that an integer field lies in [low, high]."""
        value = getattr(self, field)
        whole = isinstance(value, int) and not isinstance(value, bool)
        self.require(whole and low <= value <= high, where, field, f"must lie in [{low}, {high}], found {value!r}")

    def require_type(self, type_: TensorType, where: str, bits: int) -> None:
        """Require that the field `type` is signed with so many bits."""
        self.require(type_.signed and type_.bits == bits, where, "type", f"must be int{bits}")


def refuse_past(op: Operation, past: Past) -> None:
    """For operations over sequences that come whole.

    Raises:
        InputError: there are earlier tokens.
    """
    if past.tokens:
        raise InputError(f"{op.output}: {op.kind} takes whole sequences; start without earlier tokens")
