"""Proof that a synthesised netlist of an adder graph in stages computes the graph.

`adder_graph.prove` shows that a graph is the sum, whatever the bits. Here the netlist is cut at the registers between
the graph's stages, whose names synthesis keeps. Every bit of a register must take the function of the stage before it
that counts and adders make of it, for all values that this stage can have: netlist and graph are the same decision
diagram. What synthesis has done to the words within a stage does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutra.accelerators.block.adder_graph import Adder, Count, Operand, Output
from lutra.accelerators.block.graph_pipeline import GraphPipeline, Register, output_name
from lutra.accelerators.block.proof.pipeline import Pipeline
from lutra.errors import MismatchError
from lutra.synth.netlist.cells import Net
from lutra.synth.netlist.diagrams import FALSE, TRUE, Diagrams


@dataclass(frozen=True)
class GraphProof:
    """What was proved."""

    words: int
    """Registers between stages, and sums."""
    bits: int


def prove_graph(
    graph: GraphPipeline, pipeline: Pipeline, places: Sequence[Net], sums: Sequence[Net], prefix: str = ""
) -> GraphProof:
    """Prove that a flattened UltraScale+ netlist holds `graph`, from the nets of its bits to those of its sums.

    Names of the graph's signals begin with `prefix`.

    Raises:
        MismatchError: the message names the word and bit that differ.
        ToolError: a signal, a cell or a function that the proof can not handle.
    """
    return _Prover(graph, pipeline, places, sums, prefix).prove()


class _Prover:
    def __init__(
        self, graph: GraphPipeline, pipeline: Pipeline, places: Sequence[Net], sums: Sequence[Net], prefix: str
    ) -> None:
        self.graph, self.pipeline, self.places, self.sums, self.prefix = graph, pipeline, places, sums, prefix
        self.netlist = pipeline.netlist
        self.made: dict[str, Count | Adder | Output] = {
            **{count.number.name: count for count in graph.graph.counts},
            **{adder.number.name: adder for adder in graph.graph.adders},
            **{output_name(index): output for index, output in enumerate(graph.graph.outputs)},
        }
        self.outputs = {
            graph.word(output_name(index), graph.stages): index for index in range(len(graph.graph.outputs))
        }

    def prove(self) -> GraphProof:
        registers = [(stage, each) for stage in range(1, self.graph.stages + 1) for each in self.graph.registers(stage)]
        for stage, register in registers:
            self._prove_register(register, stage)
        return GraphProof(len(registers), sum(register.bits for _, register in registers))

    def _nets(self, register: str) -> list[Net]:
        """The nets of a register; synthesis knows sums by what reads them."""
        if register in self.outputs:
            bits = self.graph.graph.bits
            return list(self.sums[self.outputs[register] * bits :][:bits])
        return self.netlist.nets(self.prefix + register)

    def _prove_register(self, register: Register, stage: int) -> None:
        diagrams = Diagrams()
        functions: dict[Net, int] = {"0": FALSE, "1": TRUE}
        for _, net in sorted(self._read(register.source, stage - 1, 0), key=lambda each: each[0]):
            if net not in functions:
                functions[net] = diagrams.variable(len(functions))
        expected = self._word(register.source, stage - 1, diagrams, functions)
        for place, (net, function) in enumerate(zip(self._nets(register.name), expected, strict=True)):
            if not self.pipeline.takes(net, function, diagrams, functions):
                raise MismatchError(
                    f"{self.netlist.name}: bit {place} of {self.prefix}{register.name} is not that of the adder graph"
                )

    def _read(self, name: str, stage: int, shift: int) -> list[tuple[int, Net]]:
        """The nets at the beginning of a stage that a word in it is made of, each with the place at which it counts."""
        if self.graph.made[name] < stage:
            return [(place + shift, net) for place, net in enumerate(self._nets(self.graph.word(name, stage)))]
        made = self.made[name]
        if isinstance(made, Count):
            return [(shift, self.places[place]) for place in made.places]
        return [
            each for operand in made.operands for each in self._read(operand.number.name, stage, operand.shift + shift)
        ]

    def _word(self, name: str, stage: int, diagrams: Diagrams, functions: dict[Net, int]) -> list[int]:
        """A word in a stage as functions of the nets at its beginning."""
        if self.graph.made[name] < stage:
            return [functions[net] for net in self._nets(self.graph.word(name, stage))]
        made = self.made[name]
        if isinstance(made, Count):
            total = [FALSE] * made.number.bits
            for place in made.places:
                bit = functions[self.places[place]]
                turned = diagrams.negate(bit) if place in made.inverted else bit
                total = diagrams.add(total, [turned, FALSE], made.number.bits)
            return total
        constant, bits = (made.constant, self.graph.graph.bits) if isinstance(made, Output) else (0, made.number.bits)
        total = [TRUE if constant >> place & 1 else FALSE for place in range(bits)]
        for operand in made.operands:
            total = diagrams.add(total, self._moved(operand, stage, diagrams, functions), bits)
        return total

    def _moved(self, operand: Operand, stage: int, diagrams: Diagrams, functions: dict[Net, int]) -> list[int]:
        word = self._word(operand.number.name, stage, diagrams, functions)
        turned = [diagrams.negate(bit) for bit in word] if operand.inverted else word
        return [*[FALSE] * operand.shift, *turned, FALSE]
