"""When every step of a program starts and ends, predicted from its instruction alone.

In a step rows flow through a chain of units with a buffer of two rows before each. A unit takes a row every `interval`
cycles; from the first beat that it takes of a row to the first that the next unit takes of it pass `passage` cycles.
The first row passes all units one after the other, every other row follows after the longest interval:

    cycles = sum of passages + (rows - 1) * longest interval

Where a second stream of rows joins (the residual) or leaves (the rows that go to memory), the longest of these paths
counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutra.accelerators.bat.config import BatConfig, ModuleConfig
from lutra.accelerators.bat.parameters import value_lanes
from lutra.accelerators.bat.products import READ_TO_SUM
from lutra.accelerators.bat.program import BEATS, Step
from lutra.accelerators.bat.weights import is_scaling

START_TO_READ = 1
"""Cycles from a step's start to the engine's first read."""
VECTOR = 5
SHORTEST_PASS = 3
"""Of the vector unit, when a row takes several."""
QUANTISE, QUANTISE_SCALED = 4, 6
STORE = 1
"""From the last code that is taken to the step's end."""
SOFTMAX_MAX, SOFTMAX_EXP, SOFTMAX_SCALE = 2, 7, 2
NORM_MEAN, NORM_ROOT, NORM_SCALE = 18, 22, 6
LOAD_REQUEST = 1
"""From a free bank to the request of the instruction; and from its last beat to the request of the rest."""
DMA_REQUEST = 1
"""From a request to the address on the bus."""


@dataclass(frozen=True)
class Unit:
    """A unit in a step's chain."""

    name: str
    interval: int
    """Cycles from one row to the next."""
    passage: int
    """Cycles from the first beat that it takes of a row to the first that the next unit can take."""


@dataclass(frozen=True)
class StepTimes:
    """Cycles in which a step starts and in which it is done, the program's start being 0."""

    step: str
    sentence: int
    loaded: int
    start: int
    end: int

    @property
    def cycles(self) -> int:
        return self.end - self.start + 1


