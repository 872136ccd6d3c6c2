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
from lutra.accelerators.bat.weights import is_scaling
from lutra.errors import InputError

BRAM_WIDTH, BRAM_WORDS = 72, 512
"""Of a block of 36 kbit as a simple dual-port memory."""
LUT_MEMORY_WORDS, LUT_MEMORY_BITS, LUT_MEMORY_LUTS = 64, 7, 8
"""RAM64M8: eight LUTs hold seven bits of 64 words beside each other, RAM32M16 twice as many of half the words."""
SUM_ROWS, STEPS, HALF_BITS = 2, 2, 16
"""Rows of a buffer between units, steps whose parameters are held, bits of a number."""


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
    parts = {name: Use(*[0 * (lanes.p_dpu + lanes.p_vu)] * len(fields(Use))) for name in UNITS}
    for assembly in assemblies_use(fits, lanes, sizes, attention, feed_forward).values():
        for name, use in assembly.items():
            parts[name] += use
    return parts


def assemblies_use(
    fits: UnitFits, lanes: Lanes, sizes: Sizes, attention: bool, feed_forward: bool
) -> dict[str, dict[str, Use]]:
    """What a module takes, by SystemVerilog module and part: a unit with the buffers and memories beside it."""
    shape, widest = sizes.shape, _widest(sizes, attention, feed_forward)
    engine = fits.of(f"dpu_{sizes.sums}", lanes.p_pe, shape.bits) * lanes.p_dpu
    engine += fits.of("engine", lanes.p_pe, shape.bits) - fits.of("dpu_count", lanes.p_pe, shape.bits)
    engine += Use(ff=(lanes.p_dpu - 1) * lanes.p_pe)  # a register for every bit of y
    store = _planes_store(fits, lanes) if attention else fits.of("rows_store", 0, 4)
    widths, numbers = shape.width, _over(widest, lanes.p_vu)
    found = {
        "products": {
            "engine": engine,
            "buffers": _gearbox(lanes.p_dpu, lanes.p_vu, sizes.sum_bits, shape.copies * widest),
            "memories": _memories(lanes, sizes, attention, feed_forward),
        },
        "dequantise": {
            "vector unit": fits.of("vector", lanes.p_vu),
            "buffers": _gearbox(HALFS_PER_BEAT, lanes.p_vu, HALF_BITS, widths),
            "memories": _table(lanes.p_vu, shape.copies * numbers) + _table(lanes.p_vu, numbers),
        },
        "normalise": {
            "layer norm": fits.of("norm", lanes.p_ln),
            "buffers": _gearbox(lanes.p_vu, lanes.p_ln, HALF_BITS, widths)
            + _gearbox(lanes.p_ln, lanes.p_quan, HALF_BITS, widths)
            + _gearbox(lanes.p_ln, HALFS_PER_BEAT, HALF_BITS, widths),
            "memories": _table(lanes.p_ln, _over(widths, lanes.p_ln)) * 2,
        },
        "encode": {
            "quantisation unit": fits.of("quantise", lanes.p_quan, shape.bits) + _tables(lanes.p_quan, shape.bits),
            "buffers": _gearbox(lanes.p_vu, lanes.p_quan, HALF_BITS, widest)
            + _gearbox(HALFS_PER_BEAT, lanes.p_quan, HALF_BITS, widths),
            "memories": _table(lanes.p_quan, _over(widest, lanes.p_quan)),
            "control": store,
        },
        "control": {"control": fits.of("loader", 1) + fits.of("dma_read", 1) * 2 + fits.of("dma_write", 1)},
    }
    if attention:
        found["probabilities"] = {
            "softmax": fits.of("softmax", lanes.p_softmax),
            "buffers": _gearbox(lanes.p_vu, lanes.p_softmax, HALF_BITS, shape.tokens)
            + _gearbox(lanes.p_softmax, lanes.p_quan, HALF_BITS, shape.tokens),
        }
    return found


