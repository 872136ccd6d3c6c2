"""The accumulators of a block whose dataflow is "accumulate", in the order in which a row's bits reach them.

A row's bits travel along the outputs like a wave: the outputs of beat k add a bit k cycles after those of beat 0. So
the sums of a row are complete one beat after the other, just as they leave, and need no register beside the
accumulator. Rows follow each other without a gap, and a row may start at any step: its steps are then done from there
on, around the end, in every output.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import addend_levels
from lutra.frozen.types import IntArray
from lutra.hardware.literals import literal, rom_order
from lutra.recipes.groups import group_bounds

OUTPUTS_PER_SEGMENT = 16
"""Outputs that share a register of the step: a single one would have to drive the tables of all of them."""


@dataclass(frozen=True)
class Accumulator:
    """What one output adds."""

    output: int
    beat: int
    group: int
    segment: int
    value_bits: int
    addend_bits: int
    values: str
    """Literal of the ROM over the segment's steps: for every bit of the word its table; with one step the word."""


class WavePlan:
    """The accumulators of `plan` and the lines along which bits and steps reach them."""

    def __init__(self, plan: BlockPlan) -> None:
        self.plan = plan
        s, summation = plan.schedule, plan.block.summation
        bounds = group_bounds(len(summation.bias), summation.groups)
        self.first_beats = [self._beat(int(first)) for first in bounds[:-1]]
        self.addend_levels = addend_levels(s.bits_per_step)
        self.taps = [self._beat(int(end) - 1) + 1 + len(self.addend_levels) for end in bounds[1:]]
        """Per group: how far its bits travel, to the last of its outputs and on with what that adds."""
        self.segments = self._segment(s.output_beats - 1) + 1
        self.accumulators = [self._accumulator(output) for output in range(len(summation.bias))]

    def _beat(self, output: int) -> int:
        return output // self.plan.schedule.output_lanes

    def _segment(self, beat: int) -> int:
        return beat // max(1, OUTPUTS_PER_SEGMENT // self.plan.schedule.output_lanes)

    def _accumulator(self, output: int) -> Accumulator:
        plan, group, beat = self.plan, self.plan.group_of(output), self._beat(output)
        values = self.values(output)  # (steps, bits per step)
        value_bits = min(_signed_bits(values.min(), values.max()), plan.sum_bits)
        low, high = np.minimum(values, 0).sum(axis=1).min(), np.maximum(values, 0).sum(axis=1).max()
        addend_bits = min(max(_signed_bits(low, high), value_bits), plan.sum_bits)
        words = values[:, :, None] >> np.arange(value_bits) & 1
        if len(words) > 1:
            words = words[rom_order(0, 2**plan.step_bits, len(words))]
        return Accumulator(
            output, beat, group, self._segment(beat), value_bits, addend_bits, literal(words.reshape(len(words), -1).T)
        )

    def values(self, output: int) -> IntArray:
        """What an output's accumulator adds for every bit, (steps, bits per step), by the step at its port.

        A segment's step is as many cycles behind that of the first as its number, and the bits as many as the beat's.
        """
        plan, s = self.plan, self.plan.schedule
        group, beat = plan.group_of(output), self._beat(output)
        bounds = group_bounds(len(plan.summed), plan.block.summation.groups)
        values = np.zeros(s.steps * s.bits_per_step, np.int64)
        own = plan.block.summation.encoded[bounds[group] : bounds[group + 1], output]
        values[: len(own)] = own
        return np.roll(values.reshape(s.steps, s.bits_per_step), beat - self._segment(beat), axis=0)


def _signed_bits(low: int, high: int) -> int:
    """Bits of two's complement that hold both, at least two: a sign and one more."""
    return max(int(high), int(~low), 1).bit_length() + 1