def tree_registers(lanes: int) -> int:
    """Registers of a `lutra_adder_tree`."""
    return max(1, -(-(lanes - 1).bit_length() // 2))


def step_units(step: Step, config: BatConfig, module: ModuleConfig) -> list[Unit]:
    """The chain of a step's rows, in order, to the memory of x or, without a quantisation unit, to the layer norm."""
    units = []
    if "from_memory" in step.flags:
        units.append(_reader(step, config))
    if "engine" in step.flags:
        row = step["groups"] * step["chunks"] * _y_bits(step, config)
        units.append(Unit("engine", row, row + READ_TO_SUM))
        units.append(_vector(step))
    if "softmax" in step.flags:
        beats, tree = step["softmax_beats"], tree_registers(module.p_softmax)
        parts = {"max": SOFTMAX_MAX, "exp": SOFTMAX_EXP + tree, "scale": SOFTMAX_SCALE}
        units += [Unit(f"softmax {name}", beats, beats + latency) for name, latency in parts.items()]
    if "norm" in step.flags:
        beats, tree = step["norm_beats"], tree_registers(module.p_ln)
        parts = {"mean": NORM_MEAN + tree, "root": NORM_ROOT + tree, "scale": NORM_SCALE}
        units += [Unit(f"norm {name}", beats, beats + latency) for name, latency in parts.items()]
    if "store" in step.flags:
        latency = QUANTISE_SCALED if is_scaling(config.activation_bits) else QUANTISE
        interval = _store_cycles(step, config, module)
        units.append(Unit("quantise and store", interval, interval + latency))
    return units


def step_cycles(step: Step, config: BatConfig, module: ModuleConfig) -> int:
    """Cycles from a step's start to its end, both included."""
    rows = step_rows(step)
    units = step_units(step, config, module)
    reading = DMA_REQUEST + config.memory_latency
    start = START_TO_READ if "engine" in step.flags else reading
    paths = [(start, units, STORE if "store" in step.flags else 0)]
    if "residual" in step.flags:
        # The residual row joins in the vector unit's last pass.
        place = next(index for index, unit in enumerate(units) if unit.name == "vector")
        passes, slots = _passes(step)
        vector = units[place]
        late = Unit("vector", vector.interval, vector.passage - (passes - 1) * slots)
        paths.append((reading, [_reader(step, config), late, *units[place + 1 :]], paths[0][2]))
    if "norm" in step.flags:
        row = step["row_beats"] * config.memory_gap
        writer = Unit("write", row, row - config.memory_gap + 1)
        paths = [
            branch
            for begin, chain, end in paths
            for branch in (
                (begin, chain, end),
                (
                    begin,
                    [*(unit for unit in chain if unit.name != "quantise and store"), writer],
                    config.memory_latency,
                ),
            )
        ]
    return max(
        begin + sum(unit.passage for unit in chain) + (rows - 1) * max(unit.interval for unit in chain) + end
        for begin, chain, end in paths
    )


def program_times(programs: Sequence[Sequence[Step]], config: BatConfig) -> list[list[StepTimes]]:
    """When every step of every module is loaded, starts and ends; memory does not stall.

    Loads run ahead by one step. The n-th step of a module that waits starts after the n-th job of the other one.
    """
    times: list[list[StepTimes]] = [[] for _ in programs]
    waits, jobs = [0 for _ in programs], [[] for _ in programs]  # type: tuple[list[int], list[list[int]]]
    while any(len(done) < len(program) for done, program in zip(times, programs, strict=True)):
        before = [len(done) for done in times]
        for index, (program, done) in enumerate(zip(programs, times, strict=True)):
            peer = jobs[1 - index] if len(programs) == 2 else []
            while len(done) < len(program) and ("waits" not in program[len(done)].flags or waits[index] < len(peer)):
                step = program[len(done)]
                free = done[-1].loaded if done else 1
                if len(done) >= 2:
                    free = max(free, done[-2].end + 1)
                loaded = free + load_cycles(step["load_beats"], config)
                start = max(loaded, done[-1].end + 1) if done else loaded
                if "waits" in step.flags:
                    start = max(start, peer[waits[index]] + 1)
                    waits[index] += 1
                end = start + step_cycles(step, config, config.modules[index]) - 1
                done.append(StepTimes(step.name, step.sentence, loaded, start, end))
                if "job_end" in step.flags:
                    jobs[index].append(end)
        if before == [len(done) for done in times]:
            raise AssertionError("programs wait for each other")
    return times


def load_cycles(beats: int, config: BatConfig) -> int:
    """From the cycle in which a bank is free to that in which its step can start."""
    return 2 * (LOAD_REQUEST + DMA_REQUEST + config.memory_latency) + (BEATS + beats - 2) * config.memory_gap + 1


def program_cycles(programs: Sequence[Sequence[Step]], config: BatConfig) -> int:
    """Of programs that start together."""
    return max(done[-1].end for done in program_times(programs, config)) + 1


def step_rows(step: Step) -> int:
    """Rows that flow through a step's units."""
    if "engine" in step.flags:
        return step["heads"] * step["rows"]
    return step["store_rows"]


def _y_bits(step: Step, config: BatConfig) -> int:
    return 1 if "binary" in step.flags else config.activation_bits


def _passes(step: Step) -> tuple[int, int]:
    """Passes of the vector unit over a row, and the cycles of each."""
    passes = step["copies"] + ("residual" in step.flags)
    return passes, max(step["vector_beats"], SHORTEST_PASS) if passes > 1 else step["vector_beats"]


def _vector(step: Step) -> Unit:
    passes, slots = _passes(step)
    return Unit("vector", passes * slots, (passes - 1) * slots + step["vector_beats"] + VECTOR)


def _reader(step: Step, config: BatConfig) -> Unit:
    """Rows from memory, whose first beat comes when its latency is over."""
    row = step["row_beats"] * config.memory_gap
    return Unit("read", row, row - config.memory_gap + 1)


def _store_cycles(step: Step, config: BatConfig, module: ModuleConfig) -> int:
    """Of a row of codes: keys and values go to memory plane by plane, values part by part."""
    beats = step["quantise_beats"]
    if "attention" not in step.flags:
        return beats
    bits = config.activation_bits
    parts = min(module.p_quan // value_lanes(config, module), step["value_parts"])
    values = (beats - 1) * parts * bits + (step["value_parts"] - (beats - 1) * parts) * bits
    return beats + beats * bits + values
