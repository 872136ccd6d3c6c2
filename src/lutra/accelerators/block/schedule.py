"""When a weightless block does what: the controller in the RTL and the cost model both follow this schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lutra.accelerators.block.choice import GroupSum, graph_of, group_sums
from lutra.accelerators.block.contents import BlockContents
from lutra.errors import InputError
from lutra.frozen.graph import WeightlessBlock
from lutra.frozen.types import IntArray
from lutra.recipes.groups import group_bounds

FoldFactor = int | Literal["all"]
Dataflow = Literal["accumulate", "tree", "graph", "auto"]
"""How the conditional summation is spread over cycles.

accumulate: the paper's (QuWeiT section 3.3). All outputs work at the same time, each with an accumulator, and add F
bits per cycle. tree: F outputs per cycle, each from all of its bits in one pipelined tree of adders. graph: all outputs
in one cycle, from a pipelined graph of tables and adders that those of a group share. auto: a tree, or, with all
outputs in one cycle, for every group of outputs what is counted to take fewer lookup tables.
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
GRAPH_LEVELS_PER_STAGE = 2
"""The same in a graph, whose adders have three operands."""
LUT_INPUTS = 6


@dataclass(frozen=True)
class BlockSchedule:
    """Cycle counts of one weightless block (QuWeiT section 3.3) at one fold factor.

    Filling row n + 1, summing row n and draining row n - 1 overlap. Beats never outnumber steps, so the summation
    alone decides how fast rows follow each other.
    """

    dataflow: Dataflow
    """What was chosen, never "auto"; "graph" if any group of outputs has one."""
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
    sums: tuple[GroupSum, ...] = ()
    """How each group of outputs is summed, where a graph was asked for or could be chosen."""
    fallback: str | None = None
    """Why no graph could be chosen."""

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
    """The schedule of `block` at a fold factor: bits per cycle and output (accumulate), or outputs per cycle (others).

    "all" stands for all of them in one cycle.

    Raises:
        InputError: the fold factor is neither a positive integer nor "all", there is no such dataflow, or a graph is
            asked for but not all outputs in one cycle.
    """
    if fold_factor != "all" and (isinstance(fold_factor, bool) or not isinstance(fold_factor, int) or fold_factor < 1):
        raise InputError(f'fold factor must be an integer from 1, or "all", got {fold_factor!r}')
    if dataflow not in DATAFLOWS:
        raise InputError(f"dataflow must be accumulate, tree, graph or auto, got {dataflow!r}")
    summation = block.summation
    summed_bits = int(np.diff(group_bounds(len(summation.encoded), summation.groups)).max())
    input_width, output_width = block.graph.input_width, block.graph.output_width
    folded = summed_bits if dataflow == "accumulate" else output_width
    steps = 1 if fold_factor == "all" else -(-folded // fold_factor)
    input_lanes, output_lanes = -(-input_width // steps), -(-output_width // steps)
    output_beats = -(-output_width // output_lanes)
    sums, fallback = _sums(block, dataflow, fold_factor, steps)
    if dataflow == "accumulate":
        # Every output beat is a cycle behind the one before, from its bits to its sums.
        drain_cycles = SUMMATION_STAGES + len(addend_levels(-(-summed_bits // steps))) + output_beats - 1
    else:
        graphs = [group for group, each in enumerate(sums) if each.dataflow == "graph"]
        dataflow = "graph" if graphs else "tree"
        selects = any(len(set(row)) > 1 for row in lane_groups(block, output_lanes, steps).tolist())
        of_trees = len(registered_levels(tree_levels(summed_bits, steps))) + int(selects)
        of_graphs = [len(graph_levels(graph_of(BlockContents(block), group).depth)) for group in graphs]
        # Trees and graphs of one block advance together: the shorter pass their sums on until the longest has its own.
        drain_cycles = max(of_graphs + [of_trees] * (not graphs or len(graphs) < len(sums)))
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
        sums=sums,
        fallback=fallback,
    )


def _sums(
    block: WeightlessBlock, dataflow: Dataflow, fold_factor: FoldFactor, steps: int
) -> tuple[tuple[GroupSum, ...], str | None]:
    """How each group is summed where a graph may be, and why none may be."""
    if dataflow not in ("graph", "auto"):
        return (), None
    if steps > 1:
        reason = f"a graph sums all outputs in one cycle, and fold factor {fold_factor} takes {steps}"
        if dataflow == "graph":
            raise InputError(f'{block.graph.name}: {reason}; take fold factor "all", or dataflow tree or auto')
        return (), reason
    return group_sums(BlockContents(block), forced=dataflow == "graph"), None


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


def graph_levels(depth: int) -> tuple[int, ...]:
    """Levels of a graph's adders whose sums are registered."""
    return registered_levels(depth, GRAPH_LEVELS_PER_STAGE)


def registered_levels(levels: int, per_stage: int = LEVELS_PER_STAGE) -> tuple[int, ...]:
    """Levels of adders, from 1 on, whose sums are registered; 0 stands for tables without any adder behind them.

    The last level always is.
    """
    return (*range(1, levels, per_stage), levels)
