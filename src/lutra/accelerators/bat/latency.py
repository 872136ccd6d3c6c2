"""How many cycles a step of BAT takes, as a closed form over parallelisms and sizes.

In a step rows flow through a chain of units with a buffer of two rows between each two. A unit takes a row every
`interval` cycles and passes its end on `latency` cycles later; both are constants of the step. Then the chain takes
`sum(interval + latency) + (rows - 1) * max(interval)`; where paths part or meet, the longest path decides. All
functions take whole numbers or NumPy arrays of them: parallelisms may be arrays, so that millions of points take about
a second. `schedule.py` predicts the same for one configuration from a program's instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from lutra.accelerators.bat import schedule
from lutra.accelerators.bat.products import READ_TO_SUM
from lutra.recipes.bert_config import BertConfig

Count = Any
"""An int, or an integer array; all counts of an expression broadcast."""
HALFS_PER_BEAT = 8


class Lanes(Protocol):
    """Parallelism of a module: a `ModuleConfig`, or arrays of values."""

    @property
    def p_dpu(self) -> Count: ...
    @property
    def p_pe(self) -> Count: ...
    @property
    def p_quan(self) -> Count: ...
    @property
    def p_vu(self) -> Count: ...
    @property
    def p_ln(self) -> Count: ...
    @property
    def p_softmax(self) -> Count: ...


@dataclass(frozen=True)
class Shape:
    """What a sentence makes a module compute."""

    tokens: int
    width: int
    """Of the residual."""
    heads: int
    head_width: int
    intermediate: int
    copies: int
    """Binary copies that add up to a weight."""
    bits: int
    """Of an activation."""

    @property
    def attention_width(self) -> int:
        return self.heads * self.head_width

    @classmethod
    def of(cls, model: BertConfig, tokens: int) -> Shape:
        quantisation = model.quantisation
        return cls(
            tokens,
            model.width,
            model.heads,
            model.head_width,
            model.intermediate,
            quantisation.copies,
            quantisation.activation_bits,
        )

    @property
    def products(self) -> int:
        """Multiplications of a layer, each with its addition, over all copies and with those of scores and contexts."""
        linear = 4 * self.width * self.attention_width + 2 * self.width * self.intermediate
        return self.tokens * (self.copies * linear + 2 * self.tokens * self.attention_width)


@dataclass(frozen=True)
class Memory:
    """External memory as one port sees it (axi_memory.h)."""

    latency: Count = 32
    gap: Count = 1


@dataclass(frozen=True)
class Timing:
    """Cycles that belong to how units are built, not to how wide they are: registers from a beat to its result."""

    engine: int = READ_TO_SUM
    vector: int = schedule.VECTOR
    shortest_pass: int = schedule.SHORTEST_PASS
    """Of the vector unit, where a row takes several."""
    quantise: int = schedule.QUANTISE
    scale: int = schedule.QUANTISE_SCALED
    """The quantisation unit where it multiplies, with 8 bits."""
    softmax: tuple[int, int, int] = (schedule.SOFTMAX_MAX, schedule.SOFTMAX_EXP, schedule.SOFTMAX_SCALE)
    norm: tuple[int, int, int] = (schedule.NORM_MEAN, schedule.NORM_ROOT, schedule.NORM_SCALE)
    trees: bool = True
    """The first part of the layer norm and the second ones add lanes up in trees with registers."""
    planes: bool = True
    """Keys and values are stored bit plane by bit plane."""
    stored: int = schedule.STORE
    """From the last code to its writing, and that the step is over."""
    next_step: int = 1
    """From the end of a step to the start of the next."""
    request: int = 1
    """From the start of a transfer to its address."""

    def tree(self, lanes: Count) -> Count:
        """Registers of an adder tree that adds four numbers per level."""
        if not self.trees:
            return 0
        return np.maximum(1, np.ceil(np.log2(lanes) / 2).astype(np.int64))


BUILT = Timing()
"""The RTL."""
IDEAL = Timing(0, 0, 1, 0, 0, (0, 0, 0), (0, 0, 0), False, False, 0, 0)
"""No registers, one cycle per beat: what the parallelisms alone allow."""
NO_WAIT = Memory(latency=0)


@dataclass(frozen=True)
class Unit:
    """Of a chain."""

    name: str
    interval: Count
    """Cycles per row."""
    latency: Count
    """From the last beat of a row to its last result in the buffer behind."""
    late: Count = 0
    """Cycles of the interval after which the row of this path is wanted; the unit works on another one before."""


Path = tuple[Unit, ...]


@dataclass(frozen=True)
class Step:
    """All paths from where rows of a step come from to where they go."""

    name: str
    rows: int
    paths: tuple[Path, ...]

    def cycles(self, timing: Timing = BUILT) -> Count:
        """From its start to that of the next step."""
        return _largest([chain_cycles(path, self.rows) for path in self.paths]) + timing.next_step

    def bottleneck(self) -> str:
        """The unit with the longest interval; of scalar parallelisms only."""
        units = [unit for path in self.paths for unit in path]
        return max(units, key=lambda unit: int(unit.interval)).name


def chain_cycles(path: Sequence[Unit], rows: int) -> Count:
    """The closed form: from the start to the end of the last row."""
    total: Count = 0
    for unit in path:  # one that wants its row late has begun with another one, at the start at the earliest
        total = np.maximum(total + unit.interval - unit.late, unit.interval) + unit.latency
    return total + (rows - 1) * _largest([unit.interval for unit in path])


def row_by_row(path: Sequence[Unit], rows: int) -> int:
    """The same by following every row: what the closed form is a solution of; of scalar parallelisms only.

    A unit begins a row when it has ended the row before and the row has left the unit before; its results need a place
    in the buffer behind it, which the row before the last must have left.
    """
    left = [[0] * len(path) for _ in range(rows)]  # cycle in which a unit took the last beat of a row
    passed = [[0] * len(path) for _ in range(rows)]  # and in which its last result went into the buffer behind
    for row in range(rows):
        for place, unit in enumerate(path):
            came = passed[row][place - 1] if place else 0
            before = left[row - 1][place] if row else 0
            end = max(came - int(unit.late), before) + int(unit.interval) + int(unit.latency)
            if row > 1 and place + 1 < len(path):
                end = max(end, left[row - 2][place + 1] + int(unit.interval))
            passed[row][place], left[row][place] = end, end - int(unit.latency)
    return passed[-1][-1]


def _largest(values: Sequence[Count]) -> Count:
    largest = values[0]
    for value in values[1:]:
        largest = np.maximum(largest, value)
    return largest


def _over(count: Count, lanes: Count) -> Count:
    """Beats of `lanes` elements."""
    return -(-count // lanes)


class Module:
    """Steps of a module with these lanes, for sentences of one shape.

    `memory` is that of the port for rows. Lanes may be arrays; then so are all cycles.
    """

    def __init__(self, lanes: Lanes, shape: Shape, memory: Memory, timing: Timing = BUILT) -> None:
        self._lanes, self._shape, self._memory, self._timing = lanes, shape, memory, timing

    @property
    def attention(self) -> tuple[Step, ...]:
        """Queries, keys and values; scores; contexts; output."""
        shape = self._shape
        width, tokens, of_heads = shape.attention_width, shape.tokens, shape.heads * shape.tokens
        scores = self._engine(tokens, shape.head_width, planes=True)
        contexts = self._engine(shape.head_width, tokens, planes=True)
        softmax = self._softmax()
        return (
            self._step(
                "query_key_value",
                tokens,
                self._linear(3 * width, shape.width),
                self._vector(3 * width, shape.copies),
                self._stored_planes(),
            ),
            self._step("scores", of_heads, scores, self._vector(tokens, 1), *softmax, self._stored(tokens)),
            self._step(
                "contexts", of_heads, contexts, self._vector(shape.head_width, 1), self._stored(shape.head_width)
            ),
            self._output("output", width, stored=True),
        )

    def feed_forward(self, last: bool = False) -> tuple[Step, ...]:
        """Hidden, output; of the `last` layer nothing is quantised any more."""
        shape = self._shape
        inner = shape.intermediate
        hidden = self._step(
            "hidden",
            shape.tokens,
            self._linear(inner, shape.width),
            self._vector(inner, shape.copies),
            self._stored(inner),
        )
        return hidden, self._output("output", inner, stored=not last)

    @property
    def quantise(self) -> Step:
        """Rows of memory that become the codes of the first block."""
        shape = self._shape
        return self._step("quantise", shape.tokens, self._read(), self._stored(shape.width))

    def _step(self, name: str, rows: int, *units: Unit) -> Step:
        return Step(name, rows, (units,))

    def _output(self, name: str, inputs: int, stored: bool) -> Step:
        """Linear, residual, layer norm: rows come from the engine and from memory, go to memory and become codes."""
        shape = self._shape
        passes = shape.copies + 1
        vector = self._vector(shape.width, passes)
        # A row of memory is wanted in the last pass.
        residual = replace(vector, late=vector.interval // passes * shape.copies)
        starts = (self._linear(shape.width, inputs), vector), (self._read(), residual)
        ends = (self._write(), self._stored(shape.width)) if stored else (self._write(),)
        paths = tuple((*start, *self._norm(), end) for start in starts for end in ends)
        return Step(name, shape.tokens, paths)

    def _engine(self, outputs: int, inputs: int, planes: bool, copies: int = 1) -> Unit:
        bits = self._shape.bits if planes else 1
        reads = copies * _over(outputs, self._lanes.p_dpu) * _over(inputs, self._lanes.p_pe) * bits
        return Unit("engine", reads, self._timing.engine)

    def _linear(self, outputs: int, inputs: int) -> Unit:
        return self._engine(outputs, inputs, planes=False, copies=self._shape.copies)

    def _vector(self, outputs: int, passes: int) -> Unit:
        beats = _over(outputs, self._lanes.p_vu)
        slots = beats if passes == 1 else np.maximum(beats, self._timing.shortest_pass)
        # The last pass is over with its last beat, the unit with its last slot.
        return Unit("vector unit", passes * slots, self._timing.vector - (slots - beats))

    def _softmax(self) -> Path:
        beats, tree = _over(self._shape.tokens, self._lanes.p_softmax), self._timing.tree(self._lanes.p_softmax)
        first, second, third = self._timing.softmax
        return Unit("softmax", beats, first), Unit("softmax", beats, second + tree), Unit("softmax", beats, third)

    def _norm(self) -> Path:
        beats, tree = _over(self._shape.width, self._lanes.p_ln), self._timing.tree(self._lanes.p_ln)
        first, second, third = self._timing.norm
        name = "layer norm"
        return Unit(name, beats, first + tree), Unit(name, beats, second + tree), Unit(name, beats, third)

    def _stored(self, columns: int) -> Unit:
        """Quantisation unit and what writes its codes as rows."""
        return Unit("quantisation unit", _over(columns, self._lanes.p_quan), self._quantised + self._timing.stored)

    def _stored_planes(self) -> Unit:
        """The same for queries, keys and values."""
        shape, lanes, width = self._shape, self._lanes, self._shape.attention_width
        beats, cycles = _over(width, lanes.p_quan), 3 * _over(width, lanes.p_quan)
        if self._timing.planes:
            together = np.gcd(np.gcd(lanes.p_quan, lanes.p_dpu), shape.head_width)
            cycles = beats + shape.bits * (beats + width // together)
        return Unit("quantisation unit", cycles, self._quantised + self._timing.stored)

    @property
    def _quantised(self) -> int:
        return self._timing.quantise if self._shape.bits <= 4 else self._timing.scale

    @property
    def _row_beats(self) -> int:
        return int(_over(self._shape.width, HALFS_PER_BEAT))

    def _read(self) -> Unit:
        """Rows from memory: the first beat comes after the latency, then one every gap."""
        memory = self._memory
        wait = self._timing.request + memory.latency - memory.gap
        return Unit("rows from memory", self._row_beats * memory.gap, wait)

    def _write(self) -> Unit:
        """Rows to memory, and the confirmation of the last one."""
        memory = self._memory
        return Unit("rows to memory", self._row_beats * memory.gap, 1 - memory.gap + memory.latency)


def total(steps: Sequence[Step], timing: Timing = BUILT) -> Count:
    """Cycles of steps that follow each other without waiting for anything."""
    return sum(step.cycles(timing) for step in steps)
