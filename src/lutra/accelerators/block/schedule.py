"""When a weightless block does what: the controller in the RTL and the cost model both follow this schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lutra.errors import InputError
from lutra.frozen.graph import WeightlessBlock
from lutra.frozen.types import IntArray
from lutra.recipes.groups import group_bounds

FoldFactor = int | Literal["all"]
Dataflow = Literal["accumulate", "tree"]
"""How the conditional summation is spread over cycles.

accumulate: the paper's (QuWeiT section 3.3). All outputs work at the same time, each with an accumulator, and add F
bits per cycle. tree: F outputs per cycle, each from all of its bits in one pipelined tree of adders.
"""
DATAFLOWS: dict[str, Dataflow] = {name: name for name in get_args(Dataflow)}
"""The same, by what users write."""

FIXED_CYCLES = 3
"""Cycles of every row beside beats, steps, draining and stages at the input: tables, product, output register."""
INPUT_STAGES = 2
"""Registers between an input beat and the thermometer: looked up thresholds, comparisons."""
SUMMATION_STAGES = 3
"""Registers on the way of an accumulated row's last bit beside those of what it adds: bit, sum, chosen sum."""
LEVELS_PER_STAGE = 3
"""Levels of adders between two registers; only one behind a table, which takes as long as the other two."""
LUT_INPUTS = 6


@dataclass(frozen=True)
class BlockSchedule:
    """Cycle counts of one weightless block (QuWeiT section 3.3) at one fold factor.

    Filling row n + 1, summing row n and draining row n - 1 overlap. Beats never outnumber steps, so the summation
    alone decides how fast rows follow each other.
    """

    dataflow: Dataflow
    fold_factor: FoldFactor
    steps: int
    """Cycles that the summation of one row takes."""
    bits_per_step: int
    """Bits that every output at work adds per cycle, at most."""
    input_lanes: int
    """Activations per beat of the input stream."""
    output_lanes: int
    """Outputs per beat of the output stream."""
    input_beats: int
    output_beats: int
    input_stages: int
    """Cycles from an input beat until its bits are stored."""
    drain_cycles: int
    """Cycles from the last step of a row until its last sum leaves."""

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
        return self.input_beats + self.input_stages + FIXED_CYCLES + rows * self.steps + self.drain_cycles


def schedule(block: WeightlessBlock, fold_factor: FoldFactor, dataflow: Dataflow = "accumulate") -> BlockSchedule:
    """The schedule of `block` at a fold factor: bits per cycle and output (accumulate), or outputs per cycle (tree).

    "all" stands for all of them in one cycle.

    Raises:
        InputError: the fold factor is neither a positive integer nor "all", or there is no such dataflow.
    """
    if fold_factor != "all" and (isinstance(fold_factor, bool) or not isinstance(fold_factor, int) or fold_factor < 1):
        raise InputError(f'fold factor must be an integer from 1, or "all", got {fold_factor!r}')
    if dataflow not in ("accumulate", "tree"):
        raise InputError(f"dataflow must be accumulate or tree, got {dataflow!r}")
    summation = block.summation
    summed_bits = int(np.diff(group_bounds(len(summation.encoded), summation.groups)).max())
    input_width, output_width = block.graph.input_width, block.graph.output_width
    folded = summed_bits if dataflow == "accumulate" else output_width
    steps = 1 if fold_factor == "all" else -(-folded // fold_factor)
    input_lanes, output_lanes = -(-input_width // steps), -(-output_width // steps)
    output_beats = -(-output_width // output_lanes)
    if dataflow == "accumulate":
        # Every output beat is a cycle behind the one before, from its bits to its sums.
        drain_cycles = SUMMATION_STAGES + len(addend_levels(-(-summed_bits // steps))) + output_beats - 1
    else:
        selects = any(len(set(row)) > 1 for row in lane_groups(block, output_lanes, steps).tolist())
        drain_cycles = len(registered_levels(tree_levels(summed_bits, steps))) + int(selects)
    return BlockSchedule(
        dataflow=dataflow,
        fold_factor=fold_factor,
        steps=steps,
        bits_per_step=-(-summed_bits // steps) if dataflow == "accumulate" else summed_bits,
        input_lanes=input_lanes,
        output_lanes=output_lanes,
        input_beats=-(-input_width // input_lanes),
        output_beats=output_beats,
        input_stages=INPUT_STAGES if dataflow == "accumulate" else 0,
        drain_cycles=drain_cycles,
    )


def lane_groups(block: WeightlessBlock, lanes: int, steps: int) -> IntArray:
    """The group of bits that each output lane sums in each step, (lanes, steps), when step s does the outputs from
    s * lanes on. A lane without an output in the last step keeps its group."""
    output_width = block.graph.output_width
    outputs = np.arange(steps) * lanes + np.arange(lanes)[:, None]
    bounds = group_bounds(output_width, block.summation.groups)
    groups: IntArray = np.searchsorted(bounds, np.minimum(outputs, output_width - 1), side="right") - 1
    missing = outputs[:, -1] >= output_width
    groups[:, -1] = np.where(missing, groups[:, max(steps - 2, 0)], groups[:, -1])
    return groups


def leaf_bits(steps: int) -> int:
    """Bits that one table of a tree sums: what the step leaves of a LUT's inputs."""
    return max(1, LUT_INPUTS - (steps - 1).bit_length())


def tree_levels(summed_bits: int, steps: int) -> int:
    """Levels of adders above the tables that hold sums of `leaf_bits` bits."""
    return (-(-summed_bits // leaf_bits(steps)) - 1).bit_length()


def addend_levels(bits_per_step: int) -> tuple[int, ...]:
    """Levels of adders whose sums are registered on the way from a step's bits to what an accumulator adds."""
    return registered_levels((bits_per_step - 1).bit_length())


def registered_levels(levels: int) -> tuple[int, ...]:
    """Levels of adders, from 1 on, whose sums are registered; 0 stands for tables without any adder behind them.

    The last level always is.
    """
    return (*range(1, levels, LEVELS_PER_STAGE), levels)
