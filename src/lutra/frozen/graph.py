"""A frozen model: named graphs of integer operations in execution order."""

from __future__ import annotations

from dataclasses import dataclass, field

from lutra.errors import FrozenModelError
from lutra.frozen.ops import (
    ConditionalSum,
    LutLayer,
    Operation,
    Requantise,
    Thermometer,
    check_operation,
    output_type,
)
from lutra.frozen.types import TensorType, type_problem
from lutra.limits import OPERATIONS, WIDTH
from lutra.names import name_problem, shown

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Graph:
    """Operations from one input row to one output row; the last operation writes the output.

    `name` is the path of the module that the graph was frozen from, such as "transformer.h.0.mlp".
    """

    name: str
    input: str
    input_type: TensorType
    input_width: int
    ops: tuple[Operation, ...]

    @property
    def output(self) -> str:
        return self.ops[-1].output

    @property
    def output_type(self) -> TensorType:
        return self.types()[self.output]

    @property
    def output_width(self) -> int:
        return self.ops[-1].width

    def types(self) -> dict[str, TensorType]:
        """The type of every value, by name."""
        types = {self.input: self.input_type}
        for op in self.ops:
            types[op.output] = output_type(op, [types[name] for name in op.inputs])
        return types

    def widths(self) -> dict[str, int]:
        """The width of every value, by name."""
        return {self.input: self.input_width} | {op.output: op.width for op in self.ops}

    def check(self) -> None:
        """Check names, shapes and ranges.

        Raises:
            FrozenModelError: the first thing that is off, with its place.
        """
        if problem := name_problem(self.name):
            raise FrozenModelError(f"the name of a graph {problem}")
        if not 1 <= len(self.ops) <= OPERATIONS:
            raise FrozenModelError(f"{self.name}: {len(self.ops)} operations; a graph has 1 to {OPERATIONS}")
        if type(self.input_width) is not int or not 1 <= self.input_width <= WIDTH:
            raise FrozenModelError(f"{self.name}: input.width must be an integer from 1 to {WIDTH}")
        for value in (self.input, *(op.output for op in self.ops)):
            if problem := name_problem(value):
                raise FrozenModelError(f"{self.name}: the name of a value {problem}")
        if problem := type_problem(self.input_type):
            raise FrozenModelError(f"{self.name}: input.type {problem}; freeze it again")
        types, widths = {self.input: self.input_type}, {self.input: self.input_width}
        for position, op in enumerate(self.ops):
            where = f"{self.name}, operation {position}"
            unknown = [name for name in op.inputs if name not in types]
            if unknown or not op.inputs or op.output in types:
                read = ", ".join(map(shown, unknown or op.inputs)) or "nothing"
                raise FrozenModelError(f"{where}: {op.kind} reads {read} or writes {op.output} twice")
            if len(op.inputs) > OPERATIONS:
                raise FrozenModelError(f"{where}: {op.kind} reads more than {OPERATIONS} values")
            check_operation(op, [types[name] for name in op.inputs], [widths[name] for name in op.inputs], where)
            types[op.output] = output_type(op, [types[name] for name in op.inputs])
            widths[op.output] = op.width


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
    """All frozen graphs of a model, and where they came from (`origin`: recipe hash, seed, versions; never used)."""

    graphs: tuple[Graph, ...]
    origin: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Graph:
        for graph in self.graphs:
            if graph.name == name:
                return graph
        raise FrozenModelError(f"no graph named {name}; there are {', '.join(graph.name for graph in self.graphs)}")


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
