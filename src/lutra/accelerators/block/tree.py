"""The trees of adders of a block: one per output lane, each sums a whole output per step.

The first level adds no numbers: a table of at most six inputs, some of the row's bits and the step, holds the sum of
the encoded values of these bits in that step. Every adder is as wide as its sums in the trained block can become.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lutra.accelerators.block.choice import graph_of
from lutra.accelerators.block.graph_pipeline import GraphPipeline
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import graph_levels, lane_groups, leaf_bits, registered_levels, tree_levels
from lutra.frozen.types import IntArray
from lutra.hardware.literals import address_bits, literal, rom_order


@dataclass(frozen=True)
class Selection:
    """Where the trees of some lanes find their bits: each word is one group's bits, as a concatenation."""

    words: tuple[str, ...]
    address_bits: int
    address_tables: str
    """Literal of the ROM that says which word a step needs; of no meaning with one word."""


@dataclass(frozen=True, eq=False)
class Node:
    """A number in a tree: its name, its bits, and its smallest and largest value per step, (steps,)."""

    name: str
    bits: int
    low: IntArray
    high: IntArray

    def extended(self, bits: int) -> str:
        """The number in two's complement of `bits` bits, which are not fewer than its own."""
        sign = f"{{{bits - self.bits}{{{self.name}[{self.bits - 1}]}}}}"
        return f"{{{sign}, {self.name}}}" if bits > self.bits else self.name


@dataclass(frozen=True)
class Leaf:
    """A table: the sum of `places` bits' encoded values, from these bits and the step."""

    node: Node
    places: tuple[int, ...]
    tables: str


@dataclass(frozen=True)
class Adder:
    """node = left + right."""

    node: Node
    left: Node
    right: Node


@dataclass(frozen=True)
class Lane:
    """The tree of one output lane: tables, then levels of adders; `registers` are pairs (node, registered)."""

    leaves: tuple[Leaf, ...]
    levels: tuple[tuple[Adder, ...], ...]
    registers: tuple[tuple[tuple[Node, Node], ...], ...]
    """After the tables, then after each level; empty where a level goes on without registers."""
    sum: Node
    unused_places: tuple[int, ...]
    waiting: int = 0
    """Of the registers, the last ones that only wait for the graphs of other groups."""


