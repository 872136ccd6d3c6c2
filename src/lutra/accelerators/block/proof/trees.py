"""Proof that trees and graphs of a synthesised netlist compute the plain sum: bias, and encoded values of set bits.

The netlist is cut at signals that synthesis keeps: the bits and the step that a lane gets, its tables of partial sums,
and the registers between its adders. Between the cuts,

- every bit that a lane gets is the summed bit of that place and step, for all values of the bits;
- every table holds, in every step and for all values of its bits, the sum of these bits' encoded values;
- every register takes the sum of what its adders read, for all values that these can have: netlist and sum are the same
  decision diagram;
- no adder is too narrow for what the encoded values in any step can make of its sum;
- a graph of adders is the sum (`adder_graph.prove`), and its registers are the graph's (`proof.graphs`).

Together the sum that leaves a lane or a graph is the plain one. Names and widths of the cuts are the generated
design's; the values come from the frozen model. When a register takes something is not covered; simulation does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lutra.accelerators.block.adder_graph import prove
from lutra.accelerators.block.graph_pipeline import GraphPipeline
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.graphs import prove_graph
from lutra.accelerators.block.proof.pipeline import Pipeline, variables
from lutra.accelerators.block.tree import Lane, Leaf, Node, TreePlan
from lutra.errors import InputError, MismatchError
from lutra.synth.netlist.cells import Net, Netlist, Values
from lutra.synth.netlist.diagrams import FALSE, TRUE, Diagrams


@dataclass(frozen=True)
class SummationProof:
    """What was proved."""

    outputs: int
    tables: int
    table_entries: int
    """Entries that were compared, each a sum of encoded values."""
    adders: int
    registers: int
    """Words between adders, the complete sums among them."""
    graph_words: int = 0
    """The same in graphs."""


def prove_summation(plan: BlockPlan, netlist: dict[str, Any]) -> SummationProof:
    """Prove the summation inside a flattened UltraScale+ netlist (Yosys' JSON form) of a block with trees or graphs.

    Raises:
        MismatchError: the message names what differs, and where.
        InputError: the block has another dataflow.
        ToolError: a net, a cell or a function that the proof can not handle.
    """
    if plan.schedule.dataflow == "accumulate":
        raise InputError(f"{plan.name}: the sums of accumulators can not be proved here, only a tree's and a graph's")
    return _Prover(plan, Netlist(netlist, plan.name)).prove()


class _Prover:
    def __init__(self, plan: BlockPlan, netlist: Netlist) -> None:
        self.plan, self.netlist, self.tree = plan, netlist, TreePlan(plan)
        summation = plan.block.summation
        ones = [r for r, (layer, bit) in enumerate(plan.summed) if plan.constants[layer][bit] == 1]
        self.start = summation.bias + summation.encoded[ones].sum(axis=0)
        """Where the sum of every output starts: bias, and the encoded values of bits that are always 1."""
        self.pipeline = Pipeline.of_sums(netlist)
        self.tables = self.table_entries = self.adders = self.registers = 0

    def prove(self) -> SummationProof:
        for lane in self.tree.numbers:
            self._prove_lane(lane, self.tree.lane(lane))
        words = sum(self._prove_graph(group, graph) for group, graph in self.tree.graphs.items())
        outputs = sum(len(self._outputs(lane)) for lane in range(self.plan.schedule.output_lanes))
        return SummationProof(outputs, self.tables, self.table_entries, self.adders, self.registers, words)

    def _prove_graph(self, group: int, graph: GraphPipeline) -> int:
        """Prove the sums of a group that has a graph; how many of its words."""
        rows, outputs = self.tree.group_bits[group], self.plan.group_outputs(group)
        encoded = np.zeros((self.tree.places, len(outputs)), np.int64)
        encoded[: len(rows)] = self.plan.block.summation.encoded[rows, outputs.start : outputs.stop]
        prove(graph.graph, encoded, self.start[outputs.start : outputs.stop])
        source = dict(zip(self.plan.registered, self.netlist.nets("bits_q"), strict=False))
        places: list[Net] = [source[int(r)] for r in rows]
        places += ["0"] * (self.tree.places - len(rows))
        bits = self.plan.sum_bits
        sums = self.netlist.nets("beat_sums")[outputs.start * bits : outputs.stop * bits]
        return prove_graph(graph, self.pipeline, places, sums, f"u_summation.u_graph_{group}.").words

    def _outputs(self, lane: int) -> list[tuple[int, int]]:
        """(step, output) of a lane."""
        lanes, outputs = self.plan.schedule.output_lanes, len(self.start)
        return [(step, output) for step, output in enumerate(range(lane, outputs, lanes))]

    def _places(self, lane: int, step: int) -> list[int]:
        """The summed bits that a lane gets in a step."""
        return [int(r) for r in self.tree.group_bits[self.tree.lane_groups[lane, step]]]

    def _words(self, number: int, lane: Lane) -> dict[str, list[Net]]:
        """The nets of all words of a lane at which the netlist is cut; synthesis keeps one name of several."""
        registered = [taken.name for stage in lane.registers for _, taken in stage]
        names = [leaf.node.name for leaf in lane.leaves] + [name for name in registered if name != lane.sum.name]
        words = {name: self.netlist.nets(f"u_summation.u_lane_{number}.{name}") for name in names}
        sums = self.netlist.nets("beat_sums")[number * self.plan.sum_bits :][: self.plan.sum_bits]
        words[lane.sum.name] = sums[: lane.sum.bits]
        if any(net != words[lane.sum.name][-1] for net in sums[lane.sum.bits :]):
            raise MismatchError(f"{self.plan.name}: the sum of lane {number} leaves without its sign")
        return words

    def _inputs(self, lane: int) -> tuple[list[Net], list[Net]]:
        """The step and the bits that a lane gets, after proving that they are what belongs there."""
        q, step = self.netlist.nets("bits_q"), self.netlist.nets("step")
        source = {r: q[place] for place, r in enumerate(self.plan.registered)}
        if not self.tree.selects:
            return step, [source[r] for r in self._places(lane, 0)]
        lane_step = self._lane_step(lane)
        bits = self.netlist.nets(f"u_summation.bits_{self.tree.selection_of(lane)}_q")
        for at, _ in self._outputs(lane):
            diagrams = Diagrams()
            functions: dict[Net, int] = {"0": FALSE, "1": TRUE}
            functions |= {net: at >> place & 1 for place, net in enumerate(step)}
            for bit in variables(q):
                functions[bit] = diagrams.variable(len(functions))
            rows = self._places(lane, at)
            for place, net in enumerate(lane_step):
                if not self.pipeline.takes(net, at >> place & 1, diagrams, functions):
                    raise MismatchError(f"{self.plan.name}: the trees do not get the step of their bits")
            for net, row in zip(bits, rows, strict=False):  # places beyond have no encoded values
                if not self.pipeline.takes(net, functions[source[row]], diagrams, functions):
                    raise MismatchError(f"{self.plan.name}: lane {lane} gets another bit than {row} in step {at}")
        return lane_step, bits

    def _lane_step(self, lane: int) -> list[Net]:
        """The register of a lane's step; synthesis joins those of all lanes under one of their names."""
        names = [f"u_summation.u_lane_{number}.step_q" for number in (lane, *range(self.plan.schedule.output_lanes))]
        return self.netlist.nets(next((name for name in names if self.netlist.has(name)), names[0]))

    def _encoded(self, lane: int) -> np.ndarray:
        """Encoded value of every place in every step, (steps, places)."""
        encoded = np.zeros((self.tree.steps, self.tree.places), np.int64)
        for step, output in self._outputs(lane):
            rows = self._places(lane, step)
            encoded[step, : len(rows)] = self.plan.block.summation.encoded[rows, output]
        return encoded

    def _prove_lane(self, number: int, lane: Lane) -> None:
        words, (step, bits) = self._words(number, lane), self._inputs(number)
        encoded, start = self._encoded(number), np.zeros(self.tree.steps, np.int64)
        for at, output in self._outputs(number):
            start[at] = self.start[output]
        bounds = {}
        for leaf in lane.leaves:
            expected = self._table(leaf, bits, encoded) + (start[:, None] if 0 in leaf.places else 0)
            self._prove_table(number, leaf, words[leaf.node.name], step, bits, expected)
            bounds[leaf.node.name] = expected.min(axis=1), expected.max(axis=1)
            self._require_room(number, leaf.node, *bounds[leaf.node.name])
        covered = [place for leaf in lane.leaves for place in leaf.places]
        left_out = np.delete(encoded, covered, axis=1)
        if left_out.any() or (0 not in covered and start.any()):
            raise MismatchError(f"{self.plan.name}: lane {number} has no table for encoded values that are not 0")
        cut = [leaf.node.name for leaf in lane.leaves]
        for adders, registers in zip(((), *lane.levels), lane.registers, strict=True):
            for adder in adders:
                left, right = bounds[adder.left.name], bounds[adder.right.name]
                bounds[adder.node.name] = left[0] + right[0], left[1] + right[1]
                self._require_room(number, adder.node, *bounds[adder.node.name])
            self.adders += len(adders)
            for node, taken in registers:
                self._prove_register(number, lane, node, words[taken.name], {name: words[name] for name in cut})
                bounds[taken.name] = bounds[node.name]
            if registers:
                cut = [taken.name for _, taken in registers]

    def _table(self, leaf: Leaf, bits: list[Net], encoded: np.ndarray) -> np.ndarray:
        """Sums of encoded values in every step for all values of a table's different bits, (steps, values)."""
        nets = [bits[place] for place in leaf.places if place < len(bits)]
        free = variables(nets)
        chosen = np.zeros((1 << len(free), len(leaf.places)), np.int64)
        for column, net in enumerate(nets):
            chosen[:, column] = np.arange(len(chosen)) >> free.index(net) & 1 if net in free else net == "1"
        return encoded[:, list(leaf.places)] @ chosen.T

    def _prove_table(
        self, number: int, leaf: Leaf, word: list[Net], step: list[Net], bits: list[Net], expected: np.ndarray
    ) -> None:
        """Compare a table in the netlist with what is expected of it (steps, values)."""
        free = variables([bits[place] for place in leaf.places if place < len(bits)])
        cases = np.arange(expected.size)
        values: Values = {net: cases >> i & 1 != 0 for i, net in enumerate(free)}
        values |= {net: cases // expected.shape[1] >> i & 1 != 0 for i, net in enumerate(step)}
        own, known = set(variables([*free, *step])), set(variables([*bits, *step]))
        for place, net in enumerate(word):
            if not self.netlist.leaves(net, known) <= own:
                raise MismatchError(
                    f"{self.plan.name}: {leaf.node.name} of lane {number} reads other bits than its own"
                )
            found = self.netlist.evaluate(net, values)
            wrong = np.flatnonzero(found != (expected.reshape(-1) >> place & 1 != 0))
            if len(wrong):
                at, entry = divmod(int(wrong[0]), expected.shape[1])
                raise MismatchError(
                    f"{self.plan.name}: bit {place} of {leaf.node.name} of lane {number} is {int(found[wrong[0]])} in "
                    f"step {at} for bits {entry:0{len(free)}b}, whose encoded values add up to {expected[at, entry]}"
                )
        self.tables += 1
        self.table_entries += expected.size

    def _require_room(self, number: int, node: Node, low: np.ndarray, high: np.ndarray) -> None:
        """A number narrower than the complete sum must hold every value; one as wide may wrap around on its way."""
        limit = 1 << node.bits - 1
        if node.bits < self.plan.sum_bits and (low.min() < -limit or high.max() >= limit):
            raise MismatchError(f"{self.plan.name}: {node.name} of lane {number} is too narrow for its sums")

    def _prove_register(self, number: int, lane: Lane, node: Node, word: list[Net], cut: dict[str, list[Net]]) -> None:
        """Compare what a register takes with the sum of the words at the cut before it that its adders read."""
        adders = {adder.node.name: adder for level in lane.levels for adder in level}
        diagrams = Diagrams()

        def read(node: Node) -> list[str]:
            adder = adders.get(node.name)
            return [node.name] if node.name in cut or adder is None else [*read(adder.left), *read(adder.right)]

        operands = [cut[name] for name in read(node)]
        functions: dict[Net, int] = {"0": FALSE, "1": TRUE}
        for place in range(max(map(len, operands))):
            for net in (operand[place] for operand in operands if place < len(operand)):
                if net not in functions:
                    functions[net] = diagrams.variable(len(functions))

        def total(node: Node) -> list[int]:
            if node.name in cut:
                return [functions[net] for net in cut[node.name]]
            adder = adders[node.name]
            return diagrams.add(total(adder.left), total(adder.right), node.bits)

        for place, (net, expected) in enumerate(zip(word, total(node), strict=True)):
            if not self.pipeline.takes(net, expected, diagrams, functions):
                raise MismatchError(
                    f"{self.plan.name}: bit {place} of the register of {node.name} of lane {number} is not that of the "
                    f"sum of {', '.join(read(node))}"
                )
        self.registers += 1
