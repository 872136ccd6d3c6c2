"""What BAT takes of an FPGA, for one configuration or arrays of them, from units that were synthesised alone.

A unit grows in proportion to its lanes, so that two sizes give all others; more sizes show how far that is right.
Memories in LUTs and in BRAM follow from their widths and depths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lutra.accelerators.bat.latency import HALFS_PER_BEAT, Count, Lanes, Shape
from lutra.errors import InputError

BRAM_WIDTH, BRAM_WORDS = 72, 512
"""Of a block of 36 kbit as a simple dual-port memory."""
LUT_MEMORY_WORDS, LUT_MEMORY_BITS, LUT_MEMORY_LUTS = 64, 7, 8
"""RAM64M8: eight LUTs hold seven bits of 64 words beside each other."""
SUM_ROWS, HALF_BITS = 2, 16
ROM_BRAMS = 7 / 2
"""Of the table of exp, per lane of the softmax."""


@dataclass(frozen=True)
class Use:
    """Numbers, or arrays of them. LUTs as Yosys maps them, and with small ones paired."""

    lut_raw: Count = 0
    lut_packed: Count = 0
    ff: Count = 0
    dsp: Count = 0
    bram: Count = 0

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Use) -> Use:
        return Use(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    def __mul__(self, times: Count) -> Use:
        return Use(*(getattr(self, f.name) * times for f in fields(self)))


@dataclass(frozen=True)
class _Line:
    """A unit as a function of its size."""

    fixed: Use
    each: Use

    def at(self, size: Count) -> Use:
        use: Use = self.fixed + self.each * size
        return use


class UnitFits:
    """Lines through the smallest and the largest size of every unit that was synthesised.

    `targets` are those of a record: {"unit", "size", "bits", and the fields of `Use`}.

    Raises:
        InputError: a unit has fewer than two sizes.
    """

    def __init__(self, targets: Iterable[Mapping[str, Any]]) -> None:
        self._points: dict[tuple[str, int], dict[int, Use]] = {}
        for target in targets:
            use = Use(*(target[f.name] for f in fields(Use)))
            self._points.setdefault((target["unit"], target["bits"]), {})[target["size"]] = use
        self._lines = {key: _line(sizes) for key, sizes in self._points.items() if len(sizes) > 1}

    def of(self, unit: str, size: Count, bits: int = 0) -> Use:
        """A unit at a size; one that was synthesised at one size only is that one.

        Raises:
            InputError: the unit was not synthesised.
        """
        key = unit, bits
        if key in self._lines:
            return self._lines[key].at(size)
        if key in self._points:
            return next(iter(self._points[key].values()))
        raise InputError(f"BAT: no synthesis of {unit} with {bits} bits is recorded; run lutra table bmt-6 --fresh")

    def content(self) -> list[Any]:
        """All that follows from: units, bits, sizes and uses, sorted."""
        return sorted(
            [*key, size, *vars(use).values()] for key, sizes in self._points.items() for size, use in sizes.items()
        )

    def errors(self) -> dict[str, float]:
        """Of sizes between the ends: packed LUTs of the line over those that were synthesised, less 1."""
        return {
            f"{unit}, {bits} bits, size {size}" if bits else f"{unit}, size {size}": float(
                self._lines[unit, bits].at(size).lut_packed / use.lut_packed - 1
            )
            for (unit, bits), sizes in self._points.items()
            for size, use in sizes.items()
            if min(sizes) < size < max(sizes)
        }


def _line(sizes: Mapping[int, Use]) -> _Line:
    first, last = min(sizes), max(sizes)
    each = (sizes[last] - sizes[first]) * (1 / (last - first))
    return _Line(sizes[first] - each * first, each)


@dataclass(frozen=True)
class Sizes:
    """The largest that an accelerator takes."""

    shape: Shape
    """Of a model, with the longest sentence."""
    sums: str = "count"

    @property
    def sum_bits(self) -> int:
        shape = self.shape
        signed, unsigned = 1 << max(0, shape.bits - 1), (1 << shape.bits) - 1
        largest = max(
            max(shape.width, shape.attention_width) * signed,
            shape.intermediate * unsigned,
            shape.head_width * signed**2,
            shape.tokens * unsigned * signed,
        )
        return largest.bit_length() + 1


UNITS = ("engine", "quantisation unit", "vector unit", "layer norm", "softmax", "buffers", "memories", "control")
"""Parts of a module whose uses are told apart."""


def module_use(fits: UnitFits, lanes: Lanes, sizes: Sizes, attention: bool, feed_forward: bool) -> dict[str, Use]:
    """What a module takes, by part."""
    shape = sizes.shape
    zero = 0 * (lanes.p_dpu + lanes.p_vu)
    engine = fits.of(f"dpu_{sizes.sums}", lanes.p_pe, shape.bits) * lanes.p_dpu
    engine += fits.of("engine", lanes.p_pe, shape.bits) - fits.of("dpu_count", lanes.p_pe, shape.bits)
    engine += Use(ff=(lanes.p_dpu - 1) * lanes.p_pe)  # a register for every bit of y
    store = fits.of("planes_store", lanes.p_dpu, 4) if attention else fits.of("rows_store", 0, 4)
    return {
        "engine": engine,
        "quantisation unit": fits.of("quantise", lanes.p_quan, shape.bits),
        "vector unit": fits.of("vector", lanes.p_vu),
        "layer norm": fits.of("norm", lanes.p_ln),
        "softmax": fits.of("softmax", lanes.p_softmax) if attention else Use(*[zero] * 5),
        "buffers": _buffers(lanes, sizes, attention, feed_forward),
        "memories": _memories(lanes, sizes, attention, feed_forward),
        "control": fits.of("loader", 1) + fits.of("dma_read", 1) * 2 + fits.of("dma_write", 1) + store,
    }


def memory_use(lanes: Lanes, sizes: Sizes, attention: bool, feed_forward: bool) -> Use:
    """What a module's memories take, which needs no synthesis."""
    return _memories(lanes, sizes, attention, feed_forward)