class TreePlan:
    """The trees of `plan`, the graphs of the groups that have one instead, and which bits they get."""

    def __init__(self, plan: BlockPlan) -> None:
        self.plan = plan
        schedule = plan.schedule
        self.steps = schedule.steps
        self.step_address_bits = plan.step_bits if self.steps > 1 else 0
        self.leaf_bits = leaf_bits(self.steps)
        self.levels = tree_levels(schedule.bits_per_step, self.steps)
        self.lane_groups = lane_groups(plan.block, schedule.output_lanes, self.steps)
        self.group_bits, self.places, self.start = plan.group_bits, plan.places, plan.start
        sequences = list(dict.fromkeys(map(tuple, self.lane_groups.tolist())))
        self.selections = [self._selection(sequence) for sequence in sequences]
        self._selection_of = [sequences.index(tuple(row)) for row in self.lane_groups.tolist()]
        self.selects = any(len(selection.words) > 1 for selection in self.selections)
        self.graphs = {
            group: self._graph(group) for group, each in enumerate(schedule.sums) if each.dataflow == "graph"
        }
        self.numbers = [lane for lane in range(schedule.output_lanes) if self.lane_groups[lane, 0] not in self.graphs]
        """The lanes that are trees."""

    def _graph(self, group: int) -> GraphPipeline:
        graph = graph_of(self.plan, group)
        waiting = self.plan.schedule.drain_cycles - len(graph_levels(graph.depth))
        return GraphPipeline(graph, (*graph_levels(graph.depth), *[graph.depth] * waiting))

    def selection_of(self, lane: int) -> int:
        return self._selection_of[lane]

    def _selection(self, sequence: tuple[int, ...]) -> Selection:
        groups = sorted(set(sequence))
        words = [self._word(group) for group in groups]
        bits = address_bits(len(words))
        words += words[-1:] * (2**bits - len(words) if len(words) > 1 else 0)
        index = np.array([groups.index(group) for group in sequence])
        if self.steps > 1:
            index = index[rom_order(0, 2**self.plan.step_bits, self.steps)]
        return Selection(tuple(words), bits, literal((index[:, None] >> np.arange(bits) & 1).T))

    def _word(self, group: int) -> str:
        wires = [self.plan.summed_wire(int(r)) for r in self.group_bits[group]]
        wires += ["1'b0"] * (self.places - len(wires))
        return ", ".join(reversed(wires))

    def lane(self, lane: int) -> Lane:
        """The tree of one output lane."""
        values = self.values(lane)  # (steps, places)
        leaves = [self._leaf(lane, first, values) for first in range(0, self.places, self.leaf_bits)]
        kept = [leaf for leaf in leaves if leaf.node.low.any() or leaf.node.high.any()] or leaves[:1]
        nodes = [leaf.node for leaf in kept]
        levels: list[tuple[Adder, ...]] = []
        registers: list[tuple[tuple[Node, Node], ...]] = []
        for level in range(self.levels + 1):
            if level:
                pairs = list(zip(nodes[::2], nodes[1::2], strict=False))
                adders = [self._adder(f"sum_{level}_{i}", left, right) for i, (left, right) in enumerate(pairs)]
                nodes = [adder.node for adder in adders] + nodes[2 * len(pairs) :]
                levels.append(tuple(adders))
            registers.append(())
            if level in registered_levels(self.levels):
                taken = [replace(node, name=f"stage_{level}_{i}_q") for i, node in enumerate(nodes)]
                registers[-1] = tuple(zip(nodes, taken, strict=True))
                nodes = taken
        waiting = self.plan.schedule.drain_cycles - sum(map(bool, registers)) - self.selects
        for _ in range(waiting):
            taken = [replace(node, name=f"stage_{len(registers)}_{i}_q") for i, node in enumerate(nodes)]
            levels.append(())
            registers.append(tuple(zip(nodes, taken, strict=True)))
            nodes = taken
        used = {place for leaf in kept for place in leaf.places}
        unused = tuple(place for place in range(self.places) if place not in used)
        return Lane(tuple(kept), tuple(levels), tuple(registers), nodes[0], unused, waiting)

    def values(self, lane: int) -> IntArray:
        """Encoded value that each place adds in each step, (steps, places)."""
        values = np.zeros((self.steps, self.places), np.int64)
        for step, output in self._outputs(lane):
            rows = self.group_bits[self.lane_groups[lane, step]]
            values[step, : len(rows)] = self.plan.block.summation.encoded[rows, output]
        return values

    def starts(self, lane: int) -> IntArray:
        """Where a lane's sum starts in each step, (steps,)."""
        starts = np.zeros(self.steps, np.int64)
        for step, output in self._outputs(lane):
            starts[step] = self.start[output]
        return starts

    def _outputs(self, lane: int) -> list[tuple[int, int]]:
        """(step, output) of a lane; the last step may have none."""
        lanes, width = self.plan.schedule.output_lanes, len(self.start)
        return [(step, step * lanes + lane) for step in range(self.steps) if step * lanes + lane < width]

    def _leaf(self, lane: int, first: int, values: IntArray) -> Leaf:
        own = values[:, first : first + self.leaf_bits]  # (steps, bits)
        masks = (np.arange(2 ** own.shape[1])[:, None] >> np.arange(own.shape[1])) & 1  # (addresses, bits)
        sums = masks @ own.T  # (addresses, steps)
        if first == 0:
            for step, output in self._outputs(lane):
                sums[:, step] += self.start[output]
        node = self._node(f"leaf_{first // self.leaf_bits}", sums.min(axis=0), sums.max(axis=0), 1)
        if self.steps > 1:
            sums = sums[:, rom_order(0, 2**self.plan.step_bits, self.steps)]
        words = (sums.reshape(-1, 1) >> np.arange(node.bits)) & 1
        return Leaf(node, tuple(range(first, first + own.shape[1])), literal(words.T))

    def _adder(self, name: str, left: Node, right: Node) -> Adder:
        low, high = left.low + right.low, left.high + right.high
        return Adder(self._node(name, low, high, max(left.bits, right.bits)), left, right)

    def _node(self, name: str, low: IntArray, high: IntArray, least_bits: int) -> Node:
        """A number of just the bits that it needs. Nothing beyond the bits of the complete sum matters in any."""
        bits = max(int(~low.min()), int(high.max()), 0).bit_length() + 1
        return Node(name, min(max(bits, least_bits), self.plan.sum_bits), low, high)
