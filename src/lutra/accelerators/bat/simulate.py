"""Proves that BAT computes what golden computes: real sentences through all layers, every value and every cycle."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lutra.accelerators.bat import bench, compiler, schedule
from lutra.accelerators.bat.compare import Difference, StepVerdict, Trace, compare_steps, golden_trace
from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.latency import Shape
from lutra.accelerators.bat.pipeline import giga_operations, peak_giga_operations_per_second
from lutra.errors import MismatchError
from lutra.frozen.bert import FrozenBert
from lutra.frozen.bert_golden import classify, embed
from lutra.frozen.binary16 import Binary16Array

logger = logging.getLogger("lutra")

T = TypeVar("T")

WAVEFORM_CYCLES = 2000
"""Of a waveform where no value differs, but cycles do or the end does not come."""


@dataclass(frozen=True, eq=False)
class Sentences:
    """Token numbers, types (sentences, positions) and lengths (sentences) of real sentences."""

    tokens: np.ndarray
    token_types: np.ndarray
    lengths: np.ndarray

    def embedded(self, model: FrozenBert) -> list[Binary16Array]:
        """Rows (tokens, width) of every sentence, as the host computes them."""
        every = zip(self.tokens, self.token_types, self.lengths, strict=True)
        return [
            embed(model, tokens[None, :length], types[None, :length], np.ones((1, length), np.int64))[0]
            for tokens, types, length in every
        ]


@dataclass(frozen=True)
class Effort:
    """What a tool took on this machine; several may run at the same time, so that the clock says more than the work."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class GroupResult:
    """Sentences that ran at the same time."""

    tokens: tuple[int, ...]
    cycles_measured: int | None
    cycles_predicted: int
    values: int
    """Of units in all steps, and of the last layer's rows in memory."""
    differing: int
    logits_differing: int
    """After pooler and classifier on the host."""
    steps_in_other_cycles: int
    effort: Effort
    """Of the simulation."""
    problem: str | None
    """The first thing that is wrong, in words; None if everything matches."""


@dataclass(frozen=True)
class BatResult:
    """How a model compared."""

    groups: tuple[GroupResult, ...]
    blocks: dict[str, tuple[int, int]]
    """Values and how many of them differ, by block such as `layers.0.attention`."""
    stalled: tuple[GroupResult, ...]
    """The first group again, beside a memory that stalls at random: its cycles are not compared."""
    build: Effort
    """Of translating and compiling the accelerator."""

    @property
    def problem(self) -> str | None:
        return next((group.problem for group in (*self.groups, *self.stalled) if group.problem), None)

    def to_json(self, config: BatConfig, model: FrozenBert) -> dict[str, Any]:
        """As it goes into `simulate.json`."""
        every = (*self.groups, *self.stalled)
        cycles = sum(group.cycles_measured or 0 for group in self.groups)
        sentences = [tokens for group in self.groups for tokens in group.tokens]
        operations = sum(
            giga_operations(Shape.of(model.config, tokens), model.config.layers, sentences=1) for tokens in sentences
        )
        peak = float(peak_giga_operations_per_second(config.modules, config.clock_hz))
        seconds = cycles / config.clock_hz
        return {
            "sentences": len(sentences),
            "values": sum(group.values for group in every),
            "mismatches": sum(group.differing + group.logits_differing for group in every),
            "cycles_match": all(group.cycles_measured == group.cycles_predicted for group in self.groups),
            "cycles": cycles,
            "clock_hz": config.clock_hz,
            "seconds_per_sentence": seconds / len(sentences),
            "giga_operations": operations,
            "giga_operations_per_second": operations / seconds if seconds else None,
            "utilisation": operations / seconds / peak if seconds else None,
            "build": asdict(self.build),
            "simulated_seconds": sum(group.effort.seconds for group in every),
            "simulated_cpu_seconds": sum(group.effort.cpu_seconds for group in every),
            "groups": [asdict(group) for group in self.groups],
            "stalled": [asdict(group) for group in self.stalled],
            "blocks": {name: {"values": values, "differing": wrong} for name, (values, wrong) in self.blocks.items()},
        }


def simulate_model(
    model: FrozenBert, config: BatConfig, sentences: Sentences, folder: Path, waveform: Path | None = None
) -> BatResult:
    """Build the accelerator in `folder` and run sentences on it, as many at a time as it has modules.

    Where a value differs, the file `waveform` shows the cycles in which the row of the first one passed.

    Raises:
        InputError: the accelerator does not take the model or a sentence.
        LutraError: an activation of the golden model leaves the range of binary16.
        ToolError: a tool is missing or fails.
    """
    image = compiler.compile_model(model, config)
    rows = sentences.embedded(model)
    groups = [rows[start : start + image.sentences] for start in range(0, len(rows), image.sentences)]
    for group in groups:  # refuses before anything is built
        compiler.compile_sentences(image, [len(each) for each in group])
    traces = [[golden_trace(model, each) for each in group] for group in groups]
    built, building = timed(lambda: bench.build(config, folder))
    blocks: dict[str, tuple[int, int]] = {}
    results: list[list[GroupResult]] = []
    for stalls, some in ((False, groups), (True, groups[:1])):
        passed: list[GroupResult] = []
        for group, traced in zip(some, traces, strict=False):
            (run,), effort = timed(partial(bench.simulate, built, image, [group], stalls))
            result, verdicts = compare_group(model, image, group, traced, run, stalls, effort)
            for verdict in verdicts:
                block = verdict.step.rsplit(".", 1)[0]
                values, wrong = blocks.get(block, (0, 0))
                blocks[block] = values + verdict.values, wrong + verdict.differing
            if waveform and result.problem and not any(each.problem for each in (*chain(*results), *passed)):
                first = next((verdict.first for verdict in verdicts if verdict.first), None)
                result = _with_waveform(result, first, image, group, run, stalls, folder / "waveform", waveform)
            passed.append(result)
            logger.info(
                "%s tokens%s: %s cycles, %d of %d values differ",
                " and ".join(map(str, result.tokens)),
                " with stalls" if stalls else "",
                result.cycles_measured,
                result.differing,
                result.values,
            )
        results.append(passed)
    return BatResult(tuple(results[0]), blocks, tuple(results[1]), building)


