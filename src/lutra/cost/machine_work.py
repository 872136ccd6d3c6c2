"""What the units and memories of the transformer machine do in a call of its program, counted from its steps.

Rows and columns that fill up tiles are computed, requantised and mostly stored like all others, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from lutra.accelerators.block.schedule import schedule
from lutra.accelerators.systolic.array import product_cycles
from lutra.accelerators.transformer import latency
from lutra.accelerators.transformer.config import CONSTANT_BITS, TransformerConfig
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.machine import Call
from lutra.accelerators.transformer.program import STEP_BITS, Op, Step, Target
from lutra.frozen.graph import as_weightless

CONSTANT_BYTES, STEP_BYTES = CONSTANT_BITS // 8, -(-STEP_BITS // 8)
WIDE_TARGETS = (Target.STREAM, Target.LOGITS, Target.SCORES)
"""Whose results are int16."""


@dataclass(frozen=True)
class Work:
    """Of one call, or of several."""

    cycles: int = 0
    """All of them, as simulated."""
    array_cycles: int = 0
    """In which the array computes, loads its first operands, or passes on its last results."""
    block_cycles: int = 0
    """In which one of the weightless blocks has rows."""
    results: int = 0
    """Sums that are requantised."""
    table_reads: int = 0
    residual_sums: int = 0
    norm_elements: int = 0
    norm_rows: int = 0
    scores: int = 0
    """Of which the largest is looked for."""
    exponentials: int = 0
    softmax_rows: int = 0
    memory_bytes: int = 0
    """Read and written, beside the buffers at the edges of the array."""
    edge_bytes: int = 0
    """Written into those, once, and read, for every tile that needs them."""
    weight_bytes: int = 0
    """Of everything that is loaded into memories, once."""

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def work_of(image: Image, calls: Iterable[Call]) -> Work:
    """Of calls one after the other; what the memories hold is loaded once for all of them."""
    total = Work(weight_bytes=loaded_bytes(image))
    for call in calls:
        total += Work(cycles=latency.call_cycles(image, call), memory_bytes=STEP_BYTES * len(image.steps))
        for step in image.steps:
            total += _STEPS[step.op](step, call, image)
    return total


def loaded_bytes(image: Image) -> int:
    """What has to come from outside before a program runs."""
    bits = image.config.word_bits
    words = {name: len(content) for name, content in image.memories.items()} | {"program": len(image.steps)}
    return sum(-(-bits[name] // 8) * count for name, count in words.items())


def _nothing(step: Step, call: Call, image: Image) -> Work:
    return Work()


def _embed(step: Step, call: Call, image: Image) -> Work:
    values = call.of_step(step) * step.inner * image.config.lanes
    tables = 2 if step.op == Op.EMBED else 1
    return Work(residual_sums=values, memory_bytes=2 * values * (tables + 1))


def _pixels(step: Step, call: Call, image: Image) -> Work:
    return Work(memory_bytes=step.rows * step.inner * image.config.lanes)


def _norm(step: Step, call: Call, image: Image) -> Work:
    """Elements come from the stream, wait in a ring, and leave for the left operands."""
    rows = call.of_step(step)
    elements = rows * step.inner * image.config.norm_lanes
    return Work(
        norm_elements=elements, norm_rows=rows, memory_bytes=elements * (2 + 2 * 2 + CONSTANT_BYTES + 1)
    )  # fmt: skip


def _product(step: Step, call: Call, image: Image) -> Work:
    return _one_product(call.of_step(step), step.inner, step.column_tiles, step.target, image.config)


def _attention(step: Step, call: Call, image: Image) -> Work:
    config, rows = image.config, call.of_step(step)
    total = Work()
    for first in range(0, rows, config.size):
        count = min(config.size, rows - first)
        keys = call.past + first + count if step.causal else call.past + call.rows
        total += _one_product(count, step.inner, -(-keys // config.size), Target.SCORES, config)
        total += _one_product(count, keys, step.column_tiles, Target.CONTEXT, config)
        again = count * -(-keys // config.lanes) * config.lanes
        total += Work(exponentials=again, softmax_rows=count, memory_bytes=again * (2 + 1 + 1))
    return Work(*(step.heads * value for value in astuple(total)))


def _one_product(rows: int, inner: int, column_tiles: int, target: Target, config: TransformerConfig) -> Work:
    size = config.size
    row_tiles = -(-rows // size)
    results = row_tiles * size * column_tiles * size
    operands = row_tiles * size * inner + row_tiles * column_tiles * size * inner
    fed = 2 * row_tiles * column_tiles * size * inner
    constants = 0 if target in (Target.SCORES, Target.CONTEXT) else CONSTANT_BYTES * results
    kept = rows * column_tiles * size
    written = kept * (2 if target in WIDE_TARGETS else 1)
    added = kept if target == Target.STREAM else 0
    looked_up = results if target == Target.TABLE else 0
    return Work(
        array_cycles=product_cycles(rows, inner, column_tiles * size, size, config.lanes),
        results=results,
        table_reads=looked_up,
        residual_sums=added,
        scores=kept if target == Target.SCORES else 0,
        memory_bytes=operands + constants + written + 2 * added + looked_up,
        edge_bytes=operands + fed,
    )


def _block(step: Step, call: Call, image: Image) -> Work:
    config, rows = image.config, call.of_step(step)
    graph = image.blocks[step.table]
    plan = schedule(as_weightless(graph), config.fold_factor, config.dataflow)
    values = rows * step.inner * config.lanes
    return Work(
        block_cycles=rows * max(step.inner, plan.interval_cycles) + plan.latency_cycles,
        results=values,
        residual_sums=values,
        memory_bytes=values * (1 + CONSTANT_BYTES + 2 + 2),
    )


_STEPS = {
    Op.END: _nothing,
    Op.EMBED: _embed,
    Op.POSITIONS: _embed,
    Op.PIXELS: _pixels,
    Op.NORM: _norm,
    Op.PRODUCT: _product,
    Op.ATTENTION: _attention,
    Op.BLOCK: _block,
}
