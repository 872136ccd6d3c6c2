"""A whole frozen transformer laid out for the compiled kernels: the structures of whole.h, filled with NumPy."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutra.errors import FrozenModelError
from lutra.frozen.graph import Graph, weightless_parts
from lutra.frozen.ops import (
    Attention,
    Embedding,
    LayerNorm,
    MatMul,
    MeanRows,
    Operation,
    Patches,
    Positions,
    Requantise,
    Residual,
    Select,
    Table,
    Thermometer,
    product_range,
)
from lutra.frozen.ops.norm import NORMALISED_BITS
from lutra.frozen.types import TensorType, Value
from lutra.runtime.program import compile_block
from lutra.runtime.structure import structure

PANEL_COLUMNS, PANEL_GROUP = 16, 4
LEFT_OFFSET = 128
"""What an int8 row is raised by to be an unsigned left operand."""
(
    EMBEDDING, PATCHES, POSITIONS, NORM, LINEAR, ATTENTION, BLOCK, REQUANTISE, RESIDUAL, TABLE, SELECT, MEAN,
) = range(12)  # fmt: skip


_Embedding = structure("Embedding", "width", "low", "high", "* tokens", "* positions")
_Patches = structure("Patches", "height", "width", "channels", "patch")
_Positions = structure("Positions", "width", "leading_rows", "rows", "low", "high", "* leading", "* positions")
_Norm = structure("Norm", "width", "epsilon", "shift", "low", "high", "narrow", "* gain", "* bias")
_Linear = structure(
    "Linear", "inputs", "outputs", "groups", "panels", "shift", "low", "high", "output_bytes", "narrow",
    "residual_low", "residual_high", "* weights", "* bias", "* multiplier", "* table", "table_bytes",
)  # fmt: skip
_Attention = structure(
    "Attention",
    "width",
    "heads",
    "causal",
    "index",
    "multiplier",
    "shift",
    "gain",
    "low",
    "high",
    "narrow",
    "* exponentials",
)
_Requantise = structure(
    "Requantise", "width", "input_bytes", "input_signed", "output_bytes", "low", "high", "residual_low",
    "residual_high", "* multiplier", "* shift",
)  # fmt: skip
_Element = structure("Element", "width", "input_bytes", "output_bytes", "low", "high", "table_half", "* table")
_Select = structure("Select", "row", "row_bytes")
_Mean = structure("Mean", "width", "input_bytes", "output_bytes", "multiplier", "shift", "low", "high")
_Step = structure("Step", "kind", "input", "second", "third", "output", "rows", "output_rows", "* constants")
_Program = structure(
    "Program", "step_count", "* steps", "slot_count", "* token_bytes", "* fixed_bytes", "input_slot",
    "input_row_bytes", "output_slot", "output_row_bytes", "input_rows", "output_rows", "attention_count",
    "* attentions", "most_rows", "widest_inputs",
)  # fmt: skip


@dataclass
class _Emitted:
    """A step before its values have slots."""

    kind: int
    constants: ctypes.Structure
    inputs: tuple[str, ...]
    output: str
    stream: str | None = None


class WholeLayout:
    """A program in the kernels' form; `address` is that of its structure, which lives as long as this object.

    Raises:
        FrozenModelError: an operation, or an order of them, that the kernels do not have.
    """

    def __init__(self, program: Graph) -> None:
        self.program = program
        self.values = program.values()
        self._kept: list[Any] = []
        self._blocks = {graph.name: graph for graph in weightless_parts(program)}
        self._readers: dict[str, list[Operation]] = {}
        for op in program.ops:
            for name in op.inputs:
                self._readers.setdefault(name, []).append(op)
        self._attentions: list[ctypes.Structure] = []
        self._structure = self._laid_out(self._emit())
        self.address = ctypes.addressof(self._structure)
        self.input_dtype = np.dtype(np.int32 if isinstance(program.ops[0], Embedding) else np.uint8)
        self.output_dtype = np.dtype(f"int{8 * _bytes(program.output_type)}")

    def _keep(self, array: np.ndarray, dtype: str) -> int:
        """The address of a contiguous copy."""
        kept = np.ascontiguousarray(array.astype(dtype))
        self._kept.append(kept)
        return kept.ctypes.data

    def _unknown(self, op: Operation, problem: str) -> FrozenModelError:
        return FrozenModelError(f"{self.program.name}: the runtime {problem} ({op.kind} {op.output}); use golden")

    def _emit(self) -> list[_Emitted]:
        """Steps in execution order; what one kernel does at once is one step."""
        steps: list[_Emitted] = []
        done: set[str] = {self.program.input}
        skipped: set[str] = set()
        for op in self.program.ops:
            if op.output in skipped:
                continue
            if isinstance(op, Thermometer):
                step, consumed = self._block(op)
            elif isinstance(op, (MatMul, Requantise)):
                step, consumed = self._sums(op, done)
            else:
                step, consumed = self._single(op), {op.output}
            steps.append(step)
            skipped |= consumed
            done.add(step.output)
        return steps

    def _block(self, op: Thermometer) -> tuple[_Emitted, set[str]]:
        name = op.output.rpartition(".")[0] or self.program.name
        graph = self._blocks[name]
        block = compile_block(graph)
        consumed = {f"{name}.{each.output}" for each in graph.ops}
        return _Emitted(BLOCK, block, op.inputs, f"{name}.{graph.output}"), consumed

    def _only_reader(self, name: str) -> Operation | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 else None

    def _sums(self, op: Operation, done: set[str]) -> tuple[_Emitted, set[str]]:
        """A product or another value, requantised; then by a table, or into the residual stream, if nobody else reads
        what lies between."""
        requantise = self._only_reader(op.output) if isinstance(op, MatMul) else op
        if not isinstance(requantise, Requantise):
            raise self._unknown(op, "wants every product requantised")
        consumed = {op.output, requantise.output}
        after = self._only_reader(requantise.output)
        table = residual = None
        if isinstance(after, Table) and isinstance(op, MatMul):
            table = after
            consumed.add(table.output)
        elif isinstance(after, Residual) and after.inputs[1] == requantise.output and after.inputs[0] in done:
            residual = after
            consumed.add(residual.output)
        last = table or residual or requantise
        if isinstance(op, MatMul):
            kind, constants = LINEAR, self._linear(op, requantise, table, residual)
        else:
            kind, constants = REQUANTISE, self._requantise(requantise, residual)
        stream = residual.inputs[0] if residual else None
        return _Emitted(kind, constants, op.inputs, last.output, stream), consumed

    def _linear(
        self, op: MatMul, requantise: Requantise, table: Table | None, residual: Residual | None
    ) -> ctypes.Structure:
        source = self.values[op.inputs[0]]
        if _bytes(source.type) != 1 or not source.type.signed or len(set(requantise.shift.tolist())) != 1:
            raise self._unknown(op, "takes int8 products with one shift")
        inputs, outputs = op.weights.shape
        groups, panels = -(-inputs // PANEL_GROUP), -(-outputs // PANEL_COLUMNS)
        padded = np.zeros((groups * PANEL_GROUP, panels * PANEL_COLUMNS), np.int64)
        padded[:inputs, :outputs] = op.weights
        ordered = padded.reshape(groups, PANEL_GROUP, panels, PANEL_COLUMNS).transpose(2, 0, 3, 1)
        bias = _columns(op.bias - LEFT_OFFSET * op.weights.sum(axis=0), panels)
        shift = int(requantise.shift[0])
        reach = max(map(abs, product_range(op, source.type))) * int(requantise.multiplier.max())
        entry = table.type if table else requantise.type
        stream = residual.type if residual else requantise.type
        return _Linear(
            inputs,
            outputs,
            groups,
            panels,
            shift,
            requantise.type.minimum,
            requantise.type.maximum,
            _bytes(stream),
            (reach + (1 << shift >> 1)) >> shift < 2**31,
            stream.minimum,
            stream.maximum,
            self._keep(ordered, "int8"),
            # Sums wrap around in 32 bits on the way; their ends fit.
            self._keep((bias + 2**31) % 2**32 - 2**31, "int32"),
            self._keep(_columns(requantise.multiplier, panels), "int32"),
            self._keep(np.append(table.values, 0), "int16") if table else None,
            _bytes(entry),
        )

    def _requantise(self, op: Requantise, residual: Residual | None) -> ctypes.Structure:
        source, stream = self.values[op.inputs[0]].type, residual.type if residual else op.type
        return _Requantise(
            op.width,
            _bytes(source),
            source.signed,
            _bytes(stream),
            op.type.minimum,
            op.type.maximum,
            stream.minimum,
            stream.maximum,
            self._keep(op.multiplier, "int64"),
            self._keep(op.shift, "int64"),
        )

    def _single(self, op: Operation) -> _Emitted:
        x = self.values[op.inputs[0]]
        limits = _limits(self.values[op.output].type)
        if isinstance(op, Embedding):
            tokens, positions = self._keep(op.tokens, "int16"), self._keep(op.positions, "int16")
            return _Emitted(EMBEDDING, _Embedding(op.tokens.shape[1], *limits, tokens, positions), op.inputs, op.output)
        if isinstance(op, Patches):
            return _Emitted(PATCHES, _Patches(op.height, op.width, x.width, op.patch), op.inputs, op.output)
        if isinstance(op, Positions):
            arrays = self._keep(op.leading, "int16"), self._keep(op.positions, "int16")
            constants = _Positions(x.width, len(op.leading), len(op.positions), *limits, *arrays)
            return _Emitted(POSITIONS, constants, op.inputs, op.output)
        if isinstance(op, LayerNorm):
            arrays = self._keep(op.gain, "int16"), self._keep(op.bias, "int32")
            # The largest normalised value: the root of the sum of squares was rounded down.
            largest = (math.isqrt(x.width - 1) + 3) << NORMALISED_BITS
            reach = largest * int(abs(op.gain).max()) + int(abs(op.bias).max()) + (1 << op.shift >> 1)
            sizes = x.width, op.epsilon, op.shift, *limits, reach < 2**31
            return _Emitted(NORM, _Norm(*sizes, *arrays), op.inputs, op.output)
        if isinstance(op, Attention):
            heads = x.width, op.heads, op.causal, len(self._attentions)
            table = self._keep(op.exponentials, "uint8")
            reach = x.width // op.heads * 2**14 * op.multiplier
            narrow = (reach + (1 << op.shift >> 1)) >> op.shift < 2**31
            constants = _Attention(*heads, op.multiplier, op.shift, op.gain, *limits, narrow, table)
            self._attentions.append(constants)
            return _Emitted(ATTENTION, constants, op.inputs, op.output)
        if isinstance(op, Residual) and _bytes(x.type) == 2:
            return _Emitted(RESIDUAL, _Element(x.width, 2, 2, *limits, 0, None), op.inputs, op.output)
        if isinstance(op, Table):
            bytes_ = _bytes(x.type), _bytes(op.type)
            constants = _Element(x.width, *bytes_, *limits, len(op.values) // 2, self._keep(op.values, "int16"))
            return _Emitted(TABLE, constants, op.inputs, op.output)
        if isinstance(op, Select):
            return _Emitted(SELECT, _Select(op.row, x.width * _bytes(x.type)), op.inputs, op.output)
        if isinstance(op, MeanRows):
            constants = _Mean(x.width, _bytes(x.type), _bytes(op.type), op.multiplier, op.shift, *limits)
            return _Emitted(MEAN, constants, op.inputs, op.output)
        raise self._unknown(op, "has no kernel for this operation")

    def _laid_out(self, steps: list[_Emitted]) -> ctypes.Structure:
        slots = _Slots(self.values)
        source, target = slots.own(self.program.input), slots.own(self.program.output)
        last_use = {name: i for i, step in enumerate(steps) for name in (*step.inputs, step.stream) if name}
        structures = (_Step * len(steps))()
        for position, (filled, step) in enumerate(zip(structures, steps, strict=True)):
            names = [*step.inputs, *([step.stream] if step.stream else [])]
            inputs = [slots.of[name] for name in names] + [-1, -1]
            output = slots.take(step.output)
            filled.kind, filled.constants = step.kind, ctypes.addressof(step.constants)
            filled.input, filled.second, filled.third = inputs[:3]
            filled.output = output
            # An attention's rows are those of its keys.
            counted = step.inputs[1] if step.kind == ATTENTION else step.inputs[0]
            filled.rows = self.values[counted].rows or 0
            filled.output_rows = self.values[step.output].rows or 0
            for name in set(names):
                if last_use[name] == position:
                    slots.free(name)
        self._kept += [structures, *(step.constants for step in steps)]
        pointers = (ctypes.c_void_p * max(1, len(self._attentions)))(*map(ctypes.addressof, self._attentions))
        self._kept.append(pointers)
        first, final = self.values[self.program.input], self.values[self.program.output]
        input_bytes = 4 if isinstance(self.program.ops[0], Embedding) else _bytes(first.type)
        fixed = [value.rows or 0 for value in self.values.values()]
        groups = [-(-len(op.weights) // PANEL_GROUP) for op in self.program.ops if isinstance(op, MatMul)]
        return _Program(
            len(steps),
            ctypes.addressof(structures),
            len(slots.token_bytes),
            self._keep(np.array(slots.token_bytes), "int64"),
            self._keep(np.array(slots.fixed_bytes), "int64"),
            source,
            first.width * input_bytes,
            target,
            final.width * _bytes(final.type),
            first.rows or 0,
            final.rows or 0,
            len(self._attentions),
            ctypes.addressof(pointers),
            0
            if first.rows is None
            else max(rows for name, rows in zip(self.values, fixed, strict=True) if name != self.program.input),
            max(groups, default=0),
        )


class _Slots:
    """Memory for values, used again when nobody reads what lies in it any more."""

    def __init__(self, values: dict[str, Value]) -> None:
        self.values = values
        self.of: dict[str, int] = {}
        self.token_bytes: list[int] = []
        self.fixed_bytes: list[int] = []
        self._free: list[int] = []
        self._owned: set[int] = set()

    def own(self, name: str) -> int:
        """A slot for one value only; its memory is the caller's."""
        self.of[name] = len(self.token_bytes)
        self.token_bytes.append(0)
        self.fixed_bytes.append(0)
        self._owned.add(self.of[name])
        return self.of[name]

    def take(self, name: str) -> int:
        if name in self.of:
            return self.of[name]
        if not self._free:
            self._free.append(len(self.token_bytes))
            self.token_bytes.append(0)
            self.fixed_bytes.append(0)
        slot = self.of[name] = self._free.pop()
        value = self.values[name]
        size = value.width * _bytes(value.type)
        if value.rows is None:
            self.token_bytes[slot] = max(self.token_bytes[slot], size)
        else:
            self.fixed_bytes[slot] = max(self.fixed_bytes[slot], size * value.rows)
        return slot

    def free(self, name: str) -> None:
        if self.of[name] not in self._owned:
            self._free.append(self.of[name])


def _bytes(type_: TensorType) -> int:
    """Of one element in memory."""
    return next(size for size in (1, 2, 4) if type_.bits <= 8 * size)


def _limits(type_: TensorType) -> tuple[int, int]:
    return type_.minimum, type_.maximum


def _columns(values: np.ndarray, panels: int) -> np.ndarray:
    return np.pad(values, (0, panels * PANEL_COLUMNS - len(values)))