def timed(call: Callable[[], T]) -> tuple[T, Effort]:
    """What a call returns, and what it and the tools that it waited for took."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    start, cpu_start = time.perf_counter(), cpu()
    result = call()
    return result, Effort(round(time.perf_counter() - start, 2), round(cpu() - cpu_start, 2))


def require_match(result: BatResult, name: str) -> None:
    """Raise what is wrong with a model.

    Raises:
        MismatchError: naming the first value or cycle that differs.
    """
    if result.problem:
        raise MismatchError(f"{name}: {result.problem}")


def _with_waveform(
    result: GroupResult,
    first: Difference | None,
    image: compiler.Image,
    group: Sequence[Binary16Array],
    run: bench.Run,
    stalls: bool,
    folder: Path,
    path: Path,
) -> GroupResult:
    """Run a group again and write a waveform of the row of its first difference, or of the first cycles."""
    begin, end = 0, WAVEFORM_CYCLES
    programs = compiler.compile_sentences(image, [len(rows) for rows in group])
    for index, steps in enumerate(programs if first else []):
        for step, start in zip(steps, run.modules[index].starts, strict=False):
            if first and (step.name, step.sentence) == (first.step, first.sentence):
                units = schedule.step_units(step, image.config, image.config.modules[index])
                begin = int(start) + first.row * max(unit.interval for unit in units)
                end = begin + sum(unit.passage for unit in units) + image.config.memory_latency
    path.parent.mkdir(parents=True, exist_ok=True)
    built = bench.build(image.config, folder, waveforms=True)
    bench.simulate(built, image, [group], stalls, waveform=bench.Waveform(path, begin, end))
    return replace(result, problem=f"{result.problem}; waveform of cycles {begin} to {end}: {path}")


def compare_group(
    model: FrozenBert,
    image: compiler.Image,
    group: Sequence[Binary16Array],
    traced: Sequence[tuple[Trace, Binary16Array]],
    run: bench.Run,
    stalls: bool,
    effort: Effort,
) -> tuple[GroupResult, list[StepVerdict]]:
    """What is to be said of sentences that ran at the same time, and of every step of theirs; `traced` is golden's."""
    programs = compiler.compile_sentences(image, [len(rows) for rows in group])
    predicted = schedule.program_times(programs, image.config)
    problems: list[str] = []
    verdicts: list[StepVerdict] = []
    late = 0
    for index, (steps, module) in enumerate(zip(programs, run.modules, strict=True)):
        lanes = image.config.modules[index]
        verdicts += compare_steps(steps, module.taps, lanes, model, [trace for trace, _ in traced])
        problems += [f"module {index}: {unit}: a number left its range" for unit in module.errors]
        if module.cycles is None:
            problems.append(f"module {index}: its program did not end")
        elif not stalls:
            other = [
                f"step {times.step} of sentence {times.sentence}: cycles {start} to {end}, predicted {times.start} "
                f"to {times.end}"
                for times, start, end in zip(predicted[index], module.starts, module.ends, strict=True)
                if (times.start, times.end) != (start, end)
            ]
            problems += other[:1]
            late += len(other)
    different = [str(verdict.first) for verdict in verdicts if verdict.first]
    wrong_rows = wrong_logits = 0
    for rows, (_, expected) in zip(run.rows, traced, strict=True):
        wrong_rows += int((rows.view(np.uint16) != expected.view(np.uint16)).sum())
        wrong_logits += int((classify(model, rows[:1]) != classify(model, expected[:1])).sum())
    if wrong_rows and not different:
        different.append(f"{wrong_rows} numbers of the last layer's rows in memory differ")
    result = GroupResult(
        tokens=tuple(len(rows) for rows in group),
        cycles_measured=run.cycles,
        cycles_predicted=max(times[-1].end for times in predicted) + 1,
        values=sum(verdict.values for verdict in verdicts) + sum(rows.size for rows in run.rows),
        differing=sum(verdict.differing for verdict in verdicts) + wrong_rows,
        logits_differing=wrong_logits,
        steps_in_other_cycles=late,
        effort=effort,
        problem=next(iter([*different, *problems]), None),
    )
    return result, verdicts
