"""A frozen model: programs of integer operations in execution order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from lutra.errors import FrozenModelError
from lutra.frozen.ops import ConditionalSum, LutLayer, Operation, Requantise, Thermometer
from lutra.frozen.types import TensorType, Value, type_problem
from lutra.limits import OPERATIONS, WIDTH
from lutra.names import name_problem, shown

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""Version 1 has neither `program` nor the operations of whole models; what it has means the same."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A program: operations from one named input to one output, which the last operation writes.

    `name` is the path of the module that it was frozen from, such as "transformer.h.0.mlp". A value is rows of
    integers. Programs whose operations treat every row alone take any rows; others take sequences (`is_positional`).
    """

    name: str
    input: str
    input_type: TensorType
    input_width: int
    ops: tuple[Operation, ...]
    input_rows: int | None = None
    """Rows of a sequence; None: one for each token, however many there are."""

    @property
    def output(self) -> str:
        return self.ops[-1].output

    @property
    def output_type(self) -> TensorType:
        return self.values()[self.output].type

    @property
    def output_width(self) -> int:
        return self.values()[self.output].width

    @property
    def is_positional(self) -> bool:
        """Whether an operation sees more than one row at a time, or where a row stands."""
        return any(op.positional for op in self.ops)

    @property
    def context(self) -> int | None:
        """How many tokens a sequence can have; None where nothing bounds it."""
        return self.values()[self.output].context

    @property
    def input_value(self) -> Value:
        return Value(self.input_type, self.input_width, self.input_rows)

    def values(self) -> dict[str, Value]:
        """Type and shape of every value, by name."""
        return dict(self._values)

    @cached_property
    def _values(self) -> dict[str, Value]:
        values = {self.input: self.input_value}
        for op in self.ops:
            values[op.output] = op.result([values[name] for name in op.inputs])
        return values

    def types(self) -> dict[str, TensorType]:
        """The type of every value, by name."""
        return {name: value.type for name, value in self.values().items()}

    def widths(self) -> dict[str, int]:
        """The width of every value, by name."""
        return {name: value.width for name, value in self.values().items()}

    def check(self) -> None:
        """Check names, shapes and ranges.

        Raises:
            FrozenModelError: the first thing that is off, with its place.
        """
        if problem := name_problem(self.name):
            raise FrozenModelError(f"the name of a graph {problem}")
        if not 1 <= len(self.ops) <= OPERATIONS:
            raise FrozenModelError(f"{self.name}: {len(self.ops)} operations; a graph has 1 to {OPERATIONS}")
        for what, size in (("width", self.input_width), ("rows", 1 if self.input_rows is None else self.input_rows)):
            if type(size) is not int or not 1 <= size <= WIDTH:
                raise FrozenModelError(f"{self.name}: input.{what} must be an integer from 1 to {WIDTH}")
        for value in (self.input, *(op.output for op in self.ops)):
            if problem := name_problem(value):
                raise FrozenModelError(f"{self.name}: the name of a value {problem}")
        if problem := type_problem(self.input_type):
            raise FrozenModelError(f"{self.name}: input.type {problem}; freeze it again")
        values = {self.input: self.input_value}
        for position, op in enumerate(self.ops):
            where = f"{self.name}, operation {position}"
            unknown = [name for name in op.inputs if name not in values]
            if unknown or not op.inputs or op.output in values:
                read = ", ".join(map(shown, unknown or op.inputs)) or "nothing"
                raise FrozenModelError(f"{where}: {op.kind} reads {read} or writes {op.output} twice")
            if len(op.inputs) > OPERATIONS:
                raise FrozenModelError(f"{where}: {op.kind} reads more than {OPERATIONS} values")
            inputs = [values[name] for name in op.inputs]
            op.check_fields(where)
            op.check(inputs, where)
            values[op.output] = op.result(inputs)


