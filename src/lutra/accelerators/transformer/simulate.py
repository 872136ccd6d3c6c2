"""Proves that the transformer machine computes what golden computes: every value of every step, and every cycle."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lutra.accelerators.transformer import latency
from lutra.accelerators.transformer.bench import harness
from lutra.accelerators.transformer.bench.compare import StepVerdict, Trace, compare_steps, trace
from lutra.accelerators.transformer.bench.harness import Drive, Run, TransformerBench, Waveform
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.latency import StepTime
from lutra.accelerators.transformer.machine import Call, calls_of, inputs_of
from lutra.errors import MismatchError
from lutra.frozen.ops import Past
from lutra.frozen.types import IntArray
from lutra.hardware.bench.streams import NEVER

WAVEFORM_CYCLES = 2000
"""Of a waveform where no value differs, but cycles do or the end does not come."""
STALL_SEED = 1


@dataclass(frozen=True, eq=False)
class GivenRows:
    """Rows of a program's input, and in how many calls of how many rows they come."""

    rows: IntArray
    """(tokens, 1), or the pixels (height * width, channels) of an image."""
    pieces: tuple[int, ...]


@dataclass(frozen=True)
class CallResult:
    """How one call compared."""

    rows: int
    past: int
    stalled: bool
    """The streams stalled at random, and the machine was reset in the middle once: cycles are not compared."""
    cycles_measured: int | None
    cycles_predicted: int
    values: int
    differing: int
    steps_in_other_cycles: int
    problem: str | None
    """The first thing that is wrong, in words; None if everything matches."""


@dataclass(frozen=True)
class Effort:
    """What something took on this machine, with the tools that it waited for; others may have run at the same time, so
    that the clock says more than the work."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class TransformerResult:
    """How a model compared."""

    calls: tuple[CallResult, ...]
    steps: dict[str, tuple[int, int]]
    """Values and how many of them differ, by the step's golden name."""
    build: Effort
    simulation: Effort

    @property
    def problem(self) -> str | None:
        return next((call.problem for call in self.calls if call.problem), None)


def simulate_model(
    image: Image, sequences: Sequence[GivenRows], folder: Path, waveform: Path | None = None, cached: bool = False
) -> TransformerResult:
    """Build the machine in `folder` and run sequences on it; the first one again with stalls and resets.

    Where something differs, the file `waveform` shows the cycles of the step in which it was computed. `cached` as for
    `harness.build`.

    Raises:
        InputError: a sequence that the machine does not take.
        ToolError: a tool is missing or fails.
    """
    begin = _now()
    built = harness.build(image.config, folder, image.blocks, cached=cached)
    build, begin = _since(begin), _now()
    results: list[CallResult] = []
    steps: dict[str, tuple[int, int]] = {}
    for sequence, stalled in [*((each, False) for each in sequences), *((each, True) for each in sequences[:1])]:
        driven = driven_calls(image, sequence)
        drive = Drive(stalled, STALL_SEED, _middle(image, driven[0][0]) if stalled else 0)
        runs = harness.simulate(built, image, [(call, inputs) for call, inputs, _ in driven], drive)
        for number, ((call, _, expected), run) in enumerate(zip(driven, runs, strict=True)):
            result, verdicts = compare_call(image, call, run, expected, stalled)
            for verdict in verdicts:
                values, wrong = steps.get(verdict.name, (0, 0))
                steps[verdict.name] = values + verdict.values, wrong + verdict.differing
            if waveform and result.problem and not any(each.problem for each in results):
                result = _with_waveform(image, result, verdicts, driven[: number + 1], run, drive, folder, waveform)
            results.append(result)
    return TransformerResult(tuple(results), steps, build, _since(begin))


def driven_calls(image: Image, sequence: GivenRows) -> list[tuple[Call, IntArray, Trace]]:
    """The calls of a sequence, the beats of the input stream of each, and golden's values."""
    past, found = Past(), []
    for call in calls_of(image, sequence.pieces):
        part = sequence.rows if image.config.pixels else sequence.rows[call.past : call.past + call.rows]
        found.append((call, inputs_of(image, part), trace(image.program, part, past)))
    return found


