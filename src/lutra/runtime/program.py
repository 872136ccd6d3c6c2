"""A frozen weightless block laid out for the compiled kernels: the structures of block.h, filled with NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from lutra.errors import FrozenModelError
from lutra.frozen.graph import Graph, WeightlessBlock, as_weightless
from lutra.frozen.ops import LutLayer
from lutra.runtime.results import result_dtype
from lutra.runtime.structure import pad

COLUMNS = 32
GROUP_BITS = 6
TILE_VECTORS = 8
USED_OUTPUTS = 4
# Sums of one segment, spread over at most 2^16 values, fit int16 once their centre is subtracted.
SEGMENT_SPREAD = 2**16 - 1
PACKED_SOURCE_BITS = 2**15


def _fields(*specification: str) -> list[tuple[str, type]]:
    """`"* name"` is a pointer, `"name"` an int64."""
    return [
        (name.removeprefix("* "), ctypes.c_void_p if name.startswith("* ") else ctypes.c_int64)
        for name in specification
    ]


class _LutLayer(ctypes.Structure):
    _fields_ = _fields(
        "luts", "inputs", "first_plane", "* connections", "* nibbles", "* tables", "* source_low", "* source_high",
        "* source_bit", "* table_bytes", "source_word", "source_words", "first_word",
    )  # fmt: skip


class Block(ctypes.Structure):
    """`struct Block` of block.h; the arrays that it points to are kept in `arrays`."""

    _fields_ = _fields(
        "width", "thermometer_bits", "output_width", "output_bytes", "planes", "* thresholds", "dead_count", "* dead",
        "* live", "* first_feature", "* feature_offset", "packed_words", "few_tokens_allowed", "layer_count",
        "* layers", "group_count", "* group_planes", "column_blocks", "* column_segments", "* segment_tables",
        "* segment_start", "* segment_used", "* table_group", "* table_pairs", "sum_rows", "* sum_planes", "* encoded",
        "sum_pieces", "* sum_source", "* token_rows", "exact_in_int32", "* int32_multiplier", "* int32_offset",
        "* int32_shift",
        "exact_in_double", "* scale", "* offset", "* token_offset", "* multiplier", "* shift", "* constant", "* bias",
        "low", "high",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.arrays: list[Any] = []

    def point(self, target: ctypes.Structure, **arrays: np.ndarray) -> None:
        """Let fields of `target` point to contiguous copies of `arrays`, which live as long as this block."""
        for name, array in arrays.items():
            kept = np.ascontiguousarray(array)
            self.arrays.append(kept)
            setattr(target, name, kept.ctypes.data)


def _pack_bits(rows: np.ndarray) -> np.ndarray:
    """Rows of 0 and 1 to bytes, the first in the lowest bit."""
    return np.packbits(rows.astype(np.uint8), axis=1, bitorder="little")


def compile_block(graph: Graph) -> Block:
    """Lay a weightless block out for the kernels.

    Raises:
        FrozenModelError: not a weightless block, or types that an int8 input and the dtypes of a result cannot hold.
    """
    view = as_weightless(graph)
    if not graph.input_type.signed or graph.input_type.bits > 8:
        raise FrozenModelError(f"{graph.name}: the runtime takes int8 input, this block has {graph.input_type}")
    block = Block()
    block.width, block.output_width, block.output_bytes = (
        graph.input_width,
        graph.output_width,
        result_dtype(graph).itemsize,
    )
    _lay_out_thermometer(block, view)
    values = {view.thermometer.output: (0, 0, view.thermometer.width)}  # name -> first plane, first word, bits
    layers = (_LutLayer * max(1, len(view.lut_layers)))()
    for structure, layer in zip(layers, view.lut_layers, strict=False):
        _lay_out_layer(block, structure, layer, values)
    block.arrays.append(layers)
    block.layer_count, block.layers = len(view.lut_layers), ctypes.addressof(layers)
    widest = max([values[layer.inputs[0]][2] for layer in view.lut_layers], default=0)
    block.few_tokens_allowed = widest <= PACKED_SOURCE_BITS
    centre = _lay_out_sum(block, view, values)
    _lay_out_requantise(block, view, centre)
    return block


def _lay_out_thermometer(block: Block, view: WeightlessBlock) -> None:
    thresholds = view.thermometer.thresholds  # (D, T)
    bits = thresholds.shape[1]
    flat = pad(thresholds.reshape(-1), 0, 64)
    alive = (flat <= 127) & (np.arange(flat.size) < thresholds.size)
    feature = np.minimum(np.arange(flat.size) // bits, block.width - 1).reshape(-1, 64)
    block.thermometer_bits, block.planes, block.packed_words = bits, thresholds.size, len(feature)
    dead = np.flatnonzero(thresholds.reshape(-1) > 127)
    block.dead_count = len(dead)
    block.point(
        block,
        thresholds=np.minimum(flat, 127).astype(np.int8),
        dead=dead.astype(np.int32),
        live=np.packbits(alive, bitorder="little").view(np.uint64),
        first_feature=feature[:, 0].astype(np.int32),
        feature_offset=(feature - feature[:, :1]).astype(np.uint8),
    )


def _lay_out_layer(
    block: Block, structure: _LutLayer, layer: LutLayer, values: dict[str, tuple[int, int, int]]
) -> None:
    first_plane, first_word, source_bits = values[layer.inputs[0]]
    luts, inputs = layer.connections.shape
    structure.luts, structure.inputs = luts, inputs
    structure.first_plane, structure.first_word = block.planes, block.packed_words
    structure.source_word, structure.source_words = first_word, -(-source_bits // 64)
    # Four entries to a nibble and eight to a byte; a table of four entries fills half a byte.
    nibbles = layer.tables.reshape(luts, -1, 4) @ (1 << np.arange(4))  # (L, 2^n / 4)
    table_bytes = _pack_bits(layer.tables)  # (L, bytes)
    by_byte = pad(table_bytes, 0, 64).reshape(-1, 64, table_bytes.shape[1]).transpose(0, 2, 1)
    source = pad(layer.connections, 0, 64).reshape(-1, 64, inputs).transpose(0, 2, 1)  # (L / 64, n, 64)
    block.point(
        structure,
        connections=(layer.connections + first_plane).astype(np.int32),
        nibbles=nibbles.astype(np.uint8),
        tables=np.packbits(np.tile(layer.tables.astype(np.uint8), 64 >> inputs), axis=1, bitorder="little").view(
            np.uint64
        )
        if inputs <= 6
        else np.zeros(0, np.uint64),
        source_low=(source >> 3 & 127).astype(np.uint8),
        source_high=(source >> 10 & 255).astype(np.uint8),
        source_bit=(1 << (source & 7)).astype(np.uint8),
        table_bytes=by_byte,
    )
    values[layer.output] = (block.planes, block.packed_words, luts)
    block.planes += luts
    block.packed_words += -(-luts // 64)


def _lay_out_sum(block: Block, view: WeightlessBlock, values: dict[str, tuple[int, int, int]]) -> np.ndarray:
    """Returns the centre that the int16 sums of each (padded) output leave out, (columns,)."""
    sources = [values[name] for name in view.summation.inputs]
    planes = np.concatenate([first + np.arange(bits) for first, _, bits in sources])  # (R,)
    first_rows = np.cumsum([0, *(bits for _, _, bits in sources)])
    encoded = pad(view.summation.encoded, 1, COLUMNS).astype(np.int8)  # (R, C)
    grouped = pad(encoded, 0, GROUP_BITS).reshape(-1, GROUP_BITS, encoded.shape[1] // COLUMNS, COLUMNS)
    group_count, _, column_blocks, _ = grouped.shape
    tables: list[tuple[int, int]] = []  # (group, column block)
    segment_tables, column_segments, starts = [0], [0], []
    used: list[list[tuple[int, int]]] = []
    centre = np.zeros((column_blocks, COLUMNS), np.int64)
    for column in range(column_blocks):
        for segment in _segments(grouped[:, :, column].astype(np.int64)):
            rows = grouped[segment, :, column].astype(np.int64)  # (groups, 6, 32)
            low, high = np.minimum(rows, 0).sum(axis=(0, 1)), np.maximum(rows, 0).sum(axis=(0, 1))
            middle = low + (high - low + 1) // 2
            starts.append(-middle)
            centre[column] += middle
            used.append([_span(rows[:, :, o : o + USED_OUTPUTS], len(tables)) for o in range(0, COLUMNS, USED_OUTPUTS)])
            tables += [(group, column) for group in segment]
            segment_tables.append(len(tables))
        column_segments.append(len(starts))
    block.sum_rows, block.group_count, block.column_blocks = len(planes), group_count, column_blocks
    block.sum_pieces = len(sources)
    table_group, table_column = np.array(tables).T
    # (groups, column blocks, 3, 32, 2): the values of two bits beside each other
    pairs = grouped.reshape(group_count, 3, 2, column_blocks, COLUMNS).transpose(0, 3, 1, 4, 2)
    block.point(
        block,
        group_planes=pad(planes, 0, GROUP_BITS).astype(np.int32),
        column_segments=np.array(column_segments, np.int32),
        segment_tables=np.array(segment_tables, np.int32),
        segment_start=np.array(starts).astype(np.int16),
        segment_used=np.array(used, np.int32),
        table_group=table_group.astype(np.int32),
        table_pairs=np.ascontiguousarray(pairs[table_group, table_column]).view(np.int16),
        sum_planes=planes.astype(np.int32),
        encoded=encoded,
        sum_source=np.array(
            [(word, -(-bits // 64), row) for (_, word, bits), row in zip(sources, first_rows, strict=False)], np.int32
        ),
        token_rows=_tiles(pad(encoded, 0, 4)),
    )
    return centre.reshape(-1)


def _segments(rows: np.ndarray) -> Iterator[list[int]]:
    """Cut the groups that have a value in `rows` (groups, 6, 32) so that the sums of each part spread over 16 bits."""
    spread = np.abs(rows).sum(axis=1)  # (groups, 32)
    segment: list[int] = []
    total = np.zeros(rows.shape[2], np.int64)
    for group in np.flatnonzero(spread.any(axis=1)).tolist() or [0]:
        if segment and (total + spread[group]).max() > SEGMENT_SPREAD:
            yield segment
            segment, total = [], np.zeros_like(total)
        segment.append(group)
        total = total + spread[group]
    yield segment


def _span(rows: np.ndarray, first: int) -> tuple[int, int]:
    """From which table to which (exclusive) some outputs have a value, in `rows` (groups, 6, outputs) of tables that
    begin with `first`; one table at least."""
    found = np.flatnonzero(rows.any(axis=(1, 2)))
    return (first + int(found[0]), first + int(found[-1]) + 1) if found.size else (first, first + 1)


def _tiles(encoded: np.ndarray) -> np.ndarray:
    """Rows in fours and columns in tiles of up to 128, as the dot products of one token read them."""
    quads = encoded.reshape(len(encoded) // 4, 4, -1, 16).transpose(0, 2, 3, 1)  # (quads, vectors, 16, 4)
    return np.concatenate([quads[:, v : v + TILE_VECTORS].reshape(-1) for v in range(0, quads.shape[1], TILE_VECTORS)])


def _lay_out_requantise(block: Block, view: WeightlessBlock, centre: np.ndarray) -> None:
    op = view.requantise
    multiplier, shift, bias = (pad(array, 0, COLUMNS) for array in (op.multiplier, op.shift, view.summation.bias))
    constant = bias + centre
    rounding = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    largest = np.abs(view.summation.encoded).sum(axis=0).max() + np.abs(bias).max() + np.abs(constant).max()
    block.exact_in_double = int(largest) * int(multiplier.max()) + int(rounding.max()) < 2**52
    int32_offset = constant * multiplier + rounding
    reach = np.abs(view.summation.encoded).sum(axis=0).max() + np.abs(bias).max()
    block.exact_in_int32 = bool(
        multiplier.max() < 2**15 and int(reach) * int(multiplier.max()) + int(rounding.max()) < 2**31
    )
    block.low, block.high = op.type.minimum, op.type.maximum
    block.point(
        block,
        int32_multiplier=multiplier.astype(np.int32),
        int32_offset=int32_offset.astype(np.int32),
        int32_shift=np.minimum(shift, 31).astype(np.int32),
        scale=np.ldexp(multiplier.astype(np.float64), -shift),
        offset=np.ldexp((constant * multiplier + rounding).astype(np.float64), -shift),
        token_offset=np.ldexp((bias * multiplier + rounding).astype(np.float64), -shift),
        multiplier=multiplier,
        shift=shift,
        constant=constant,
        bias=bias,
    )
