"""Ordered binary decision diagrams: functions of bits in a form in which equal functions are the same number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

FALSE, TRUE = 0, 1
T = TypeVar("T")


class Diagrams:
    """Functions of variables 0, 1, ...; a function is a number, and two functions are equal if their numbers are.

    Sums stay small when variables are numbered by significance first: what all bits below one column leave behind is
    no more than the carry into it.
    """

    def __init__(self) -> None:
        last = 1 << 30  # constants come after every variable
        self._nodes = [(last, FALSE, FALSE), (last, TRUE, TRUE)]
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._choices: dict[tuple[int, int, int], int] = {}

    def variable(self, number: int) -> int:
        """The function that is variable `number`."""
        return self._node(number, FALSE, TRUE)

    def choose(self, condition: int, then: int, otherwise: int) -> int:
        """`then` where `condition` holds, else `otherwise`."""
        if condition == TRUE or then == otherwise:
            return then
        if condition == FALSE:
            return otherwise
        if (then, otherwise) == (TRUE, FALSE):
            return condition
        key = condition, then, otherwise
        if key not in self._choices:
            top = min(self._nodes[function][0] for function in key)
            low, high = ([self._part(function, top, side) for function in key] for side in (1, 2))
            self._choices[key] = self._node(top, self.choose(*low), self.choose(*high))
        return self._choices[key]

    def negate(self, function: int) -> int:
        return self.choose(function, FALSE, TRUE)

    def xor(self, left: int, right: int) -> int:
        return self.choose(left, self.negate(right), right)

    def always(self, function: int) -> bool:
        return function == TRUE

    def lookup(self, table: Sequence[bool], inputs: Sequence[int]) -> int:
        """The entry of `table` (2^n) that `inputs` (n) address, the first least significant."""
        if all(table) or not any(table):
            return int(table[0])
        half = len(table) // 2
        low, high = table[:half], table[half:]
        if low == high:
            return self.lookup(low, inputs[:-1])
        return self.choose(inputs[-1], self.lookup(high, inputs[:-1]), self.lookup(low, inputs[:-1]))

    def add(self, left: Sequence[int], right: Sequence[int], bits: int) -> list[int]:
        """The sum of two numbers in two's complement, the lowest bit first, in `bits` bits."""
        carry, total = FALSE, []
        for a, b in zip(extended(left, bits), extended(right, bits), strict=True):
            differ = self.xor(a, b)
            total.append(self.xor(differ, carry))
            carry = self.choose(differ, carry, a)
        return total

    def _part(self, function: int, variable: int, side: int) -> int:
        node = self._nodes[function]
        return node[side] if node[0] == variable else function

    def _node(self, variable: int, low: int, high: int) -> int:
        if low == high:
            return low
        key = variable, low, high
        if key not in self._numbers:
            self._numbers[key] = len(self._nodes)
            self._nodes.append(key)
        return self._numbers[key]


def extended(number: Sequence[T], bits: int) -> list[T]:
    """A number in two's complement with its sign repeated, or its high bits left out."""
    return [*number[:bits], *[number[-1]] * (bits - len(number))]
