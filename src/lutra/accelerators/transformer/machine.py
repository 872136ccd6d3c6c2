"""What the transformer machine does, in NumPy: its steps, one after the other, on the contents of its memories.

Every address is formed as the RTL forms it, so that an image that this machine runs to golden's values needs nothing
else of the RTL but the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.transformer import layout
from lutra.accelerators.transformer.config import CONSTANT_BITS
from lutra.accelerators.transformer.image import Image, Place
from lutra.accelerators.transformer.program import Op, Step, Target
from lutra.errors import InputError
from lutra.frozen import golden
from lutra.frozen.arithmetic import isqrt, recip
from lutra.frozen.ops import Embedding, Past
from lutra.frozen.types import IntArray

RECIPROCAL_BITS = 16
NORM_BITS = 10


@dataclass(frozen=True)
class Call:
    """How many rows a run of the program takes, after how many that earlier ones have left keys and values of."""

    rows: int
    past: int = 0

    def of_step(self, step: Step) -> int:
        """Rows that a step computes."""
        return step.rows or self.rows


def calls_of(image: Image, pieces: Sequence[int]) -> list[Call]:
    """Calls one after the other, each of so many tokens; an image comes whole, in one call, whatever `pieces` say.

    Raises:
        InputError: more tokens than the machine holds or the model takes.
    """
    if image.whole_rows is not None:
        return [Call(image.whole_rows)]
    most = min(image.config.rows, image.program.context or image.config.rows)
    if not pieces or min(pieces) < 1 or sum(pieces) > most:
        raise InputError(f"transformer: {sum(pieces)} tokens in {len(pieces)} calls; the machine takes 1 to {most}")
    return [Call(count, sum(pieces[:index])) for index, count in enumerate(pieces)]


class Machine:
    """A machine with its memories; keys and values of one call stay for the next."""

    def __init__(self, image: Image) -> None:
        c = image.config
        self.image, self.config = image, c
        self.left = np.zeros((c.size, c.left_words, c.lanes), np.int64)
        self.normed = np.zeros((c.size, c.normed_words, c.lanes), np.int64)
        self.keys = np.zeros((c.size, c.key_words, c.lanes), np.int64)
        self.values = np.zeros((c.value_words, c.size), np.int64)
        self.stream = np.zeros((c.stream_words * c.rows, c.lanes), np.int64)
        self.exponentials = np.zeros((c.size, -(-c.rows // c.lanes), c.lanes), np.int64)
        self.logits: IntArray = np.zeros((0, 0), np.int64)

    def run(self, call: Call, inputs: IntArray) -> Iterator[tuple[Step, IntArray]]:
        """Every step with the value that it leaves, (rows, width of the model); `inputs` as of `inputs_of`."""
        steps = {
            Op.EMBED: self._embed,
            Op.POSITIONS: self._embed,
            Op.PIXELS: self._pixels,
            Op.NORM: self._norm,
            Op.PRODUCT: self._product,
            Op.ATTENTION: self._attention,
            Op.BLOCK: self._block,
        }
        for step in self.image.steps:
            if step.op == Op.END:
                return
            steps[step.op](step, call, inputs)
            yield step, self.read(self.image.places[step.name], call)

    def read(self, place: Place, call: Call) -> IntArray:
        """A value of the model, (rows, columns), where it lies."""
        rows = np.arange(place.rows or call.rows)
        match place.target:
            case Target.STREAM:
                return self.stream[layout.stream(self.config, rows, place.columns)]
            case Target.KEYS:
                return self.keys[layout.banked(self.config, place.base, call.past + rows, place.columns)]
            case Target.VALUES:
                return self.values[layout.values(self.config, place.base, call.past + rows, place.columns)]
            case Target.LOGITS:
                return self.logits[:, place.columns]
            case _:
                banked = layout.banked(self.config, place.base % layout.NORMED, rows, place.columns)
                return self._left(place.base)[banked]

    def _left(self, address: int) -> IntArray:
        """The memory of left operands that an address is in."""
        return self.normed if address & layout.NORMED else self.left

    def _memory(self, name: str, first: int, count: int) -> IntArray:
        words = self.image.memories[name][first : first + count]
        assert len(words) == count, f"{name} ends before word {first + count}"
        return words

    def _embed(self, step: Step, call: Call, inputs: IntArray) -> None:
        c, rows = self.config, call.of_step(step)
        chunk = np.arange(step.inner)[None]
        places = call.past + np.arange(rows)[:, None]
        y = self.image.memories["positions"][chunk * step.constants + places]  # (rows, chunks, lanes)
        if step.op == Op.EMBED:
            y = y + self.image.memories["tokens"][chunk * step.right + inputs[:rows, :1]]
        self.stream[chunk * c.rows + np.arange(rows)[:, None]] = np.clip(y, -(2**15), 2**15 - 1)

    def _pixels(self, step: Step, call: Call, inputs: IntArray) -> None:
        columns = np.arange(step.inner * self.config.lanes)
        pixels = np.zeros((step.rows, len(columns)), np.int64)
        pixels[:, : inputs.shape[1]] = inputs - 128
        self.left[layout.banked(self.config, step.destination, np.arange(step.rows), columns)] = pixels

    def _norm(self, step: Step, call: Call, inputs: IntArray) -> None:
        c, rows = self.config, np.arange(call.of_step(step))
        columns = np.arange(step.inner * c.norm_lanes)
        x = self.stream[layout.stream(c, rows, columns)]
        gain, bias = _constants(self._memory("norms", step.constants, step.inner), signed_low=True)
        total = x.sum(axis=1, keepdims=True)
        variance = step.width * (x * x).sum(axis=1, keepdims=True) - total * total + step.epsilon
        factor, exponent = recip(np.maximum(isqrt(variance), 1))
        n = ((step.width * x - total) * factor) >> (exponent + RECIPROCAL_BITS - NORM_BITS)
        place = layout.banked(c, step.destination % layout.NORMED, rows, columns)
        self._left(step.destination)[place] = _rounded(n * gain + bias, step.shift, 8)

    def _product(self, step: Step, call: Call, inputs: IntArray) -> None:
        c, rows = self.config, np.arange(call.of_step(step))
        left = self._left(step.left)[layout.banked(c, step.left % layout.NORMED, rows, np.arange(step.inner))]
        words = self._memory("weights", step.right, step.inner * step.column_tiles)
        weights = words.reshape(step.column_tiles, step.inner, c.size).transpose(1, 0, 2).reshape(step.inner, -1)
        multiplier, bias = _constants(self._memory("constants", step.constants, step.column_tiles * c.groups))
        wide = step.target in (Target.STREAM, Target.LOGITS)
        y = _rounded((left @ weights + bias) * multiplier, step.shift, 16 if wide else 8)
        columns = np.arange(y.shape[1])
        match step.target:
            case Target.LEFT:
                self.left[layout.banked(c, step.destination, rows, columns)] = y
            case Target.TABLE:
                table = self._memory("tables", 256 * step.table, 256)[:, 0]
                self.left[layout.banked(c, step.destination, rows, columns)] = table[y + 128]
            case Target.KEYS:
                self.keys[layout.banked(c, step.destination, call.past + rows, columns)] = y
            case Target.VALUES:
                self.values[layout.values(c, step.destination, call.past + rows, columns)] = y
            case Target.STREAM:
                place = layout.stream(c, step.first_row + rows, columns)
                self.stream[place] = np.clip(self.stream[place] + y, -(2**15), 2**15 - 1)
            case _:
                self.logits = y

    def _attention(self, step: Step, call: Call, inputs: IntArray) -> None:
        c, count = self.config, call.of_step(step)
        head_columns = step.column_tiles * c.size
        every = call.past + call.rows
        table = self._memory("exponentials", 0, 256)[:, 0]
        for head in range(step.heads):
            for first in range(0, count, c.size):
                rows = np.arange(first, min(first + c.size, count))
                limits = np.minimum(call.past + rows + 1, every) if step.causal else np.full(len(rows), every)
                keys = np.arange(int(limits[-1]))
                columns = head * head_columns + np.arange(step.inner)
                queries = self.left[layout.banked(c, step.left, rows, columns)]
                right = self.keys[layout.banked(c, step.right, keys, columns)]
                scores = _rounded(queries @ right.T * step.multiplier, step.shift, 16)
                visible = keys < limits[:, None]
                distance = np.where(visible, scores, -(2**15)).max(axis=1, keepdims=True) - scores
                near = visible & (distance < len(table))
                e = np.where(near, table[np.clip(distance, 0, len(table) - 1)], 0)
                tile = np.arange(len(rows))
                self.exponentials[layout.exponentials(c, tile, keys)] = e
                factor, exponent = recip(e.sum(axis=1, keepdims=True))
                columns = head * head_columns + np.arange(head_columns)
                values = self.values[layout.values(c, step.values, keys, columns)]
                sums = self.exponentials[layout.exponentials(c, tile, keys)] @ values
                y = _rounded(sums * factor, exponent + RECIPROCAL_BITS - step.gain, 8)
                self.left[layout.banked(c, step.destination, rows, columns)] = y

    def _block(self, step: Step, call: Call, inputs: IntArray) -> None:
        c, rows, graph = self.config, np.arange(call.of_step(step)), self.image.blocks[step.table]
        x = self._left(step.left)[layout.banked(c, step.left % layout.NORMED, rows, np.arange(graph.input_width))]
        y = golden.run(graph, x)
        columns = np.arange(y.shape[1])
        multiplier, bias = _constants(self._memory("constants", step.constants, step.inner))
        branch = _rounded((y + bias[columns]) * multiplier[columns], step.shift, 16)
        place = layout.stream(c, rows, columns)
        self.stream[place] = np.clip(self.stream[place] + branch, -(2**15), 2**15 - 1)


def inputs_of(image: Image, rows: IntArray) -> IntArray:
    """What the input stream brings for the rows (R, width) of a program's input: tokens, or pixels of one patch a row.

    Raises:
        InputError: a token or an image that the model does not take.
    """
    first = image.program.ops[0]
    if not image.config.pixels:
        assert isinstance(first, Embedding)
        if rows.ndim != 2 or rows.shape[1] != 1 or rows.min() < 0 or rows.max() >= len(first.tokens):
            raise InputError(f"{image.program.name}: tokens must be one known number for each row")
        return rows
    patches = golden.apply(first, Past(), rows[None])[0]
    pixels: IntArray = patches + 128
    return pixels


def _constants(words: IntArray, signed_low: bool = False) -> tuple[IntArray, IntArray]:
    """Words (n, lanes) -> 16-bit values (n * lanes) and the 32-bit biases above them."""
    flat = words.reshape(-1)
    low, high = flat & 0xFFFF, flat >> (CONSTANT_BITS - 32)
    high = high - ((high >> 31) << 32)
    return (low - ((low >> 15) << 16) if signed_low else low), high


def _rounded(x: IntArray, shift: IntArray | int, bits: int) -> IntArray:
    """`clamp(round(x, shift))` into so many bits, signed."""
    rounded: IntArray = (x + ((np.int64(1) << np.asarray(shift, np.int64)) >> 1)) >> shift
    return np.clip(rounded, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
