"""Turns a frozen whole transformer into the program and the memory contents of a transformer machine.

Columns are padded so that every value ends with a whole tile: by columns whose weights, biases and multipliers are 0,
and which therefore stay 0. A head's columns are padded on their own, and the rows of the weights behind it with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from lutra.accelerators.transformer import packing
from lutra.accelerators.transformer.config import MEMORY_SIZES, TransformerConfig
from lutra.accelerators.transformer.image import Image, Place, rows_of
from lutra.accelerators.transformer.layout import chunk_major, round_up
from lutra.accelerators.transformer.packing import Memory
from lutra.accelerators.transformer.program import Op, Step, Target
from lutra.errors import InputError
from lutra.frozen.graph import Graph, weightless_parts
from lutra.frozen.ops import (
    Attention,
    ConditionalSum,
    Embedding,
    LayerNorm,
    LutLayer,
    MatMul,
    Operation,
    Patches,
    Positions,
    Requantise,
    Residual,
    Select,
    Table,
    Thermometer,
)
from lutra.frozen.types import IntArray

Kind = TypeVar("Kind", bound=Operation)


def compile_model(program: Graph, config: TransformerConfig) -> Image:
    """The image of a whole model.

    Raises:
        InputError: an operation or a size that the machine does not have.
    """
    writer = _Writer(program, config)
    writer.compile()
    needed = writer.memory_words()
    for memory, name in MEMORY_SIZES.items():
        if needed[memory] > (has := getattr(config, name)):
            raise InputError(f"transformer: {program.name} needs {name} {needed[memory]}, the machine has {has}")
    if writer.depth > config.depth:
        raise InputError(
            f"transformer: {program.name} has sums of {writer.depth} terms, the machine adds {config.depth}"
        )
    return writer.image(config)


def sized_for(
    program: Graph,
    size: int,
    lanes: int | None = None,
    norm_lanes: int | None = None,
    rows: int | None = None,
    overlap: bool = False,
) -> TransformerConfig:
    """The smallest machine of a `size` that runs a whole model; as many lanes as the array has columns, and one for
    the norm, unless they are given; for `rows` rows of a sequence where the model takes more; with `overlap` one whose
    steps overlap.

    Raises:
        InputError: an operation that the machine does not have, or a value out of range.
    """
    lanes, most = lanes or size, program.context if program.input_rows is None else rows_of(program)
    if most is None or not program.is_positional:
        raise InputError(f"transformer: {program.name} has no bound on its rows; freeze a whole model")
    most = round_up(min(most, rows or most), max(1, size))
    depth = 1 << (max(size, most) - 1).bit_length()
    pixels = isinstance(program.ops[0], Patches)
    draft = TransformerConfig.from_mapping(
        {"size": size, "lanes": lanes, "norm_lanes": norm_lanes or 1, "rows": most, "depth": depth}
        | {"pixels": pixels, "overlap": overlap}
        | dict.fromkeys(MEMORY_SIZES.values(), 1)
    )
    writer = _Writer(program, draft)
    writer.compile()
    depth = max(depth, 1 << (writer.depth - 1).bit_length())
    sizes = {name: writer.memory_words()[memory] for memory, name in MEMORY_SIZES.items()}
    return TransformerConfig.from_mapping(draft.to_mapping() | sizes | {"depth": depth})


class _Writer:
    """Walks a program and writes steps."""

    def __init__(self, program: Graph, config: TransformerConfig) -> None:
        self.program, self.config = program, config
        self.values = program.values()
        self.steps: list[Step] = []
        self.places: dict[str, Place] = {}
        self.read_by: dict[str, list[Operation]] = {}
        for op in program.ops:
            for name in op.inputs:
                self.read_by.setdefault(name, []).append(op)
        self.memories = {
            "weights": Memory(config.size),
            "constants": Memory(config.lanes),
            "norms": Memory(config.norm_lanes),
            "tokens": Memory(config.lanes),
            "positions": Memory(config.lanes),
            "exponentials": Memory(1),
            "tables": Memory(1),
        }
        self.regions = packing.Regions()
        self.cached_columns = 0  # of keys (and values) of the layers so far
        self.stream_columns = 0
        self.tables = 0
        self.blocks: list[str] = []
        self.depth = 1

    def compile(self) -> None:
        """Write all steps.

        Raises:
            InputError: an operation that the machine does not have.
        """
        handlers: dict[type[Operation], Callable[[int], None]] = {
            Embedding: self._embedding,
            Patches: self._patches,
            MatMul: self._product,
            Positions: self._positions,
            LayerNorm: self._norm,
            Attention: self._attention,
            Residual: self._residual,
            Select: self._select,
            Thermometer: self._block,
        }
        done_by_others = (Requantise, Table, LutLayer, ConditionalSum)
        for index, op in enumerate(self.program.ops):
            if handler := handlers.get(type(op)):
                handler(index)
            elif not isinstance(op, done_by_others):
                raise InputError(
                    f"transformer: the machine has no {op.kind} ({op.output}); freeze with the default functions and a "
                    "class token"
                )
            elif op.output not in self.places and not self._inside(op):
                raise InputError(f"transformer: the machine has no {op.kind} of its own ({op.output})")
        if self.places.get(self.program.output) is None or self.steps[-1].target != Target.LOGITS:
            raise InputError(f"transformer: {self.program.name} does not end with a product; freeze a whole model")
        self.steps.append(Step(Op.END, "end"))

    def memory_words(self) -> dict[str, int]:
        """Words that each memory needs; at least one."""
        c = self.config
        words = {name: memory.words for name, memory in self.memories.items()}
        words |= {
            "stream": self.stream_columns // c.lanes,
            "left": self.regions.words_of(normed=False),
            "normed": self.regions.words_of(normed=True),
            "keys": self.cached_columns // c.lanes * c.row_tiles,
            "values": self.cached_columns // c.size * c.rows,
            "program": len(self.steps),
            "tables": self.tables,
        }
        return {name: max(1, count) for name, count in words.items()}

    def image(self, config: TransformerConfig) -> Image:
        """All of it; regions of the left operands get their places."""
        bases, steps = self.regions.bases(), []
        for step in self.steps:
            into_left = step.op != Op.PRODUCT or step.target in (Target.LEFT, Target.TABLE)
            if step.op in (Op.PRODUCT, Op.ATTENTION, Op.BLOCK):
                step = replace(step, left=bases[step.left])
            if step.op in (Op.PIXELS, Op.NORM, Op.ATTENTION, Op.PRODUCT) and into_left:
                step = replace(step, destination=bases[step.destination])
            steps.append(step)
        places = {
            name: replace(place, base=bases[place.base]) if place.target == Target.LEFT else place
            for name, place in self.places.items()
        }
        memories = {name: memory.contents() for name, memory in self.memories.items()}
        parts = {graph.name: graph for graph in weightless_parts(self.program)}
        blocks = tuple(parts[name] for name in self.blocks)
        return Image(self.program, config, tuple(steps), memories, places, blocks)

    # Operations, each with its position in the program.

    def _embedding(self, index: int) -> None:
        op = self._op(index, Embedding)
        positions = op.positions[: self.config.rows]
        tokens, places = (
            chunk_major(packing.padded(table, self.config.size), self.config.lanes) for table in (op.tokens, positions)
        )
        self._start_stream(op.output, Op.EMBED, op.tokens.shape[1], 0, len(op.tokens), len(positions))
        self.memories["tokens"].add(tokens)
        self.memories["positions"].add(places)

    def _positions(self, index: int) -> None:
        """The product that it follows has added itself to these rows; see `_product`."""

    def _start_stream(self, name: str, op: Op, width: int, rows: int, tokens: int, positions: int) -> None:
        columns = round_up(width, self.config.size)
        self.stream_columns = columns
        self.places[name] = Place(Target.STREAM, 0, np.arange(width), columns, rows)
        chunks = columns // self.config.lanes
        self.steps.append(Step(op, name, rows=rows, inner=chunks, right=tokens, constants=positions))

    def _patches(self, index: int) -> None:
        op = self._op(index, Patches)
        width = self.values[op.output].width
        columns = round_up(width, self.config.lanes)
        region = self._region(op.output, columns)
        self.places[op.output] = Place(Target.LEFT, region, np.arange(width), columns, op.count)
        words = columns // self.config.lanes
        self.steps.append(Step(Op.PIXELS, op.output, rows=op.count, inner=words, destination=region))

    def _product(self, index: int) -> None:
        op = self._op(index, MatMul)
        requantise = self._only_reader(op.output, Requantise)
        name, bits = requantise.output, requantise.type.bits
        readers = self.read_by.get(name, [])
        source = self._place(op.inputs[0], Target.LEFT)
        width, head = op.width, self._head_width(readers)
        columns = packing.head_columns(width, head, self.config.size)
        padded = round_up(int(columns[-1]) + 1, self.config.size)
        step = self._product_step(op, requantise, source, columns, padded)
        if not requantise.type.signed or bits not in (8, 16):
            raise InputError(f"transformer: {name} has {bits} bits; products give int8 or int16")
        reader = readers[0] if readers else None
        place = Place(Target.LEFT, 0, columns, padded, source.rows)
        if name == self.program.output and bits == 16:
            self._add(name, replace(place, target=Target.LOGITS), step)
        elif isinstance(reader, Positions):
            leading = self._leading(reader)
            self._add(reader.output, self.places[reader.output], replace(step, first_row=leading))
        elif isinstance(reader, Residual) and bits == 16:
            self._into_stream(reader, name, step)
        elif isinstance(reader, Table) and bits == 8 and reader.type.bits == 8:
            self._require_one(name)
            self.memories["tables"].add(reader.values[:, None])
            place = replace(place, base=self._region(reader.output, padded))
            looked_up = replace(step, target=Target.TABLE, destination=place.base, table=self.tables)
            self.steps.append(replace(looked_up, name=reader.output))
            self.tables += 1
            self.places[reader.output] = self.places[name] = place
        elif isinstance(reader, Attention) and bits == 8 and name in reader.inputs[1:]:
            self._require_one(name)
            target = Target.KEYS if name == reader.inputs[1] else Target.VALUES
            base = self.cached_columns // self.config.lanes * self.config.row_tiles
            if target == Target.VALUES:
                base = self.cached_columns // self.config.size * self.config.rows
            self._add(name, Place(target, base, columns, padded), replace(step, destination=base))
        elif bits == 8 and readers:
            place = replace(place, base=self._region(name, padded))
            self._add(name, place, replace(step, destination=place.base))
        else:
            raise InputError(f"transformer: the machine has no place for {name}; freeze a whole model")

    def _add(self, name: str, place: Place, step: Step) -> None:
        self.places[name] = place
        self.steps.append(replace(step, name=name, target=place.target))

    def _into_stream(self, residual: Residual, branch: str, step: Step) -> None:
        """A branch is added where the other input lies."""
        self._require_one(branch)
        others = [name for name in residual.inputs if name != branch]
        if len(others) != 1:
            raise InputError(f"transformer: {residual.output} does not add a branch to the residual stream")
        x = self._place(others[0], Target.STREAM)
        if [reader for reader in self.read_by[others[0]] if self._is_later(reader, residual)]:
            raise InputError(f"transformer: {others[0]} is read after {residual.output} has taken its place")
        self._add(residual.output, x, step)
        self.places[branch] = x

    def _leading(self, op: Positions) -> int:
        """Write the rows that the patches are added to; how many come before them."""
        leading = len(op.leading)
        rows = np.concatenate([op.leading, op.positions])
        self._start_stream(op.output, Op.POSITIONS, rows.shape[1], 0, 0, len(rows))
        self.memories["positions"].add(chunk_major(packing.padded(rows, self.config.size), self.config.lanes))
        return leading

    def _norm(self, index: int) -> None:
        op, c = self._op(index, LayerNorm), self.config
        source = self._place(op.inputs[0], Target.STREAM)
        width = self.values[op.output].width
        region = self._region(op.output, source.width, normed=c.overlap)
        words = packing.column_words(op.bias, op.gain, np.arange(width), source.width, c.norm_lanes)
        step = Step(
            Op.NORM, op.output, rows=source.rows, inner=len(words), shift=op.shift, destination=region, width=width,
            constants=self.memories["norms"].add(words), epsilon=op.epsilon,
        )  # fmt: skip
        self._add(op.output, Place(Target.LEFT, region, np.arange(width), source.width, source.rows), step)

    def _attention(self, index: int) -> None:
        op, c = self._op(index, Attention), self.config
        queries, keys, values = (
            self._place(name, target)
            for name, target in zip(op.inputs, (Target.LEFT, Target.KEYS, Target.VALUES), strict=True)
        )
        head = len(queries.columns) // op.heads
        padded = round_up(head, c.size)
        region = self._region(op.output, queries.width)
        table = op.exponentials[:, None]
        if not self.memories["exponentials"].words:
            self.memories["exponentials"].add(table)
        elif not np.array_equal(self.memories["exponentials"].contents(), table):
            raise InputError(f"transformer: {op.output} has exponentials of its own; the machine has one table of them")
        self.cached_columns += keys.width
        self.depth = max(self.depth, head)
        step = Step(
            Op.ATTENTION, op.output, rows=queries.rows, inner=head, column_tiles=padded // c.size, shift=op.shift,
            left=queries.base, right=keys.base, values=values.base, destination=region, multiplier=op.multiplier,
            gain=op.gain, heads=op.heads, causal=int(op.causal),
        )  # fmt: skip
        self._add(op.output, Place(Target.LEFT, region, queries.columns, queries.width, queries.rows), step)

    def _residual(self, index: int) -> None:
        op = self._op(index, Residual)
        if op.output not in self.places:
            raise InputError(f"transformer: {op.output} adds no product or block to the residual stream")

    def _select(self, index: int) -> None:
        op = self._op(index, Select)
        source = self.places[op.inputs[0]]
        if op.row:
            raise InputError(f"transformer: {op.output} takes row {op.row}; the machine goes on with the first alone")
        self.places[op.output] = replace(source, rows=1)

    def _block(self, index: int) -> None:
        op = self._op(index, Thermometer)
        source = self._place(op.inputs[0], Target.LEFT)
        name = op.output.rpartition(".")[0] or self.program.name
        following = self.program.ops[index + 1 :]
        first = next((each for each in following if isinstance(each, Requantise)), None)
        assert first is not None, "Graph.check and freezing end a block with a requantise"
        branch = self._only_reader(first.output, Requantise)
        residual = self._only_reader(branch.output, Residual)
        width = len(branch.multiplier)
        multipliers, shift = packing.common_multipliers(branch)
        x = self._place(next(each for each in residual.inputs if each != branch.output), Target.STREAM)
        words = packing.column_words(
            np.zeros(width, np.int64), multipliers, np.arange(width), x.width, self.config.lanes
        )
        constants = self.memories["constants"].add(words)
        step = Step(
            Op.BLOCK, residual.output, rows=source.rows, inner=-(-width // self.config.lanes), shift=shift,
            left=source.base, constants=constants, table=len(self.blocks),
        )  # fmt: skip
        self.blocks.append(name)
        self._into_stream(residual, branch.output, step)
        self.places[first.output] = x

    # What they share.

    def _op(self, index: int, kind: type[Kind]) -> Kind:
        op = self.program.ops[index]
        assert isinstance(op, kind)
        return op

    def _inside(self, op: Operation) -> bool:
        """Whether it is part of a product or a block that writes no value of its own."""
        if isinstance(op, Requantise):
            return isinstance(self._writer_of(op.inputs[0]), MatMul | ConditionalSum)
        return isinstance(op, LutLayer | ConditionalSum)

    def _writer_of(self, name: str) -> Operation | None:
        return next((op for op in self.program.ops if op.output == name), None)

    def _only_reader(self, name: str, kind: type[Kind]) -> Kind:
        readers = self.read_by.get(name, [])
        if len(readers) != 1 or not isinstance(readers[0], kind):
            raise InputError(f"transformer: {name} must be read by one {kind.kind}; freeze a whole model")
        return readers[0]

    def _require_one(self, name: str) -> None:
        if len(self.read_by[name]) != 1:
            raise InputError(f"transformer: {name} is read twice; the machine keeps it for one operation")

    def _is_later(self, op: Operation, than: Operation) -> bool:
        return self.program.ops.index(op) > self.program.ops.index(than)

    def _place(self, name: str, target: Target) -> Place:
        place = self.places.get(name)
        if place is None or place.target != target:
            raise InputError(f"transformer: {name} is not among the machine's {target.name.lower()} values")
        return place

    def _head_width(self, readers: list[Operation]) -> int | None:
        """Width of a head where attention reads a product; None elsewhere."""
        for reader in readers:
            if isinstance(reader, Attention):
                return self.values[reader.output].width // reader.heads
        return None

    def _region(self, name: str, columns: int, normed: bool = False) -> int:
        """A region of the left operands for a value: one that no value in use is in."""
        words = round_up(columns, self.config.lanes) // self.config.lanes * self.config.row_tiles
        return self.regions.take(name, words, normed, self._is_used)

    def _is_used(self, name: str) -> bool:
        """Whether an operation that has no step yet reads a value, or what `Select` made of it."""
        for reader in self.read_by.get(name, []):
            if isinstance(reader, Select) and self._is_used(reader.output):
                return True
            if not isinstance(reader, Select) and not self._is_done(reader):
                return True
        return False

    def _is_done(self, op: Operation) -> bool:
        """Whether its step is written: what a product, a norm or a block ends with has a place."""
        if isinstance(op, MatMul):
            result = self._only_reader(op.output, Requantise).output
            ends = [result, *(reader.output for reader in self.read_by.get(result, []))]
            return any(name in self.places for name in ends)
        if isinstance(op, Thermometer):
            return (op.output.rpartition(".")[0] or self.program.name) in self.blocks
        return op.output in self.places

    def _product_step(self, op: MatMul, requantise: Requantise, source: Place, columns: IntArray, padded: int) -> Step:
        """A product's step without its target; weights and constants are written into their memories."""
        config = self.config
        inner = int(source.columns[-1]) + 1
        self.depth = max(self.depth, inner)
        weights = np.zeros((inner, padded), np.int64)
        weights[np.ix_(source.columns, columns)] = op.weights
        multipliers, shift = packing.common_multipliers(requantise)
        words = packing.column_words(op.bias, multipliers, columns, padded, config.lanes)
        right = self.memories["weights"].add(packing.weight_words(weights, config.size))
        return Step(
            Op.PRODUCT, requantise.output, rows=source.rows, inner=inner, column_tiles=padded // config.size,
            shift=shift, left=source.base, right=right, constants=self.memories["constants"].add(words),
        )  # fmt: skip
