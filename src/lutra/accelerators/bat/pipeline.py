"""How many cycles BAT takes for sentences: programs with their loads, two modules that take turns, the paper's Eq. 5.

Like `latency.py`, for whole numbers or arrays of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.bat.latency import BUILT, IDEAL, NO_WAIT, Count, Lanes, Memory, Module, Shape, Timing, total
from lutra.accelerators.bat.program import BEATS


@dataclass(frozen=True)
class LayerCycles:
    """A sentence in one layer, and what comes before the first."""

    quantise: Count
    attention: Count
    feed_forward: Count


def layer_cycles(mha: Lanes, ffn: Lanes, shape: Shape, memory: Memory = NO_WAIT, timing: Timing = IDEAL) -> LayerCycles:
    """Of two modules, or of one given twice; weights are there when they are needed."""
    first, second = Module(mha, shape, memory, timing), Module(ffn, shape, memory, timing)
    return LayerCycles(
        first.quantise.cycles(timing), total(first.attention, timing), total(second.feed_forward(), timing)
    )


def equation_5(attention: Count, feed_forward: Count, layers: int) -> Count:
    """The paper's Eq. 5 as it is printed: one stage per layer, which two samples that take turns do not do."""
    return attention + (layers - 1) * np.maximum(attention, feed_forward) + feed_forward


def equation_5_of_a_pair(attention: Count, feed_forward: Count, layers: int) -> Count:
    """Eq. 5 with a stage per layer and sample of a pair."""
    return attention + (2 * layers - 1) * np.maximum(attention, feed_forward) + feed_forward


@dataclass(frozen=True)
class Job:
    """A sentence in one layer."""

    sentence: int
    attention: Count
    feed_forward: Count


def pipelined(jobs: Sequence[Job], first: Count = 0) -> Count:
    """Cycles of two modules for jobs in the order in which the first one takes them; `first` comes before everything.

    A job's feed-forward block follows its attention. Attention follows the job before of the same sentence, and the one
    before the last, whose codes lie where its own will. Equal to `equation_5_of_a_pair` if a pair has equal jobs.
    """
    attention_done = first
    done: list[Count] = [first, first]
    of_sentence: dict[int, Count] = {}
    for job in jobs:
        own = of_sentence.get(job.sentence)
        ready = done[-2] if own is None else np.maximum(done[-2], own)
        attention_done = np.maximum(attention_done, ready) + job.attention
        done.append(np.maximum(attention_done, done[-1]) + job.feed_forward)
        of_sentence[job.sentence] = done[-1]
    return done[-1]


def alternating(sentences: Sequence[tuple[Count, Count]], layers: int) -> list[Job]:
    """Jobs of sentences (attention, feed-forward) in pairs, which take turns layer by layer; an odd one is alone."""
    return [
        Job(index, *sentences[index])
        for start in range(0, len(sentences), 2)
        for _ in range(layers)
        for index in range(start, min(start + 2, len(sentences)))
    ]


@dataclass(frozen=True)
class ProgramCycles:
    """When the steps of a program start and end, counted from the start of the program."""

    loaded: tuple[Count, ...]
    starts: tuple[Count, ...]
    ends: tuple[Count, ...]

    @property
    def total(self) -> Count:
        return self.ends[-1] + 1


def program_cycles(
    steps: Sequence[Count], load_beats: Sequence[Count], memory: Memory, timing: Timing = BUILT
) -> ProgramCycles:
    """Steps of so many cycles (`Step.cycles`), each with so many beats of weights and tables (lutra_bat_loader).

    Two banks: a step is loaded when the one before is, and the one before that is over.
    """
    loaded: list[Count] = []
    starts: list[Count] = []
    ends: list[Count] = []
    free: Count = 1
    for number, (cycles, beats) in enumerate(zip(steps, load_beats, strict=True)):
        if number > 1:
            free = np.maximum(free, ends[number - 2] + 1)
        fetch = free + 1
        instruction = fetch + timing.request + memory.latency + (BEATS - 1) * memory.gap
        free = instruction + 1 + timing.request + memory.latency + (beats - 1) * memory.gap + 1
        loaded.append(free)
        starts.append(np.maximum(free, ends[-1] + timing.next_step) if ends else free)
        ends.append(starts[-1] + cycles - timing.next_step)
    return ProgramCycles(tuple(loaded), tuple(starts), tuple(ends))


def milliseconds(cycles: Count, clock_hz: float) -> Count:
    return cycles / clock_hz * 1e3


def giga_operations(shape: Shape, layers: int, sentences: int) -> float:
    """Additions and multiplications of layers, 1e9 of them: two for each of `Shape.products`."""
    return 2 * shape.products * layers * sentences * 1e-9


def peak_giga_operations_per_second(modules: Sequence[Lanes], clock_hz: float) -> Count:
    """What the engines could do if each did a product with every element in every cycle."""
    return 2 * sum(module.p_dpu * module.p_pe for module in modules) * clock_hz * 1e-9
