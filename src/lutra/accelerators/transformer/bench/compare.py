"""Compares what the units of a transformer machine write in every step with golden, and names the first difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.transformer import layout
from lutra.accelerators.transformer.bench.harness import Run, Writes
from lutra.accelerators.transformer.config import TransformerConfig
from lutra.accelerators.transformer.image import Image, Place
from lutra.accelerators.transformer.machine import Call
from lutra.accelerators.transformer.program import Op, Step, Target
from lutra.frozen import golden
from lutra.frozen.graph import Graph
from lutra.frozen.ops import Attention, AttentionParts, Past
from lutra.frozen.types import IntArray

NOTHING = -(1 << 40)
"""Where no value was written."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Golden's values of one call: (rows, width) by name, and the inner ones of attention."""

    values: dict[str, IntArray]
    attention: dict[str, AttentionParts]


@dataclass(frozen=True)
class Difference:
    """One value that is not golden's."""

    value: str
    """Its golden name, and what it is where it has none."""
    place: tuple[int, ...]
    """Row and column; of scores and exponentials head, row and key."""
    expected: int
    found: int

    def __str__(self) -> str:
        where = ", ".join(map(str, self.place))
        found = "nothing" if self.found == NOTHING else self.found
        return f"{self.value}[{where}]: golden {self.expected}, RTL {found}"


@dataclass(frozen=True)
class StepVerdict:
    """How the values of one step compared."""

    step: int
    name: str
    values: int
    differing: int
    first: Difference | None


def trace(program: Graph, rows: IntArray, past: Past) -> Trace:
    """What golden computes for the next rows (R, width) of the program's input; `past` takes them in."""
    values: dict[str, IntArray] = {program.input: rows[None].astype(np.int64)}
    attention = {}
    for op in program.ops:
        inputs = [values[name] for name in op.inputs]
        if isinstance(op, Attention):
            attention[op.output] = op.parts(past, *inputs)
            values[op.output] = attention[op.output].context
        else:
            values[op.output] = golden.apply(op, past, *inputs)
    past.tokens += len(rows)
    return Trace({name: value[0] for name, value in values.items()}, attention)


def compare_steps(image: Image, call: Call, run: Run, expected: Trace, logits_only: bool = False) -> list[StepVerdict]:
    """Everything that a call wrote against golden, in the order of the program."""
    verdicts = []
    for number, step in enumerate(image.steps):
        if step.op == Op.END or (logits_only and step.target != Target.LOGITS):
            continue
        pairs = list(_values(image, number, step, call, run, expected))
        values = sum(golden_value.size for _, golden_value, _ in pairs)
        differing, first = 0, None
        for name, golden_value, found in pairs:
            wrong = np.argwhere(golden_value != found)
            differing += len(wrong)
            if len(wrong) and first is None:
                place = tuple(int(each) for each in wrong[0])
                first = Difference(name, place, int(golden_value[place]), int(found[place]))
        verdicts.append(StepVerdict(number, step.name, values, differing, first))
    return verdicts


def logits_of(image: Image, call: Call, run: Run) -> IntArray:
    """The logits that a call gave, (rows, vocabulary or classes)."""
    number = next(i for i, step in enumerate(image.steps) if step.target == Target.LOGITS and step.op == Op.PRODUCT)
    step = image.steps[number]
    rows, found = call.of_step(step), run.writes["logits"].of_step(number)
    beats = _beats_of_product(image.config, rows, step.column_tiles)
    y = np.full((rows, step.column_tiles * image.config.size), NOTHING, np.int64)
    for (row, column), data in zip(beats, found.data, strict=False):
        y[row, column : column + image.config.lanes] = data
    return y[:, image.places[step.name].columns]


def _values(
    image: Image, number: int, step: Step, call: Call, run: Run, expected: Trace
) -> Iterator[tuple[str, IntArray, IntArray]]:
    """Name, golden value and what was found, of all that a step writes; what it computes first comes first."""
    config, place = image.config, image.places[step.name]
    writes = {kind: each.of_step(number) for kind, each in run.writes.items()}
    if step.op == Op.ATTENTION:
        yield from _attention(config, step, call, writes, expected.attention[step.name])
    golden_value = expected.values[step.name]
    if step.op == Op.POSITIONS:
        return  # golden adds the patches at the same time: the product that follows ends with its value
    if place.target == Target.LOGITS:
        yield step.name, golden_value, logits_of(image, call, run)
        return
    rows = np.arange(call.of_step(step))
    if step.op == Op.PRODUCT and place.target == Target.STREAM:
        rows = step.first_row + rows
        golden_value = golden_value[rows]
    yield step.name, golden_value[: len(rows)], _read(config, place, call, rows, writes)


