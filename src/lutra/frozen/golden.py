"""The meaning of a frozen model: each operation's own (`ops`), one after the other, in NumPy int64 (spec.md)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lutra.errors import InputError
from lutra.frozen.graph import Graph
from lutra.frozen.ops import Operation, Past
from lutra.frozen.types import IntArray, TensorType


def quantise(x: np.ndarray, type_: TensorType) -> IntArray:
    """float32 -> integers: `clamp(floor(x * (1 / scale) + 0.5))`, every step rounded to float32."""
    inverse = np.float32(1) / np.float32(type_.scale)
    scaled: np.ndarray = np.floor(x.astype(np.float32) * inverse + np.float32(0.5))
    integers: IntArray = np.clip(scaled, type_.minimum, type_.maximum).astype(np.int64)
    return integers


def dequantise(x: IntArray, type_: TensorType) -> np.ndarray:
    """Integers -> float32: `float32(x) * float32(scale)`."""
    real: np.ndarray = x.astype(np.float32) * np.float32(type_.scale)
    return real


def apply(op: Operation, past: Past, *inputs: IntArray) -> IntArray:
    """One operation on its inputs: rows (N, width) each, or sequences (B, T, width)."""
    if op.positional:
        return op.meaning_at(past, *inputs)
    leading = inputs[0].shape[:-1]
    rows = op.meaning(*(values.reshape(-1, values.shape[-1]) for values in inputs))
    return rows.reshape(*leading, -1) if len(rows) else np.zeros((*leading, rows.shape[1]), np.int64)


def steps(program: Graph, x: IntArray, past: Past | None = None) -> Iterator[tuple[str, IntArray]]:
    """Name and value of the input and of every operation's output, one after the other.

    `x` is rows (N, input_width), or for a positional program sequences (B, T, input_width); a value that no later
    operation reads is let go. `past` is what earlier tokens left behind, and takes in those of this call when the last
    value has been taken.

    Raises:
        InputError: wrong shape, not integers, outside the input type's range, unknown tokens, or a sequence that is too
            long.
    """
    _check_input(program, x)
    past = past or Past()
    last_use = {name: position for position, op in enumerate(program.ops) for name in op.inputs}
    values = {program.input: x.astype(np.int64)}
    yield program.input, values[program.input]
    for position, op in enumerate(program.ops):
        values[op.output] = apply(op, past, *(values[name] for name in op.inputs))
        yield op.output, values[op.output]
        for name in op.inputs:
            if last_use[name] == position:
                values.pop(name, None)
    past.tokens += x.shape[1] if program.is_positional else 0


def trace(program: Graph, x: IntArray, past: Past | None = None) -> dict[str, IntArray]:
    """Every value of the program by name; see `steps` for the arguments and errors."""
    return dict(steps(program, x, past))


def run(program: Graph, x: IntArray, rows_at_once: int = 4096, past: Past | None = None) -> IntArray:
    """The program's output: (N, output_width) for rows (N, input_width), (B, T, output_width) for sequences.

    See `steps` for the arguments and errors. `rows_at_once` bounds the memory.
    """
    _check_input(program, x)
    if past is not None:
        return _last(program, x, past)
    rows = x.shape[1] if program.is_positional else 1
    at_once = max(1, rows_at_once // max(1, rows))
    pieces = [_last(program, x[start : start + at_once], Past()) for start in range(0, len(x), at_once)]
    return np.concatenate(pieces) if pieces else np.zeros((*x.shape[:-1], program.output_width), np.int64)


def _last(program: Graph, x: IntArray, past: Past) -> IntArray:
    value = x
    for _, value in steps(program, x, past):  # noqa: B007
        pass
    return value


def _check_input(program: Graph, x: IntArray) -> None:
    width, rows = program.input_width, program.input_rows
    if program.is_positional:
        fits = x.ndim == 3 and x.shape[2] == width and rows in (None, x.shape[1]) and x.shape[1] > 0
        shape = f"(sequences, {rows or 'tokens'}, {width})"
    else:
        fits, shape = x.ndim == 2 and x.shape[1] == width, f"(rows, {width})"
    if not fits or not np.issubdtype(x.dtype, np.integer):
        raise InputError(f"{program.name}: input must be integers of shape {shape}, got {x.dtype} {x.shape}")
    low, high = program.input_type.minimum, program.input_type.maximum
    if x.size and (x.min() < low or x.max() > high):
        raise InputError(f"{program.name}: input must lie in [{low}, {high}], found {x.min()} to {x.max()}")
