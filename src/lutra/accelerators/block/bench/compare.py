"""Compares what the RTL did with the golden model and with the schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lutra.accelerators.block.bench.harness import SHORT_ROWS, Device, Recording
from lutra.errors import MismatchError
from lutra.frozen import golden
from lutra.frozen.types import IntArray
from lutra.hardware.bench.streams import STALLING_PASSES, too_few_stalls


@dataclass(frozen=True)
class Difference:
    """The first output element of a block that differs; cycles count from the start of the pass."""

    pass_index: int
    row: int
    element: int
    rtl: int
    golden: int
    row_cycle: int
    cycle: int


class StalledCycles(NamedTuple):
    """How long the two ends of a block held beats back, over all passes."""

    source: int
    sink: int


@dataclass(frozen=True)
class BlockResult:
    """How one block compared; mismatches count elements, and elements that never came out."""

    name: str
    graph: str
    rows: int
    mismatches: int
    mismatches_with_stalls: int
    """In all passes with stalls together."""
    stalled_cycles: StalledCycles
    cycles_measured: int
    cycles_predicted: int
    interval_cycles: int
    latency_cycles: int
    steps: int
    difference: Difference | None
    problem: str | None
    """What is wrong, in words; None if everything matches."""

    def to_json(self) -> dict[str, Any]:
        hidden = {"difference"} | ({"problem"} if self.problem is None else set())
        plain = {**vars(self), "stalled_cycles": self.stalled_cycles._asdict()}
        return {key: value for key, value in plain.items() if key not in hidden}


def compare(device: Device, recordings: list[Recording]) -> BlockResult:
    """Compare the passes of one block, in the order of `STALLING_PASSES`, with golden outputs and predicted cycles."""
    plan = device.plan
    golden_rows = golden.run(plan.graph, device.rows)
    fed = [golden_rows[: SHORT_ROWS if each.short else None] for each in STALLING_PASSES]
    wrong = [_count_wrong(each.output, rows) for each, rows in zip(recordings, fed, strict=True)]
    found = (_first(device, index, each, fed[index]) for index, each in enumerate(recordings))
    difference = next(filter(None, found), None)
    free = recordings[0]
    measured = int(free.output_cycles[-1] - free.row_cycles[0]) + 1 if len(free.output_cycles) else 0
    predicted = plan.schedule.cycles(len(device.rows))
    problems = []
    if difference:
        problems.append(
            f"row {difference.row}, element {difference.element} ({STALLING_PASSES[difference.pass_index].name}): "
            f"RTL {difference.rtl}, golden {difference.golden}"
        )
    for name, recording, rows in zip((each.name for each in STALLING_PASSES), recordings, fed, strict=True):
        if len(recording.output) < len(rows):
            problems.append(f"only {len(recording.output)} of {len(rows)} rows came out {name}")
        if recording.extra_beats:
            problems.append(f"{recording.extra_beats} beats too many came out {name}")
        if recording.unstable_cycle is not None:
            problems.append(f"the output changed before it was taken in cycle {recording.unstable_cycle} {name}")
    if not problems and measured != predicted:
        problems.append(f"{measured} cycles measured, {predicted} predicted")
    stalled = StalledCycles(
        sum(recording.source_stalled_cycles for recording in recordings),
        sum(recording.sink_stalled_cycles for recording in recordings),
    )
    if not problems:
        input_beats, output_beats = plan.schedule.input_beats, plan.schedule.output_beats
        lacking = (
            too_few_stalls("source", stalled.source, [len(rows) * input_beats for rows in fed]),
            too_few_stalls("sink", stalled.sink, [len(rows) * output_beats for rows in fed]),
        )
        problems += filter(None, lacking)
    return BlockResult(
        name=plan.name,
        graph=plan.graph.name,
        rows=len(device.rows),
        mismatches=wrong[0],
        mismatches_with_stalls=sum(wrong[1:]),
        stalled_cycles=stalled,
        cycles_measured=measured,
        cycles_predicted=predicted,
        interval_cycles=plan.schedule.interval_cycles,
        latency_cycles=plan.schedule.latency_cycles,
        steps=plan.schedule.steps,
        difference=difference,
        problem="; ".join(problems) or None,
    )


def require_match(results: list[BlockResult], where: str) -> None:
    """Raise for the first block with a problem.

    Raises:
        MismatchError: naming block, row, element, both values and the waveform.
    """
    for result in results:
        if result.problem:
            raise MismatchError(f"{where}: {result.name} ({result.graph}): {result.problem}")


def first_inner_difference(device: Device, row: int, probed: dict[str, IntArray]) -> str | None:
    """The first value inside the block that differs in `row`, in order of computation.

    `probed` is what `harness.run_with_waveform` returns.
    """
    plan = device.plan
    values = golden.trace(plan.graph, device.rows[row : row + 1])
    for number, op in enumerate(plan.layers):
        key = f"layer_{number}"
        if key in probed and row < len(probed[key]):
            bits = plan.existing(number)
            expected = values[op.output][0, bits]
            wrong = np.flatnonzero(probed[key][row] != expected)
            if len(wrong):
                at = int(wrong[0])
                return f"{op.output}[{bits[at]}]: RTL {probed[key][row][at]}, golden {expected[at]}"
    beats = probed["sums"][row * plan.schedule.output_beats :][: plan.schedule.output_beats]
    if len(beats) == plan.schedule.output_beats:
        name = plan.block.summation.output
        width = plan.sum_bits
        weights = np.int64(1) << np.arange(width)
        weights[-1] = -weights[-1]
        sums = (beats.reshape(-1, width) @ weights)[: plan.graph.output_width]  # (beats * lanes,) without padding
        wrong = np.flatnonzero(sums != values[name][0])
        if len(wrong):
            return f"{name}[{wrong[0]}]: RTL {sums[wrong[0]]}, golden {values[name][0, wrong[0]]}"
    return None


def _count_wrong(output: IntArray, expected: IntArray) -> int:
    missing = expected[len(output) :].size
    return int((output != expected[: len(output)]).sum()) + missing


def _first(device: Device, pass_index: int, recording: Recording, expected: IntArray) -> Difference | None:
    differing = np.argwhere(recording.output != expected[: len(recording.output)])
    if not len(differing):
        return None
    row, element = (int(index) for index in differing[0])
    s = device.plan.schedule
    return Difference(
        pass_index=pass_index,
        row=row,
        element=element,
        rtl=int(recording.output[row, element]),
        golden=int(expected[row, element]),
        row_cycle=int(recording.row_cycles[row]),
        cycle=int(recording.output_cycles[row * s.output_beats + element // s.output_lanes]),
    )
