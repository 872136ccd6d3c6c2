"""Cycles of the transformer machine, in closed form: of every step of a call, and of all; simulation equals them.

Steps of a machine without overlap run one after the other, and their cycles are a sum; for the others see `timeline`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutra.accelerators.block.schedule import schedule
from lutra.accelerators.systolic.array import product_cycles
from lutra.accelerators.transformer import overlap, timeline, units
from lutra.accelerators.transformer.config import TransformerConfig
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.machine import Call
from lutra.accelerators.transformer.overlap import AttentionTile
from lutra.accelerators.transformer.program import Op, Step
from lutra.frozen.graph import Graph, as_weightless

CONTROL_CYCLES = 2
"""Of every step: its word is fetched, its unit started."""
PRODUCT_CYCLES = units.RESULT_STAGES
"""Of a product beside what the array takes: start and first read, instead of the array's output register; the results'
stages."""
TILE_CYCLES = 5
"""Of a row tile of attention beside its products and softmax: one before the first product, two before what follows."""


@dataclass(frozen=True)
class StepTime:
    """When a step runs; the first step's fetch is in cycle 0."""

    step: Step
    start: int
    """The cycle before its unit starts: of its fetch, or with overlap that in which it is taken."""
    cycles: int

    @property
    def end(self) -> int:
        """The cycle in which its last result is written."""
        return self.start + self.cycles - 1


def step_times(image: Image, call: Call) -> list[StepTime]:
    """Every step of a call, when neither stream stalls."""
    times, now = [], 0
    if image.config.overlap:
        ran = timeline.taken_and_done(image, call, lambda step: step_cycles(step, call, image) - CONTROL_CYCLES)
        return [StepTime(step, taken, done - taken + 1) for step, (taken, done) in zip(image.steps, ran, strict=True)]
    for step in image.steps:
        cycles = step_cycles(step, call, image)
        times.append(StepTime(step, now, cycles))
        now += cycles
    return times


def call_cycles(image: Image, call: Call) -> int:
    """From the fetch of the first step to that of the end, both counted, and the cycle in which the end is seen."""
    return step_times(image, call)[-1].end + 1


def shares(times: Sequence[StepTime]) -> list[tuple[Step, int]]:
    """Steps with the cycles that each adds to those of all before it: what overlaps counts once."""
    found, end = [], -1
    for time in times:
        found.append((time.step, max(0, time.end - end)))
        end = max(end, time.end)
    return found


def total_cycles(image: Image, calls: Sequence[Call]) -> int:
    """Of calls one after the other."""
    return sum(call_cycles(image, call) for call in calls)


def step_cycles(step: Step, call: Call, image: Image) -> int:
    """One step that is alone, from its fetch to its last write, both counted."""
    rows, config = call.of_step(step), image.config
    match step.op:
        case Op.END:
            return CONTROL_CYCLES
        case Op.EMBED | Op.POSITIONS:
            return CONTROL_CYCLES + rows * (step.inner + 1) + 2
        case Op.PIXELS:
            return CONTROL_CYCLES + rows * step.inner
        case Op.NORM:
            return CONTROL_CYCLES + 2 + units.norm_cycles(rows, step.inner, config.norm_lanes)
        case Op.PRODUCT:
            return CONTROL_CYCLES + _product(rows, step.inner, step.column_tiles, config)
        case Op.ATTENTION:
            tiles = attention_tiles(step, call, config)
            if config.overlap:
                return CONTROL_CYCLES + overlap.attention_cycles(step.heads * tiles, config)
            return CONTROL_CYCLES + step.heads * sum(_attention_tile(tile, config) for tile in tiles)
        case Op.BLOCK:
            return CONTROL_CYCLES + _block(rows, step.inner, image.blocks[step.table], config)


def _product(rows: int, inner: int, column_tiles: int, config: TransformerConfig) -> int:
    """From the cycle behind a product's start to its last write."""
    columns = column_tiles * config.size
    return product_cycles(rows, inner, columns, config.size, config.lanes) + PRODUCT_CYCLES


def attention_tiles(step: Step, call: Call, config: TransformerConfig) -> list[AttentionTile]:
    """The row tiles of one head."""
    rows, tiles = call.of_step(step), []
    for first in range(0, rows, config.size):
        count = min(config.size, rows - first)
        keys = call.past + first + count if step.causal else call.past + call.rows
        tiles.append(AttentionTile(count, keys, step.inner, step.column_tiles))
    return tiles


def _attention_tile(tile: AttentionTile, config: TransformerConfig) -> int:
    """A row tile of a head, from the start of its scores to the last write of its context."""
    scores = _product(tile.rows, tile.head_width, -(-tile.keys // config.size), config)
    context = _product(tile.rows, tile.keys, tile.column_tiles, config)
    chunks = -(-tile.keys // config.lanes)
    return scores + units.softmax_cycles(tile.rows, chunks, config.lanes) + context + TILE_CYCLES


def _block(rows: int, words: int, graph: Graph, config: TransformerConfig) -> int:
    """Rows through a weightless block: read, computed and written at the same time, two rows waiting before each."""
    block = schedule(as_weightless(graph), config.fold_factor, config.dataflow)
    interval = max(words, block.interval_cycles)
    return 1 + words + block.latency_cycles + words + units.RESULT_STAGES + (rows - 1) * interval
