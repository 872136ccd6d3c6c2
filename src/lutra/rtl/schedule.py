"""When a weightless block does what: the controller in the RTL and the cost model both follow this schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lutra.errors import InputError
from lutra.frozen.graph import WeightlessBlock
from lutra.frozen.ops import group_bounds

FoldFactor = int | Literal["all"]

FIXED_CYCLES = 3
"""Cycles of every row beside beats and steps: move to the holding bank, tables, output register."""


@dataclass(frozen=True)
class BlockSchedule:
    """Cycle counts of one weightless block (QuWeiT section 3.3) at one fold factor.

    Filling row n + 1, summing row n and unloading row n - 1 overlap. Beats never outnumber steps, so the summation
    alone decides how fast rows follow each other.
    """

    fold_factor: FoldFactor
    steps: int
    """Cycles that the summation of one row takes."""
    bits_per_step: int
    """Bits that every output adds per cycle: the fold factor, or less where that takes no more steps."""
    input_lanes: int
    """Activations per beat of the input stream."""
    output_lanes: int
    """Outputs per beat of the output stream."""
    input_beats: int
    output_beats: int

    @property
    def interval_cycles(self) -> int:
        """Cycles from one row to the next when neither source nor sink stalls."""
        return self.steps

    @property
    def latency_cycles(self) -> int:
        """Cycles of a lone row, from its first input beat to its last output beat, both counted."""
        return self.cycles(1)

    def cycles(self, rows: int) -> int:
        """Cycles from the first accepted input beat to the last accepted output beat of `rows` rows, both counted,
        when neither source nor sink stalls."""
        if rows == 0:
            return 0
        return self.input_beats + FIXED_CYCLES + rows * self.steps + self.output_beats


def schedule(block: WeightlessBlock, fold_factor: FoldFactor) -> BlockSchedule:
    """The schedule of `block` when every output adds up to `fold_factor` bits per cycle ("all": all of its bits).

    Raises:
        InputError: the fold factor is neither a positive integer nor "all".
    """
    if fold_factor != "all" and (isinstance(fold_factor, bool) or not isinstance(fold_factor, int) or fold_factor < 1):
        raise InputError(f'fold factor must be an integer from 1, or "all", got {fold_factor!r}')
    summation = block.summation
    summed_bits = int(np.diff(group_bounds(len(summation.encoded), summation.groups)).max())
    steps = 1 if fold_factor == "all" else -(-summed_bits // fold_factor)
    input_width, output_width = block.graph.input_width, block.graph.output_width
    input_lanes, output_lanes = -(-input_width // steps), -(-output_width // steps)
    return BlockSchedule(
        fold_factor=fold_factor,
        steps=steps,
        bits_per_step=-(-summed_bits // steps),
        input_lanes=input_lanes,
        output_lanes=output_lanes,
        input_beats=-(-input_width // input_lanes),
        output_beats=-(-output_width // output_lanes),
    )
