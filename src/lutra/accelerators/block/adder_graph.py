"""Sums of few-bit encoded values as a graph of tables and adders that outputs share.

A block with all sums in one cycle adds up the same bits for every output, each with a value of its own. Written in
digits -1, 0 and 1, the values of a few outputs leave few patterns: with three outputs of ternary values a bit belongs
to one of 13, up to its sign. The bits of a pattern are counted once, and every output adds the counts, not the bits. A
digit of -1 adds the opposite bit and takes 1 off a constant; so does the opposite of a count in an adder.

Counts of up to six bits are tables; adders have three operands, which one row of lookup tables and one carry chain add.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lutra.errors import MismatchError
from lutra.frozen.types import IntArray

TABLE_BITS = 6
PAIRED_BITS = 5
"""Inputs up to which two tables fit into one."""
OPERANDS = 3
LARGEST_GROUP = 4


@dataclass(frozen=True)
class Number:
    """A word of the graph, never negative: its name, its bits, and the largest value it takes."""

    name: str
    high: int

    @property
    def bits(self) -> int:
        return max(1, self.high.bit_length())


@dataclass(frozen=True)
class Operand:
    """A number, or all of its bits inverted, moved up by `shift` places."""

    number: Number
    shift: int = 0
    inverted: bool = False

    @property
    def high(self) -> int:
        """The largest value; an inverted number can be as large as its bits allow."""
        return ((1 << self.number.bits) - 1 if self.inverted else self.number.high) << self.shift

    @property
    def top(self) -> int:
        """Places that it reaches."""
        return self.number.bits + self.shift


@dataclass(frozen=True)
class Count:
    """number = how many of `places`, summed bits of a row, are 1, or 0 for those in `inverted`."""

    number: Number
    places: tuple[int, ...]
    inverted: frozenset[int]

    @property
    def halves(self) -> int:
        """Halves of lookup tables; the place itself where it is one."""
        if len(self.places) == 1:
            return 0
        return (2 if len(self.places) > PAIRED_BITS else 1) * self.number.bits


@dataclass(frozen=True)
class Adder:
    """number = the sum of two or three operands."""

    number: Number
    operands: tuple[Operand, ...]

    @property
    def halves(self) -> int:
        return _adder_halves(self.operands, 0, self.number.bits)


@dataclass(frozen=True)
class Output:
    """One sum, modulo 2^bits: at most three operands, or two and a constant that is not 0."""

    operands: tuple[Operand, ...]
    constant: int

    @property
    def adds(self) -> bool:
        """Whether there is more than one thing to add."""
        return len(self.operands) + bool(self.constant) > 1

    def halves(self, bits: int) -> int:
        """As of an adder, in which a constant is an operand that begins at the lowest place."""
        return _adder_halves(self.operands, self.constant, bits) if self.adds else 0


def _adder_halves(operands: Sequence[Operand], constant: int, bits: int) -> int:
    """Halves of lookup tables of an adder in front of its carry chain, from the lowest place in which two things meet.

    Of three terms, a place has a table for its sum and one for its carry where it gets more than one bit.
    """
    starts = sorted(operand.shift for operand in operands)
    three = len(operands) + bool(constant) == OPERANDS
    meet = (sum(each.shift <= place < each.top for each in operands) > 1 for place in range(bits))
    places = list(meet)[starts[0] if constant else starts[1] :]
    return len(places) + (sum(places) if three else 0)


@dataclass
class AdderGraph:
    """The sums of all outputs; `counts` and `adders` in an order in which each reads what comes before it."""

    bits: int
    """Of a sum, two's complement."""
    places: int
    counts: list[Count] = field(default_factory=list)
    adders: list[Adder] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    _known: dict[object, Number] = field(default_factory=dict, repr=False)
    """Numbers by what they are made of: nothing is counted or added twice."""

    @property
    def levels(self) -> dict[str, int]:
        """How many adders stand between the bits and each number, at most."""
        levels = {count.number.name: 0 for count in self.counts}
        for adder in self.adders:
            levels[adder.number.name] = 1 + max(levels[operand.number.name] for operand in adder.operands)
        return levels

    @property
    def output_levels(self) -> list[int]:
        """The same of the outputs; one that is a number, or constant, needs no adder."""
        levels = self.levels
        return [
            max((levels[operand.number.name] for operand in output.operands), default=0) + output.adds
            for output in self.outputs
        ]

    @property
    def depth(self) -> int:
        """Levels of adders."""
        return max(self.output_levels)

    @property
    def luts(self) -> int:
        """Lookup tables that the graph takes, of six inputs, or two of at most five as packing pairs them."""
        parts = sum(count.halves for count in self.counts) + sum(adder.halves for adder in self.adders)
        return -(-(parts + sum(output.halves(self.bits) for output in self.outputs)) // 2)

    def count(self, places: Sequence[int], inverted: Iterable[int]) -> Number:
        """The count of at most `TABLE_BITS` bits."""
        made = tuple(places), frozenset(inverted)
        if made not in self._known:
            self._known[made] = Number(f"count_{len(self.counts)}", len(places))
            self.counts.append(Count(self._known[made], *made))
        return self._known[made]

    def add(self, operands: Sequence[Operand]) -> Operand:
        """The sum of two or three operands."""
        shift = min(operand.shift for operand in operands)
        moved = tuple(Operand(each.number, each.shift - shift, each.inverted) for each in operands)
        if moved not in self._known:
            self._known[moved] = Number(f"sum_{len(self.adders)}", sum(operand.high for operand in moved))
            self.adders.append(Adder(self._known[moved], moved))
        return Operand(self._known[moved], shift)

    def reduced(self, operands: Sequence[Operand], left: int) -> list[Operand]:
        """The same sum from at most `left` operands (1 or 3): the narrowest are added first, three at a time."""
        rest = sorted(operands, key=lambda operand: operand.top)
        while len(rest) > left:
            # Two only where three at a time would not come out even.
            taken = 2 if (len(rest) - left) % (OPERANDS - 1) else OPERANDS
            rest = sorted([self.add(rest[:taken]), *rest[taken:]], key=lambda operand: operand.top)
        return rest


def adder_graph(encoded: IntArray, start: IntArray, bits: int) -> AdderGraph:
    """The graph of `start[d] + sum_r in[r] * encoded[r, d]` in `bits` bits, for `encoded` (R, D) and `start` (D,).

    Digits are grouped in a few ways, of which the cheapest is taken.
    """
    built = []
    for digits in (_binary_digits(encoded), _sparse_digits(encoded)):
        planes = [(d, k) for d in range(encoded.shape[1]) for k in range(len(digits)) if digits[k][:, d].any()]
        for by_place in (False, True):
            columns = sorted(planes, key=lambda column: column[1]) if by_place else planes
            for size in range(1, LARGEST_GROUP + 1):
                groups = [columns[i : i + size] for i in range(0, len(columns), size)]
                built.append(_Builder(digits, start, bits).build(groups))
    return min(built, key=lambda graph: graph.luts)


def _binary_digits(encoded: IntArray) -> IntArray:
    """The digits of the magnitudes with the values' signs, (places, R, D)."""
    places = max(1, int(np.abs(encoded).max(initial=0)).bit_length())
    digits: IntArray = np.sign(encoded) * (np.abs(encoded) >> np.arange(places)[:, None, None] & 1)
    return digits


def _sparse_digits(encoded: IntArray) -> IntArray:
    """Digits -1, 0 and 1 of which no two neighbours differ from 0, (places, R, D)."""
    planes: list[IntArray] = []
    rest = encoded.copy()
    while rest.any() or not planes:
        odd = rest & 1
        digit = np.where(odd == 1, 2 - (rest & 3), 0)
        planes.append(digit)
        rest = (rest - digit) >> 1
    return np.stack(planes)


class _Builder:
    def __init__(self, digits: IntArray, start: IntArray, bits: int) -> None:
        self.digits = digits  # (places, R, D)
        self.graph = AdderGraph(bits, digits.shape[1])
        self.constants = [int(value) for value in start]
        self.heaps: list[list[Operand]] = [[] for _ in self.constants]

    def build(self, groups: list[list[tuple[int, int]]]) -> AdderGraph:
        """The graph with the digits (output, place) of each group counted together."""
        for columns in groups:
            counts = self._pattern_counts(np.stack([self.digits[k][:, d] for d, k in columns], axis=1))
            for first in range(0, len(columns), 2):
                self._add_columns(columns, list(range(first, min(first + 2, len(columns)))), counts)
        mask = (1 << self.graph.bits) - 1
        for output, heap in enumerate(self.heaps):
            constant = self.constants[output] & mask
            # A constant takes the place of an operand.
            left = OPERANDS - 1 if constant else OPERANDS
            operands = self.graph.reduced(heap, OPERANDS)
            if len(operands) > left:
                operands = [self.graph.add(operands[:2]), *operands[2:]]
            self.graph.outputs.append(Output(tuple(operands), constant))
        return self.graph

    def _pattern_counts(self, patterns: IntArray) -> dict[tuple[int, ...], tuple[Number, int]]:
        """For each pattern of digits that occurs, with a 1 as its first digit but zeros: how many more bits are 1 that
        have it than bits that have the opposite. That is the number less the integer."""
        leading = np.take_along_axis(patterns, (patterns != 0).argmax(axis=1)[:, None], axis=1)[:, 0]
        counts = {}
        for pattern in np.unique(patterns * leading[:, None], axis=0):
            if pattern.any():
                own = np.flatnonzero((patterns * leading[:, None] == pattern).all(axis=1) & (leading != 0))
                inverted = {int(row) for row in own if leading[row] < 0}
                parts = [own[i : i + TABLE_BITS].tolist() for i in range(0, len(own), TABLE_BITS)]
                operands = [Operand(self.graph.count(part, inverted.intersection(part))) for part in parts]
                (total,) = self.graph.reduced(operands, 1)
                counts[tuple(int(digit) for digit in pattern)] = total.number, len(inverted)
        return counts

    def _add_columns(
        self, columns: list[tuple[int, int]], own: list[int], counts: dict[tuple[int, ...], tuple[Number, int]]
    ) -> None:
        """Put counts onto the heaps of one or two columns; what both add or subtract is added up once."""
        shared: dict[tuple[int, ...], list[tuple[Operand, int]]] = {}
        for pattern, (number, offset) in counts.items():
            part = tuple(pattern[index] for index in own)
            sign = next((digit for digit in part if digit), 0)
            if sign:
                operand = Operand(number, inverted=sign < 0)
                # The opposite of a word is its inverse and 1, less a power of two.
                constant = offset * -sign - ((1 << number.bits) - 1 if sign < 0 else 0)
                shared.setdefault(tuple(digit * sign for digit in part), []).append((operand, constant))
        for part, terms in shared.items():
            operands, constant = [operand for operand, _ in terms], sum(constant for _, constant in terms)
            if sum(map(abs, part)) > 1:
                operands = self.graph.reduced(operands, 1)
            for index, digit in zip(own, part, strict=True):
                self._put(columns[index], digit, operands, constant)

    def _put(self, column: tuple[int, int], digit: int, operands: Sequence[Operand], constant: int) -> None:
        """Add a digit times the sum of `operands` and `constant` to one column."""
        output, place = column
        if digit:
            self.constants[output] += digit * constant << place
        for operand in operands if digit else ():
            moved = Operand(operand.number, operand.shift + place, operand.inverted != (digit < 0))
            self.heaps[output].append(moved)
            if digit < 0:
                self.constants[output] -= (1 << operand.number.bits) - 1 << operand.shift + place


def prove(graph: AdderGraph, encoded: IntArray, start: IntArray) -> None:
    """Prove that the graph is the sum, for all values of the bits.

    Every number is followed as the integers by which it multiplies each bit, and a constant: counts and adders are
    exact if their words hold all values, so that two forms are equal where all these integers are.

    Raises:
        MismatchError: a word is too narrow, or an output adds something else.
    """
    forms: dict[str, tuple[IntArray, int]] = {}

    def of(operand: Operand) -> tuple[IntArray, int]:
        weights, constant = forms[operand.number.name]
        if operand.inverted:
            weights, constant = -weights, (1 << operand.number.bits) - 1 - constant
        return weights << operand.shift, constant << operand.shift

    def keep(number: Number, weights: IntArray, constant: int) -> None:
        low, high = constant + int(weights[weights < 0].sum()), constant + int(weights[weights > 0].sum())
        if low < 0 or high > number.high or number.high >> number.bits:
            raise MismatchError(f"adder graph: {number.name} holds 0 to {number.high}, but becomes {low} to {high}")
        forms[number.name] = weights, constant

    for count in graph.counts:
        weights = np.zeros(graph.places, np.int64)
        for place in count.places:
            weights[place] += -1 if place in count.inverted else 1
        keep(count.number, weights, len(count.inverted))
    for adder in graph.adders:
        parts = [of(operand) for operand in adder.operands]
        keep(adder.number, sum((part[0] for part in parts), np.zeros(graph.places, np.int64)), sum(p[1] for p in parts))
    for d, output in enumerate(graph.outputs):
        parts = [of(operand) for operand in output.operands]
        weights = sum((part[0] for part in parts), np.zeros(graph.places, np.int64))
        constant = output.constant + sum(part[1] for part in parts)
        if (weights != encoded[:, d]).any() or (constant - int(start[d])) % (1 << graph.bits):
            raise MismatchError(f"adder graph: output {d} adds other values than those encoded")