STORE_ELEMENTS = (32, 128)
"""Codes of a word of x for which the store of a module with attention is synthesised."""


def planes_store(elements: int) -> str:
    """The name of that unit."""
    return f"planes_store_{elements}"


def _planes_store(fits: UnitFits, lanes: Lanes) -> Use:
    """On the plane through stores of two widths, of two sizes each."""
    least, most = STORE_ELEMENTS
    narrow, wide = (fits.of(planes_store(elements), lanes.p_dpu, 4) for elements in STORE_ELEMENTS)
    use: Use = narrow + (wide - narrow) * ((lanes.p_pe - least) / (most - least))
    return use


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
    halves = np.where(np.asarray(words) <= LUT_MEMORY_WORDS // 2, 2, 1)
    deep = _over(words, LUT_MEMORY_WORDS)
    return deep * _over(width, LUT_MEMORY_BITS * halves) * LUT_MEMORY_LUTS + width * _over(deep - 1, 3)


GEARBOX_CONTROL = Use(198, 127, 94)
"""Of one buffer, counters and flags: what is left of two that were synthesised without memories and choice."""
CHOICE_INPUTS = 5
"""A LUT takes in so many more signals than it gives out."""


def _gearbox(came: Count, leaves: Count, bits: int, elements: int) -> Use:
    """A buffer of two rows in LUTs, and for every bit that leaves what chooses where its beat begins."""
    block = np.lcm(came, leaves)
    rows = SUM_ROWS * _power_of_two(np.maximum(2, _over(elements, block)))
    memories, starts = memory_luts(block * bits, rows), block // leaves
    choice = leaves * bits * _over(2 * starts - 1, CHOICE_INPUTS)
    packed = np.where(starts == 1, choice / 2, choice)  # two bits that pass or not share a LUT
    return GEARBOX_CONTROL + Use(lut_raw=memories + choice, lut_packed=memories + packed)


def _table(lanes: Count, words: Count) -> Use:
    """binary16 parameters of two steps (lutra_bat_parameters)."""
    luts = memory_luts(lanes * HALF_BITS, 2 * _power_of_two(words))
    return Use(lut_raw=luts, lut_packed=luts)


TABLE_BEAT, TABLES = 128, 3
"""Bits that are loaded together; tables of a step, one for each of queries, keys and values."""


def _tables(lanes: Count, bits: int) -> Use:
    """Thresholds of two steps in registers, the choice of a step's, and of what is quantised (lutra_bat_encode)."""
    table = TABLES * HALF_BITS * (1 if is_scaling(bits) else 2**bits - 1)
    registers = STEPS * TABLE_BEAT * _over(table, TABLE_BEAT)
    choice = HALF_BITS * lanes
    return Use(lut_raw=table + choice, lut_packed=table / 2 + choice, ff=registers)


def _power_of_two(count: Count) -> Count:
    """The next one from `count` on."""
    power: Count = 2 ** np.ceil(np.log2(np.maximum(count, 1))).astype(np.int64)
    return power


def _widest(sizes: Sizes, attention: bool, feed_forward: bool) -> int:
    """Elements of the widest row of the vector unit."""
    shape = sizes.shape
    rows = [shape.width]
    rows += [3 * shape.attention_width, shape.tokens] if attention else []
    rows += [shape.intermediate] if feed_forward else []
    return max(rows)


def _memories(lanes: Lanes, sizes: Sizes, attention: bool, feed_forward: bool) -> Use:
    """Weights, planes and rows of x in BRAM."""
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
    return Use(bram=blocks)


def _words(lanes: Lanes, shape: Shape, outputs: int, inputs: int) -> Count:
    return shape.copies * _over(outputs, lanes.p_dpu) * _over(inputs, lanes.p_pe)


def _most(counts: Sequence[Count]) -> Count:
    largest = counts[0]
    for count in counts[1:]:
        largest = np.maximum(largest, count)
    return largest


def _over(count: Count, lanes: Count) -> Count:
    return np.floor_divide(count + lanes - 1, lanes)
