"""Proof that a synthesised netlist of an adder graph computes the graph, and with it the sums.

`adder_graph.prove` shows that a graph is the sum, whatever the bits. Here the netlist is cut at the words of the graph
that synthesis kept. Every bit of such a word must be the function of the words below it that count or adder make it,
for all values that these can have: netlist and graph are the same decision diagram. Words that synthesis has dissolved
are followed down to the next ones that it kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lutra.accelerators.block.adder_graph import Adder, AdderGraph, Count, Number, Operand
from lutra.errors import MismatchError, ToolError
from lutra.synth.netlist.cells import Net, Netlist
from lutra.synth.netlist.diagrams import FALSE, TRUE, Diagrams


@dataclass(frozen=True)
class GraphProof:
    """What was proved."""

    words: int
    """Counts, sums and outputs that the netlist holds."""
    dissolved: int
    """Words that it does not hold, which are part of those that read them."""
    bits: int


def prove_graph(graph: AdderGraph, netlist: dict[str, Any], name: str) -> GraphProof:
    """Prove that a flattened UltraScale+ netlist (Yosys' JSON form) of `graph_design(graph, ...)` is the graph.

    Raises:
        MismatchError: the message names the word and bit that differ.
        ToolError: a cell or a function that the proof can not handle.
    """
    return _Prover(graph, Netlist(netlist, name), netlist["ports"]["bits_i"]["bits"]).prove()


class _Prover:
    def __init__(self, graph: AdderGraph, netlist: Netlist, places: Sequence[Net]) -> None:
        self.graph, self.netlist, self.places = graph, netlist, places
        made: list[Count | Adder] = [*graph.counts, *graph.adders]
        self.made = {each.number.name: each for each in made}
        self.kept: dict[str, list[Net]] = {}
        for number in (each.number for each in self.made.values()):
            nets = netlist.nets(number.name) if netlist.has(number.name) else []
            if nets and all(self._driven(net) for net in nets):
                self.kept[number.name] = nets

    def _driven(self, net: Net) -> bool:
        if net in ("0", "1") or net in self.netlist.inputs:
            return True
        try:
            self.netlist.read_by(net)
        except ToolError:
            return False
        return True

    def prove(self) -> GraphProof:
        bits = 0
        for name, nets in self.kept.items():
            made = self.made[name]
            operands = made.operands if isinstance(made, Adder) else ()
            places = made.places if isinstance(made, Count) else ()
            bits += self._prove_word(name, nets, operands, 0, places)
        sums = self.netlist.nets("sums_o")
        for index, output in enumerate(self.graph.outputs):
            nets = sums[index * self.graph.bits : (index + 1) * self.graph.bits]
            bits += self._prove_word(f"output {index}", nets, output.operands, output.constant, ())
        return GraphProof(len(self.kept) + len(self.graph.outputs), len(self.made) - len(self.kept), bits)

    def _prove_word(
        self, name: str, nets: list[Net], operands: Sequence[Operand], constant: int, places: Sequence[int]
    ) -> int:
        """Compare each bit of a word in the netlist with what the graph makes of the words below it; how many."""
        diagrams = Diagrams()
        functions: dict[Net, int] = {"0": FALSE, "1": TRUE}
        below = [(place, self.places[place]) for place in places]
        for operand in operands:
            below += self._cut(operand.number, operand.shift)
        for _, net in sorted(below, key=lambda each: each[0]):
            if net not in functions:
                functions[net] = diagrams.variable(len(functions))
        if places:
            made = self.made[name]
            expected = self._made(made, diagrams, functions)
        else:
            expected = self._sum(operands, constant, len(nets), diagrams, functions)
        for place, net in enumerate(nets):
            if self.netlist.function(net, diagrams, functions) != expected[place]:
                raise MismatchError(f"{self.netlist.name}: bit {place} of {name} is not that of the adder graph")
        return len(nets)

    def _cut(self, number: Number, shift: int) -> list[tuple[int, Net]]:
        """The kept nets that a number is made of, each with the place at which it counts."""
        if number.name in self.kept:
            return [(place + shift, net) for place, net in enumerate(self.kept[number.name])]
        made = self.made[number.name]
        if isinstance(made, Count):
            return [(shift, self.places[place]) for place in made.places]
        return [each for operand in made.operands for each in self._cut(operand.number, operand.shift + shift)]

    def _made(self, made: Count | Adder, diagrams: Diagrams, functions: dict[Net, int]) -> list[int]:
        """The bits of a count or sum as functions of what is kept below it."""
        if isinstance(made, Adder):
            return self._sum(made.operands, 0, made.number.bits, diagrams, functions)
        bits = [functions[self.places[place]] for place in made.places]
        turned = [
            diagrams.negate(bit) if place in made.inverted else bit
            for place, bit in zip(made.places, bits, strict=True)
        ]
        total = [FALSE] * made.number.bits
        for bit in turned:
            total = diagrams.add(total, [bit, FALSE], made.number.bits)
        return total

    def _sum(
        self, operands: Sequence[Operand], constant: int, bits: int, diagrams: Diagrams, functions: dict[Net, int]
    ) -> list[int]:
        total = [TRUE if constant >> place & 1 else FALSE for place in range(bits)]
        for operand in operands:
            name = operand.number.name
            if name in self.kept:
                word = [functions[net] for net in self.kept[name]]
            else:
                word = self._made(self.made[name], diagrams, functions)
            moved = [FALSE] * operand.shift + [diagrams.negate(bit) if operand.inverted else bit for bit in word]
            total = diagrams.add(total, [*moved, FALSE], bits)
        return total
