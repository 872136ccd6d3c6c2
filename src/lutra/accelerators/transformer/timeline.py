"""When the steps of a machine whose steps overlap run (`TransformerConfig.overlap`): a recurrence over steps, in a norm
and what follows it or what it follows over rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lutra.accelerators.block.schedule import schedule
from lutra.accelerators.transformer import units
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.machine import Call
from lutra.accelerators.transformer.overlap import Array, Product
from lutra.accelerators.transformer.program import Op, Step, Target
from lutra.frozen.graph import as_weightless

ISSUE_CYCLES = 2
"""From a step that is taken to the next one: its word is fetched, and there."""
Rows = Callable[[int], int]
"""The first cycle in which a row can be read."""


@dataclass
class _Running:
    """The last step of a kind."""

    done: int = -1
    written: list[int] = field(default_factory=list)
    """When each row was, where it goes where another step reads; the last one is `done`."""
    first_row: int = 0
    """Of them; rows before it are there."""
    in_rows: bool = True
    """Another step may start before it is over."""

    def followed(self, taken: int) -> Rows:
        """When a step that is taken in a cycle can read each row."""
        if taken >= self.done:
            return lambda row: 0
        written, first, done = self.written, self.first_row, self.done

        def readable(row: int) -> int:
            place = row - first
            if place < 0 and written:
                return 0
            return (written[place] if 0 <= place < len(written) else done) + 1

        return readable


def taken_and_done(image: Image, call: Call, alone: Callable[[Step], int]) -> list[tuple[int, int]]:
    """Of every step of a call the cycle in which it is taken, and that of its last write; `alone` gives the cycles from
    a start to the end of a step that nothing follows and that follows nothing."""
    norm, other, found = _Running(), _Running(), []
    earliest = 1
    for step in image.steps:
        if step.op == Op.NORM:
            taken = max(earliest, norm.done + 1, 0 if other.in_rows else other.done + 1)
            norm = _norm(step, image, call, taken + 1, other.followed(taken))
            done = norm.done
        elif step.op == Op.END:
            taken = done = max(earliest, norm.done + 1, other.done + 1)
        elif step.op in (Op.PRODUCT, Op.BLOCK):
            taken = max(earliest, other.done + 1)
            run = _product if step.op == Op.PRODUCT else _block
            other = run(step, image, call, taken + 1, norm.followed(taken))
            done = other.done
        else:
            taken = max(earliest, norm.done + 1, other.done + 1)
            done = taken + 1 + alone(step)
            other = _Running(done, in_rows=False)
        found.append((taken, done))
        earliest = taken + ISSUE_CYCLES
    return found


def _norm(step: Step, image: Image, call: Call, start: int, readable: Rows) -> _Running:
    """Rows whose beats are read as soon as a row is there, and end `NORM_INTERVAL_CYCLES` apart at the earliest."""
    beats, lanes, written = step.inner, image.config.norm_lanes, []
    last = start + 1  # the beat before
    after = beats + units.norm_row_cycles(lanes) + units.NORM_STAGES  # from a row's last beat to its last write
    for row in range(call.of_step(step)):
        first = max(last + 1, readable(row) + 1)
        last = first + beats - 1 if row == 0 else max(first + beats - 1, last + units.NORM_INTERVAL_CYCLES)
        written.append(last + after)
    return _Running(written[-1], written)


def _product(step: Step, image: Image, call: Call, start: int, readable: Rows) -> _Running:
    config, rows = image.config, call.of_step(step)
    # A row tile is there with its last row, or with the end of all rows, whether the product takes them all or not.
    ends = [first + config.size - 1 for first in range(0, rows, config.size)]
    array = Array(config)
    time = array.run(Product(len(ends), step.column_tiles, step.inner), start, [readable(row) + 1 for row in ends])
    written = []
    if step.target == Target.STREAM:
        written = [time.row_tiles[row // config.size] for row in range(rows)]
    return _Running(time.done, written, step.first_row)


def _block(step: Step, image: Image, call: Call, start: int, readable: Rows) -> _Running:
    config, words = image.config, step.inner
    block = schedule(as_weightless(image.blocks[step.table]), config.fold_factor, config.dataflow)
    interval = max(words, block.interval_cycles)
    written: list[int] = []
    for row in range(call.of_step(step)):
        read = max(start + 1, readable(row))
        end = read + words + block.latency_cycles + words + units.RESULT_STAGES
        written.append(max(end, written[-1] + interval) if written else end)
    return _Running(written[-1], written)