def total_use(parts: Mapping[str, Use]) -> Use:
    total = Use()
    for use in parts.values():
        total += use
    return total


def block_rams(width: Count, words: Count) -> Count:
    """Blocks of 36 kbit of a memory with one write and one read port."""
    return _over(width, BRAM_WIDTH) * _over(words, BRAM_WORDS)


def memory_luts(width: Count, words: Count) -> Count:
    """LUTs of a memory in LUTs that is read without a register: the memories, and what chooses between them."""
    deep = _over(words, LUT_MEMORY_WORDS)
    return deep * _over(width, LUT_MEMORY_BITS) * LUT_MEMORY_LUTS + width * _over(deep - 1, 3)


def _buffers(lanes: Lanes, sizes: Sizes, attention: bool, feed_forward: bool) -> Use:
    """Gearboxes between units."""
    shape, widest = sizes.shape, _widest(sizes, attention, feed_forward)
    total = _gearbox(lanes.p_dpu, lanes.p_vu, sizes.sum_bits, shape.copies * widest)
    pairs = [
        (lanes.p_vu, lanes.p_quan, widest),
        (lanes.p_vu, lanes.p_ln, shape.width),
        (lanes.p_ln, lanes.p_quan, shape.width),
        (lanes.p_ln, HALFS_PER_BEAT, shape.width),
        (HALFS_PER_BEAT, lanes.p_vu, shape.width),
        (HALFS_PER_BEAT, lanes.p_quan, shape.width),
    ]
    if attention:
        pairs += [(lanes.p_vu, lanes.p_softmax, shape.tokens), (lanes.p_softmax, lanes.p_quan, shape.tokens)]
    for came, leaves, elements in pairs:
        total += _gearbox(came, leaves, HALF_BITS, elements)
    return total


GEARBOX_CONTROL = Use(120, 90, 100)
"""Of one buffer: counters and flags; the smallest one that was synthesised less its memories."""


def _gearbox(came: Count, leaves: Count, bits: int, elements: int) -> Use:
    """Two rows in memories in LUTs, and what chooses where a beat begins."""
    block = np.lcm(came, leaves)
    luts = memory_luts(block * bits, SUM_ROWS * _over(elements, block)) + leaves * bits * _over(block // leaves - 1, 3)
    return GEARBOX_CONTROL + Use(lut_raw=luts, lut_packed=luts)


def _widest(sizes: Sizes, attention: bool, feed_forward: bool) -> int:
    """Elements of the widest row of the vector unit."""
    shape = sizes.shape
    rows = [shape.width]
    rows += [3 * shape.attention_width, shape.tokens] if attention else []
    rows += [shape.intermediate] if feed_forward else []
    return max(rows)


def _memories(lanes: Lanes, sizes: Sizes, attention: bool, feed_forward: bool) -> Use:
    """Weights, planes, rows of x in BRAM; factors, biases and gains in LUTs; the softmax's table of exp."""
    shape = sizes.shape
    y_bits, x_bits = lanes.p_dpu * lanes.p_pe, lanes.p_pe * shape.bits
    matrices: list[Count] = []
    inputs, inner = _over(shape.width, lanes.p_pe) * shape.tokens, []
    if attention:
        attention_width = shape.attention_width
        matrices += [_words(lanes, shape, 3 * attention_width, shape.width)]
        matrices += [_words(lanes, shape, shape.width, attention_width)]
        inner += [shape.tokens * _over(attention_width, lanes.p_pe)]
        inner[-1] = inner[-1] + shape.heads * shape.tokens * _over(shape.tokens, lanes.p_pe)
    if feed_forward:
        matrices += [_words(lanes, shape, shape.intermediate, shape.width)]
        matrices += [_words(lanes, shape, shape.width, shape.intermediate)]
        inner += [shape.tokens * _over(shape.intermediate, lanes.p_pe)]
    blocks = block_rams(y_bits, 2 * _most(matrices)) + block_rams(x_bits, 2 * inputs) + block_rams(x_bits, _most(inner))
    if attention:
        keys = _over(shape.attention_width, lanes.p_pe) * _over(shape.tokens, lanes.p_dpu) * shape.bits
        columns = shape.heads * _over(shape.head_width, lanes.p_dpu) * shape.bits
        blocks = blocks + block_rams(y_bits, keys + columns * _over(shape.tokens, lanes.p_pe))
        blocks = blocks + ROM_BRAMS * lanes.p_softmax
    widest = _widest(sizes, attention, feed_forward)
    tables = memory_luts(lanes.p_vu * HALF_BITS, 2 * (shape.copies + 1) * _over(widest, lanes.p_vu))
    tables = tables + memory_luts(lanes.p_quan * HALF_BITS, 2 * _over(widest, lanes.p_quan))
    tables = tables + 2 * memory_luts(lanes.p_ln * HALF_BITS, 2 * _over(shape.width, lanes.p_ln))
    return Use(lut_raw=tables, lut_packed=tables, bram=blocks)


def _words(lanes: Lanes, shape: Shape, outputs: int, inputs: int) -> Count:
    return shape.copies * _over(outputs, lanes.p_dpu) * _over(inputs, lanes.p_pe)


def _most(counts: Sequence[Count]) -> Count:
    largest = counts[0]
    for count in counts[1:]:
        largest = np.maximum(largest, count)
    return largest


def _over(count: Count, lanes: Count) -> Count:
    return np.floor_divide(count + lanes - 1, lanes)
