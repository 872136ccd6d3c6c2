"""Proves that the systolic array computes exactly the golden matrix products, in exactly the predicted cycles."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mako.template import Template

from lutra.accelerators.systolic.array import (
    ActivationConfig,
    SystolicConfig,
    activation_cycles,
    product_cycles,
    systolic_design,
)
from lutra.errors import InputError
from lutra.frozen.shift import shift_gelu
from lutra.frozen.types import IntArray
from lutra.hardware.bench import streams, verilator
from lutra.hardware.bench.streams import NEVER, STALL_SEED, STALLING_PASSES, Pass, too_few_stalls
from lutra.runs.files import write_text
from lutra.sources import listed_sources

TOP = "systolic"
SHORT_MACS = 1 << 16
"""Of products that also pass with stalls at one end alone."""


@dataclass(frozen=True, eq=False)
class Product:
    """int8 matrices `left` (M, K) and `right` (K, P), whose product is requantised with `multiplier`."""

    left: IntArray
    right: IntArray
    multiplier: int
    activated: bool = False
    """The results pass through ShiftGELU."""

    def golden(self, shift: int) -> IntArray:
        """`clamp((left @ right * multiplier + rounding) >> shift)`, (M, P)."""
        rounding = (1 << shift) >> 1
        sums = self.left.astype(np.int64) @ self.right.astype(np.int64)
        clamped: IntArray = np.clip((sums * self.multiplier + rounding) >> shift, -128, 127)
        return clamped


@dataclass(frozen=True)
class ProductResult:
    """How one product compared; mismatches count wrong and missing results, without and with stalls."""

    rows: int
    inner: int
    columns: int
    mismatches: int
    mismatches_with_stalls: int
    source_stalled_cycles: int
    """Of both sources, in all passes."""
    sink_stalled_cycles: int
    cycles_measured: int
    cycles_predicted: int
    problem: str | None
    """What is wrong, in words; None if everything matches."""


@dataclass(frozen=True)
class SystolicBench:
    """A compiled array, or array with ShiftGELU, that waits for products."""

    config: SystolicConfig
    executable: Path
    activation: ActivationConfig | None = None

    def golden(self, product: Product) -> IntArray:
        """What must come out, (M, P)."""
        y = product.golden(self.config.shift)
        if not product.activated or self.activation is None:
            return y
        activation = self.activation
        rounding = (1 << activation.multiplier_shift) >> 1
        scaled = shift_gelu(y, activation.unit, activation.shift) * activation.multiplier + rounding
        clamped: IntArray = np.clip(scaled >> activation.multiplier_shift, -128, 127)
        return clamped

    def cycles(self, product: Product) -> int:
        """How long it must take."""
        (rows, inner), columns, config = product.left.shape, product.right.shape[1], self.config
        cycles = product_cycles(rows, inner, columns, config.size, config.output_lanes, config.pipelined)
        if product.activated and self.activation is not None:
            cycles += activation_cycles(self.activation, columns, config)
        return cycles


def build(config: SystolicConfig, folder: Path, activation: ActivationConfig | None = None) -> SystolicBench:
    """Generate and compile an array, with `activation` one for MLPs, and its test bench in `folder`.

    Raises:
        ToolError: a tool is missing, or refuses the design.
    """
    systolic_design(config, TOP, activation).write(folder / "rtl")
    template = Template(filename=str(Path(__file__).parent / "systolic.cpp.mako"), strict_undefined=True)
    words = {"operand_words": _words(config.size), "result_words": _words(config.output_lanes)}
    rendered = template.render(config=config, activated=activation is not None, passes=STALLING_PASSES, **words)
    write_text(folder / "testbench.cpp", str(rendered))
    streams.write_bench_header(folder)
    files = [folder / "rtl" / name for name in listed_sources(folder / "rtl")]
    executable = verilator.build(files, TOP, folder / "testbench.cpp", folder, defines=streams.DEFINES)
    return SystolicBench(config, executable, activation)


def simulate_products(bench: SystolicBench, products: Sequence[Product]) -> list[ProductResult]:
    """Run products one after the other, without stalls and again with stalls; of some of these only short products.

    Raises:
        InputError: a product that the array does not take.
        ToolError: the simulation broke off.
    """
    for product in products:
        _check(bench, product)
    vectors = struct.pack("<2I", STALL_SEED, len(products)) + b"".join(
        _vectors(bench.config, product) for product in products
    )
    reader = streams.Reader(streams.execute(bench.executable, vectors))
    recordings = [
        [_recording(reader, bench.config) if _takes(each, product) else None for product in products]
        for each in STALLING_PASSES
    ]
    return [_compare(bench, product, list(row)) for product, *row in zip(products, *recordings, strict=True)]


@dataclass(frozen=True, eq=False)
class _Recording:
    cycles: int
    problems: tuple[str, ...]
    output: IntArray
    """The complete beats that came out, (beats, output_lanes)."""
    stalled_cycles: tuple[int, int]
    """In which sources and sink held a beat back."""


def _check(bench: SystolicBench, product: Product) -> None:
    config, left, right = bench.config, product.left, product.right
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0] or not left.size or not right.size:
        raise InputError(f"systolic array: cannot multiply matrices of shapes {left.shape} and {right.shape}")
    if min(left.min(), right.min()) < -128 or max(left.max(), right.max()) > 127:
        raise InputError("systolic array: matrices must hold int8 values")
    if left.shape[1] > config.depth or _tiles(right.shape[1], config.size) >= 1 << config.tile_bits:
        raise InputError(f"systolic array: {left.shape} x {right.shape} is too large for {config}")
    if product.activated and (
        bench.activation is None or _tiles(right.shape[1], config.size) > bench.activation.max_tiles
    ):
        raise InputError(f"systolic array: cannot activate {right.shape[1]} columns with {bench.activation}")
    if not 0 <= product.multiplier < 1 << config.multiplier_bits:
        raise InputError(
            f"systolic array: multiplier must have {config.multiplier_bits} bits, got {product.multiplier}"
        )


def _vectors(config: SystolicConfig, product: Product) -> bytes:
    size, (rows, inner), columns = config.size, product.left.shape, product.right.shape[1]
    row_tiles, column_tiles = _tiles(rows, size), _tiles(columns, size)
    left = np.pad(product.left, ((0, row_tiles * size - rows), (0, 0)))
    right = np.pad(product.right, ((0, 0), (0, column_tiles * size - columns)))
    a = left.reshape(row_tiles, size, inner).transpose(0, 2, 1).reshape(-1, size)  # (row_tiles * inner, size)
    b = right.reshape(inner, column_tiles, size).transpose(1, 0, 2).reshape(-1, size)  # (column_tiles * inner, size)
    a_words, b_words = streams.pack(a, 8), streams.pack(np.tile(b, (row_tiles, 1)), 8)
    beats = row_tiles * column_tiles * size * size // config.output_lanes
    return b"".join(
        [
            struct.pack("<6I", inner, column_tiles, product.multiplier, product.activated, _is_short(product), beats),
            struct.pack("<I", a_words.size) + a_words.tobytes(),
            struct.pack("<I", b_words.size) + b_words.tobytes(),
        ]
    )


def _is_short(product: Product) -> bool:
    macs: int = product.left.shape[0] * product.left.shape[1] * product.right.shape[1]
    return macs <= SHORT_MACS


def _takes(each: Pass, product: Product) -> bool:
    """Whether a pass takes a product."""
    return not each.short or _is_short(product)


def _recording(reader: streams.Reader, config: SystolicConfig) -> _Recording:
    cycles, unstable_cycle, extra_beats = reader.word(), reader.word(), reader.word()
    stalled_cycles = reader.word(), reader.word()
    words = reader.counted().astype(np.uint32).reshape(-1, _words(config.output_lanes))
    problems = []
    if unstable_cycle != NEVER:
        problems.append(f"the output changed before it was taken in cycle {unstable_cycle}")
    if extra_beats:
        problems.append(f"{extra_beats} beats too many came out")
    return _Recording(
        cycles, tuple(problems), streams.unpack(words, config.output_lanes, 8, signed=True), stalled_cycles
    )


def _compare(bench: SystolicBench, product: Product, recordings: list[_Recording | None]) -> ProductResult:
    (rows, inner), columns = product.left.shape, product.right.shape[1]
    expected = bench.golden(product)
    wrong, problems = [], []
    taken = [(each.name, recording) for each, recording in zip(STALLING_PASSES, recordings, strict=True) if recording]
    for name, recording in taken:
        actual, arrived = _untile(bench.config, product, recording.output)
        different = (actual != expected) | ~arrived
        wrong.append(int(different.sum()))
        problems += [f"{problem} {name}" for problem in recording.problems]
        if wrong[-1]:
            row, column = (int(index) for index in np.argwhere(different)[0])
            rtl = actual[row, column] if arrived[row, column] else "nothing"
            problems.append(f"result [{row}, {column}] {name}: RTL {rtl}, golden {expected[row, column]}")
    predicted, (_, free) = bench.cycles(product), taken[0]
    source, sink = (sum(recording.stalled_cycles[end] for _, recording in taken) for end in (0, 1))
    if not problems:
        size, lanes = bench.config.size, bench.config.output_lanes
        tiles = _tiles(rows, size) * _tiles(columns, size)
        beats = 2 * tiles * inner, tiles * size * size // lanes
        counts = [[beats[end] * (recording is not None) for recording in recordings] for end in (0, 1)]
        lacking = too_few_stalls("source", source, counts[0]), too_few_stalls("sink", sink, counts[1])
        problems += filter(None, lacking)
    if not problems and free.cycles != predicted:
        problems.append(f"{free.cycles} cycles measured, {predicted} predicted")
    return ProductResult(
        rows=rows,
        inner=inner,
        columns=columns,
        mismatches=wrong[0],
        mismatches_with_stalls=sum(wrong[1:]),
        source_stalled_cycles=source,
        sink_stalled_cycles=sink,
        cycles_measured=free.cycles,
        cycles_predicted=predicted,
        problem="; ".join(problems) or None,
    )


def _untile(config: SystolicConfig, product: Product, beats: IntArray) -> tuple[IntArray, np.ndarray]:
    """Results in their places, (M, P), and which of them came out."""
    size, rows, columns = config.size, len(product.left), product.right.shape[1]
    row_tiles, column_tiles = _tiles(rows, size), _tiles(columns, size)
    flat = np.zeros(row_tiles * column_tiles * size * size, np.int64)
    flat[: beats.size] = beats.reshape(-1)
    arrived = np.arange(flat.size) < beats.size

    def placed(each: np.ndarray) -> np.ndarray:
        tiles = each.reshape(row_tiles, column_tiles, size, size).transpose(0, 2, 1, 3)
        return tiles.reshape(row_tiles * size, column_tiles * size)[:rows, :columns]

    return placed(flat), placed(arrived)


def _tiles(count: int, size: int) -> int:
    return -(-count // size)


def _words(lanes: int) -> int:
    return -(-8 * lanes // 32)