def compare_call(
    image: Image, call: Call, run: Run, expected: Trace, stalled: bool
) -> tuple[CallResult, list[StepVerdict]]:
    """What is to be said of a call, and of every step of it."""
    verdicts = compare_steps(image, call, run, expected)
    problems = [str(verdict.first) for verdict in verdicts if verdict.first] + list(run.problems)
    if stalled and 0 in run.stalled_cycles:
        problems.append("a stream did not stall, which proves nothing about its handshake")
    predicted = latency.step_times(image, call)
    other = []
    if not stalled and run.cycles is not None:
        if len(run.starts) != len(predicted):
            problems.append(f"{len(run.starts)} steps ran, the program has {len(predicted)}")
        ends = run.ends | {len(predicted) - 1: run.cycles - 1}
        other = [
            f"step {number}, {each.step.name}: {text}"
            for number, (each, start) in enumerate(zip(predicted, run.starts.tolist(), strict=False))
            if (text := _in_other_cycles(each, start, ends.get(number, NEVER), image.config.overlap))
        ]
        problems += other[:1]
    result = CallResult(
        rows=call.rows,
        past=call.past,
        stalled=stalled,
        cycles_measured=run.cycles,
        cycles_predicted=latency.call_cycles(image, call),
        values=sum(verdict.values for verdict in verdicts),
        differing=sum(verdict.differing for verdict in verdicts),
        steps_in_other_cycles=len(other),
        problem=next(iter(problems), None),
    )
    return result, verdicts


def _in_other_cycles(predicted: StepTime, start: int, end: int, overlap: bool) -> str:
    """What a step did instead of what was predicted; empty if nothing."""
    if overlap and (start, end) != (predicted.start, predicted.end):
        return f"cycles {start} to {end}, predicted {predicted.start} to {predicted.end}"
    # Where steps run one after the other, one that is late delays all that follow it: what counts is what each took.
    cycles = end - start + 1
    return f"{cycles} cycles, predicted {predicted.cycles}" if cycles != predicted.cycles else ""


def require_match(result: TransformerResult, name: str) -> None:
    """Raise what is wrong with a model.

    Raises:
        MismatchError: naming the first value or cycle that differs.
    """
    if result.problem:
        raise MismatchError(f"{name}: {result.problem}")


def _now() -> Effort:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Effort(time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in used))


def _since(begin: Effort) -> Effort:
    end = _now()
    return Effort(round(end.seconds - begin.seconds, 2), round(end.cpu_seconds - begin.cpu_seconds, 2))


def _middle(image: Image, call: Call) -> int:
    """A cycle in the middle of a step in the middle of a call."""
    times = latency.step_times(image, call)
    return times[len(times) // 2].start + times[len(times) // 2].cycles // 2


def _with_waveform(
    image: Image,
    result: CallResult,
    verdicts: Sequence[StepVerdict],
    driven: Sequence[tuple[Call, IntArray, Trace]],
    run: Run,
    drive: Drive,
    folder: Path,
    path: Path,
) -> CallResult:
    """Run the calls up to one again, and write a waveform of the first step that differs, or of its first cycles."""
    begin, end = 0, WAVEFORM_CYCLES
    number = next((verdict.step for verdict in verdicts if verdict.first), None)
    if number is not None and number < len(run.starts):
        begin = int(run.starts[number])
        end = run.ends.get(number, begin + WAVEFORM_CYCLES)
    path.parent.mkdir(parents=True, exist_ok=True)
    built: TransformerBench = harness.build(image.config, folder / "waveform", image.blocks, waveforms=True)
    calls = [(call, inputs) for call, inputs, _ in driven]
    harness.simulate(built, image, calls, drive, Waveform(path, begin, end))
    return replace(result, problem=f"{result.problem}; waveform of cycles {begin} to {end}: {path}")