@dataclass(frozen=True, eq=False)
class WeightlessBlock:
    """A graph seen as the weightless block of QuWeiT (section 3.1)."""

    graph: Graph
    thermometer: Thermometer
    lut_layers: tuple[LutLayer, ...]
    summation: ConditionalSum
    requantise: Requantise


@dataclass(frozen=True, eq=False)
class FrozenModel:
    """All frozen blocks of a model, the whole model where it was frozen whole, and where it came from.

    `origin` (recipe hash, seed, versions) is for people and never used.
    """

    graphs: tuple[Graph, ...]
    origin: dict[str, str] = field(default_factory=dict)
    whole: Graph | None = None
    """From tokens or pixels to logits; `graphs` are then parts of it."""

    @classmethod
    def of_whole(cls, whole: Graph, origin: dict[str, str] | None = None) -> FrozenModel:
        """A model frozen whole, its weightless blocks among `graphs`."""
        return cls(weightless_parts(whole), origin or {}, whole)

    def __getitem__(self, name: str) -> Graph:
        for graph in self.graphs:
            if graph.name == name:
                return graph
        raise FrozenModelError(f"no graph named {name}; there are {', '.join(graph.name for graph in self.graphs)}")

    def require_whole(self) -> Graph:
        """The whole model.

        Raises:
            FrozenModelError: only its blocks were frozen.
        """
        if self.whole is None:
            raise FrozenModelError("only the blocks of this model were frozen; run `lutra freeze` again for all of it")
        return self.whole


def weightless_parts(program: Graph) -> tuple[Graph, ...]:
    """The weightless blocks of a program as graphs of their own, in order: rows "x" to the first requantise.

    A block is named by what its values' names share: "h.0.mlp" for "h.0.mlp.bits0" to "h.0.mlp.y", in the block "bits0"
    to "y".
    """
    values, parts = program.values(), []
    for name, (source, first) in _blocks(program).items():
        ends = (i for i in range(first, len(program.ops)) if isinstance(program.ops[i], Requantise))
        ops = program.ops[first : next(ends, len(program.ops) - 1) + 1]
        short = {source: "x"} | {op.output: op.output.removeprefix(f"{name}.") for op in ops}
        renamed = (
            replace(op, inputs=tuple(short.get(each, each) for each in op.inputs), output=short[op.output])
            for op in ops
        )
        parts.append(Graph(name, "x", values[source].type, values[source].width, tuple(renamed)))
    return tuple(parts)


def block_inputs(program: Graph) -> dict[str, str]:
    """The program's value that each of its weightless blocks reads, by the block's name."""
    return {name: source for name, (source, _) in _blocks(program).items()}


def _blocks(program: Graph) -> dict[str, tuple[str, int]]:
    """What each weightless block reads, and the position of its first operation."""
    return {
        op.output.rpartition(".")[0] or program.name: (op.inputs[0], position)
        for position, op in enumerate(program.ops)
        if isinstance(op, Thermometer)
    }


def as_weightless(graph: Graph) -> WeightlessBlock:
    """View a graph as a weightless block.

    Raises:
        FrozenModelError: the operations are not thermometer, LUT layers, conditional sum, requantise in this order,
            each LUT layer reading the value before it and the sum reading bits of any of them.
    """
    ops = graph.ops
    if (
        len(ops) >= 4
        and isinstance(ops[0], Thermometer)
        and isinstance(ops[-2], ConditionalSum)
        and isinstance(ops[-1], Requantise)
        and ops[-1].inputs == (ops[-2].output,)
    ):
        lut_layers = tuple(op for op in ops[1:-2] if isinstance(op, LutLayer))
        chained = all(op.inputs == (before.output,) for before, op in zip(ops, lut_layers, strict=False))
        if len(lut_layers) == len(ops) - 3 and chained:
            return WeightlessBlock(graph, ops[0], lut_layers, ops[-2], ops[-1])
    raise FrozenModelError(f"{graph.name}: not a weightless block; this step handles only those")