def _read(config: TransformerConfig, place: Place, call: Call, rows: IntArray, writes: dict[str, Writes]) -> IntArray:
    """What was written where a value lies."""
    match place.target:
        case Target.STREAM:
            wide = _wide(writes["stream"], config.stream_words * config.rows, config.lanes)
            return wide[layout.stream(config, rows, place.columns)]
        case Target.VALUES:
            found = writes["values"]
            wide = np.full((config.value_words, config.groups, config.lanes), NOTHING, np.int64)
            wide[found.addresses % config.value_words, found.banks % config.groups] = found.data
            index = layout.values(config, place.base, call.past + rows, place.columns)
            return wide.reshape(config.value_words, -1)[index]
        case Target.KEYS:
            banks = _banks(writes["keys"], config, config.key_words)
            return banks[layout.banked(config, place.base, call.past + rows, place.columns)]
        case _:
            words = config.normed_words if place.base & layout.NORMED else config.left_words
            banks = _banks(writes["left"], config, words)
            return banks[layout.banked(config, place.base % layout.NORMED, rows, place.columns)]


def _wide(found: Writes, words: int, lanes: int) -> IntArray:
    memory = np.full((words, lanes), NOTHING, np.int64)
    memory[found.addresses % words] = found.data
    return memory


def _banks(found: Writes, config: TransformerConfig, words: int) -> IntArray:
    memory = np.full((config.size, words, config.lanes), NOTHING, np.int64)
    memory[found.banks % config.size, found.addresses % layout.NORMED % words] = found.data
    return memory


def _attention(
    config: TransformerConfig, step: Step, call: Call, writes: dict[str, Writes], parts: AttentionParts
) -> Iterator[tuple[str, IntArray, IntArray]]:
    """Scores that a query sees, and exponentials, head by head and row tile by row tile."""
    count = call.of_step(step)
    golden_scores, golden_exponentials = parts.scores[0], parts.exponentials[0]  # (heads, rows, keys)
    scores, exponentials = (np.full(golden_scores.shape, NOTHING, np.int64) for _ in range(2))
    score_place = exponential_place = 0
    for head in range(step.heads):
        for first in range(0, count, config.size):
            rows = np.arange(first, min(first + config.size, count))
            keys = call.past + int(rows[-1]) + 1 if step.causal else call.past + call.rows
            words = len(rows) * -(-keys // config.size) * config.groups
            _place(scores[head, rows[0] :], writes["scores"], score_place, words, keys)
            score_place += words
            words = len(rows) * -(-keys // config.lanes)
            _place(exponentials[head, rows[0] :], writes["exponentials"], exponential_place, words, keys)
            exponential_place += words
    every = np.arange(golden_scores.shape[2])
    limits = call.past + np.arange(count) + 1 if step.causal else np.full(count, call.past + call.rows)
    hidden = every >= limits[:, None]
    golden_scores = np.where(hidden, 0, golden_scores)
    # Exponentials of keys that no row of a tile sees are neither written nor read.
    unwritten = hidden & (exponentials == NOTHING)
    yield f"{step.name}, scores", golden_scores, np.where(hidden, 0, scores)
    yield f"{step.name}, exponentials", golden_exponentials, np.where(unwritten, 0, exponentials)


def _place(target: IntArray, found: Writes, first: int, words: int, keys: int) -> None:
    """Put the words of a row tile, from number `first` on, where their rows and keys are, (rows, keys)."""
    lanes = found.data.shape[1]
    chosen = slice(first, first + words)
    columns = found.addresses[chosen, None] * lanes + np.arange(lanes)  # (words, lanes)
    rows = np.broadcast_to(found.banks[chosen, None], columns.shape)
    fits = (columns < keys) & (rows < len(target))
    target[rows[fits], columns[fits]] = found.data[chosen][fits]


def _beats_of_product(config: TransformerConfig, rows: int, column_tiles: int) -> Iterator[tuple[int, int]]:
    """Row and first column of every beat of the output stream."""
    for first in range(0, rows, config.size):
        for tile in range(column_tiles):
            for row in range(first, min(first + config.size, rows)):
                for group in range(config.groups):
                    yield row, tile * config.size + group * config.lanes
