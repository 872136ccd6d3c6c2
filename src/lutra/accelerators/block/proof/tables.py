"""Proof that the tables of a synthesised netlist are the trained ones: every bit that the summation reads.

The netlist is that of the whole block, in which synthesis has merged, renamed and restructured tables. Random rows show
which nets behave like which bits of the trained network; this is only a guess. The guesses are proved layer by layer:
from its net, the netlist is followed back to nets that are proved already, first of all the thermometer's registers,
and what lies between is compared with the trained network for every value that these can take. Bits without a net of
their own are part of what lies between. Bits of LUTs count as independent, so that synthesis which made use of their
dependence would be reported as a difference. The thermometer's registers are proved to take the trained comparison of
every activation in the beat that is theirs. Summation and control (when a register takes something) are not covered;
simulation does that.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import MismatchError, ToolError
from lutra.frozen import golden
from lutra.frozen.ops import LutLayer, Thermometer
from lutra.synth.netlist.cells import Net, Netlist, SettledNetlist

RANDOM_ROWS = 2048
LARGEST_ENUMERATION = 1 << 22
CONTROL_REGISTERS = r"(?!u_thermometer\.(data|thresholds_\d+|reached_\d+)_q).*_q"
"""Their values are not those that the input causes."""
LARGEST_CONTROL = 12
"""Bits of state whose values are all tried."""
Bit = tuple[int, int]
"""A bit of the trained network: layer (0 is the thermometer) and place."""


@dataclass(frozen=True)
class TableProof:
    """What was proved."""

    outputs: int
    """Bits that the summation reads, each proved equal to the trained one for every row."""
    luts: int
    """Trained LUTs that were compared, as nets of their own or inside what lies between."""
    cut_points: int
    """Nets that were proved equal to a trained bit."""
    assignments: int
    """Values that were compared."""


def prove_tables(plan: BlockPlan, netlist: dict[str, Any]) -> TableProof:
    """Prove the network inside a flattened UltraScale+ netlist of the block's top module (Yosys' JSON form).

    Raises:
        MismatchError: a bit differs; the message names it, and the values of its inputs.
        ToolError: a net, a cell or a function that the proof can not handle.
    """
    return _Prover(plan, netlist).prove()


class _Prover:
    def __init__(self, plan: BlockPlan, module: dict[str, Any]) -> None:
        self.plan, self.netlist = plan, Netlist(module, plan.name)
        self.settled = SettledNetlist(module, plan.name, re.compile(CONTROL_REGISTERS).fullmatch)
        self.layers: list[Thermometer | LutLayer] = [plan.block.thermometer, *plan.block.lut_layers]
        type_ = plan.graph.input_type
        codes = np.arange(1 << type_.bits)
        self.activations = np.where(codes > type_.maximum, codes - len(codes), codes)
        """Value of every code of an activation."""
        self.held = set(self.netlist.nets("bits_q"))
        """The registers' own values: synthesis may make holding them part of what they take."""
        self.enable: Net = "1"
        self.control: set[int] = set()
        """What the enable of the registers follows from."""
        self.net_of: dict[Bit, int] = {}
        """Proved: the net is the bit."""
        self.bit_of: dict[int, Bit] = {}
        self.compared: set[Bit] = set()
        self.assignments = 0

    def prove(self) -> TableProof:
        outputs = {self.plan.summed[r]: net for r, net in self._outputs().items()}
        self._prove_thermometer()
        candidates = self._candidates(outputs.values())
        for layer in range(len(self.layers)):
            for place in self.plan.existing(layer) if layer else ():
                net = candidates.get((layer, place))
                if net is not None and (layer, place) not in outputs:
                    self._compare((layer, place), net)
                    self._accept((layer, place), net)
            for bit, output in outputs.items():
                if bit[0] == layer:
                    self._compare(bit, output)
                    if isinstance(output, int):
                        self._accept(bit, output)
        luts = sum(layer > 0 for layer, _ in self.compared)
        return TableProof(len(outputs), luts, len(self.net_of), self.assignments)

    def _accept(self, bit: Bit, net: int) -> None:
        self.net_of[bit] = net
        self.bit_of.setdefault(net, bit)

    def _prove_thermometer(self) -> None:
        """Prove what the thermometer's registers take, for every activation in every beat, and accept their nets."""
        s, codes = self.plan.schedule, np.arange(len(self.activations))
        bits = self.plan.graph.input_type.bits
        x = self.netlist.nets("x_data_i")
        # Every code in every beat; the other lanes get the same code, and a register may read only its own.
        code, beats = np.tile(codes, s.input_beats), np.repeat(np.arange(s.input_beats), len(codes))
        always = [net for name in ("x_valid_i", "x_ready_o", "rst_ni") for net in self.netlist.nets(name)]
        inputs: dict[Net, np.ndarray] = {net: np.ones(len(code), bool) for net in always}
        counters = ["input_beat", "u_thermometer.looked_up_q"] if s.input_stages else ["input_beat"]
        for counter in counters:
            if s.input_beats == 1 and not self.netlist.has(counter):
                continue  # it may also be there: synthesis does not know that the counter of a single beat stays 0
            inputs |= {net: beats >> place & 1 != 0 for place, net in enumerate(self.netlist.nets(counter))}
        values = {net: code >> place % bits & 1 != 0 for place, net in enumerate(x)} | inputs
        known = {net for net in values if isinstance(net, int)} | self.settled.inputs | self.settled.state
        for place, net in zip(self.plan.existing(0), self.netlist.nets("layer_0"), strict=False):
            own_beat, lane = divmod(self._feature(place), s.input_lanes)
            taken, _ = self.netlist.register(net)
            read = self.settled.leaves(taken, known)
            others = set(x) - set(x[lane * bits :][:bits])
            if read & others:
                raise MismatchError(f"{self.plan.name}: bit {place} of layer 0 reads other activations than its own")
            controls = self._controls_that_take_a_beat(read - values.keys())
            for control, self.settled.held_value in itertools.product(controls, (False, True)):
                held = {held: np.full(len(code), value) for held, value in control.items()}
                actual = self.settled.evaluate(taken, values | held)[own_beat * len(codes) :][: len(codes)]
                wrong = np.flatnonzero(actual != (self.activations >= self._threshold(place)))
                self.assignments += len(codes)
                if len(wrong):
                    raise MismatchError(
                        f"{self.plan.name}: bit {place} of layer 0 is {int(actual[wrong[0]])} in the netlist for "
                        f"x[{self._feature(place)}] = {self.activations[wrong[0]]}, trained is "
                        f"{int(not actual[wrong[0]])}"
                    )
            if isinstance(net, int):
                self._accept((0, place), net)

    def _controls_that_take_a_beat(self, control: set[int]) -> Iterator[dict[int, bool]]:
        """Values of control nets, in every state in which the block takes a beat."""
        (ready,) = self.netlist.nets("x_ready_o")
        known = self.settled.inputs | self.settled.registers
        free = sorted(control | (self.netlist.leaves(ready, known) if control else set()))
        if len(free) > LARGEST_CONTROL:
            raise ToolError(f"{self.plan.name}: the thermometer depends on too much of the control to be proved")
        values: dict[Net, np.ndarray] = {"1": np.ones(1 << len(free), bool)}
        values |= {net: np.arange(1 << len(free)) >> i & 1 != 0 for i, net in enumerate(free)}
        taking = self.netlist.evaluate(ready, dict(values)) if control else values["1"]
        states = {tuple(bool(values[net][at]) for net in sorted(control)) for at in np.flatnonzero(taking)}
        for state in sorted(states):
            yield dict(zip(sorted(control), state, strict=True))

    def _outputs(self) -> dict[int, Net]:
        """The summed bits that exist and what their registers take when they are enabled."""
        nets = self.netlist.nets("bits_q")
        taken = {r: self.netlist.register(nets[place]) for place, r in enumerate(self.plan.registered)}
        enables = {enable for _, enable in taken.values()} - {"1"}
        if len(enables) > 1:
            raise ToolError(f"{self.plan.name}: the registers of the bits have several enables in the netlist")
        if enables:
            self.enable = enables.pop()
            self.control = {net for net in self.netlist.read_by(self.enable) if isinstance(net, int)}
        return {r: net for r, (net, _) in taken.items()}

    def _enabled(self) -> dict[int, bool]:
        """Values of the control nets that enable the registers."""
        control = sorted(self.control)
        values: dict[Net, np.ndarray] = {"1": np.ones(1 << len(control), bool)}
        values |= {net: np.arange(1 << len(control)) >> i & 1 != 0 for i, net in enumerate(control)}
        enabled = np.flatnonzero(self.netlist.evaluate(self.enable, dict(values)))
        return {net: bool(values[net][enabled[0]]) for net in control}

    def _candidates(self, outputs: Iterable[Net]) -> dict[Bit, int]:
        """Nets that behave like trained bits on random rows."""
        type_, rng = self.plan.graph.input_type, np.random.default_rng(0)
        rows = rng.integers(type_.minimum, type_.maximum + 1, (RANDOM_ROWS, self.plan.graph.input_width))
        trained = golden.trace(self.plan.graph, rows)
        thermometer = trained[self.plan.block.thermometer.output]
        values: dict[Net, np.ndarray] = {net: thermometer[:, place] != 0 for net, (_, place) in self.bit_of.items()}
        values |= {net: np.zeros(RANDOM_ROWS, bool) for net in self.held}
        values |= {net: np.full(RANDOM_ROWS, value) for net, value in self._enabled().items()}
        for net in outputs:
            self.netlist.evaluate(net, values)
        nets = {value.tobytes(): net for net, value in values.items() if isinstance(net, int)}
        bits: dict[Bit, int] = {}
        for layer, op in enumerate(self.layers):
            for place in self.plan.existing(layer):
                candidate = nets.get((trained[op.output][:, place] != 0).tobytes())
                if candidate is not None:
                    bits[layer, place] = candidate
        return bits

    def _compare(self, bit: Bit, net: Net) -> None:
        """Compare a net with a trained bit for every value of the nets between which and it nothing is proved."""
        known = (self.bit_of.keys() | self.held | self.control) - ({net} if bit[0] else set())
        leaves = self.netlist.leaves(net, known) | self._leaves(bit, direct=True)
        if leaves & self.control:
            leaves |= self.control
        values = self._every_value(leaves, bit)
        expected = self._trained(bit, values)
        actual = self.netlist.evaluate(net, dict(values))
        if leaves & self.control:
            expected = np.where(self.netlist.evaluate(self.enable, dict(values)), expected, actual)
        self.assignments += len(expected)
        wrong = np.flatnonzero(actual != expected)
        if len(wrong):
            at = int(wrong[0])
            inputs = ", ".join(f"{self._name(leaf)} = {int(values[leaf][at])}" for leaf in sorted(leaves))
            raise MismatchError(
                f"{self.plan.name}: bit {bit[1]} of layer {bit[0]} is {int(actual[at])} in the netlist, trained is "
                f"{int(expected[at])}, for {inputs}"
            )

    def _name(self, net: int) -> str:
        if net in self.bit_of:
            layer, place = self.bit_of[net]
            return f"bit {place} of layer {layer}"
        if net in self.held:
            return "the bit before"
        return "control"

    def _leaves(self, bit: Bit, direct: bool = False) -> set[int]:
        """Proved nets from which the trained bit follows."""
        if bit in self.net_of and not direct:
            return {self.net_of[bit]}
        layer, place = bit
        op = self.layers[layer]
        if isinstance(op, LutLayer):
            return set().union(*(self._leaves((layer - 1, int(source))) for source in op.connections[place]))
        return set() if self._constant(place) else {self.net_of[bit]}

    def _every_value(self, leaves: set[int], bit: Bit) -> dict[Net, np.ndarray]:
        """Every combination of values of `leaves` that rows can cause, and perhaps some that they can not.

        Leaves of the same activation take the values that its codes give them; bits of LUTs count as independent.
        """
        groups: dict[tuple[str, int], list[int]] = {}
        for leaf in sorted(leaves):
            feature = self._feature_of(leaf)
            groups.setdefault(("net", leaf) if feature is None else ("activation", feature), []).append(leaf)
        patterns = [self._patterns(kind, nets) for (kind, _), nets in groups.items()]
        total = int(np.prod([len(pattern) for pattern in patterns], dtype=object)) if patterns else 1
        if total > LARGEST_ENUMERATION:
            raise ToolError(f"{self.plan.name}: bit {bit[1]} of layer {bit[0]} depends on too much to be proved")
        values: dict[Net, np.ndarray] = {"0": np.zeros(total, bool), "1": np.ones(total, bool)}
        before = 1
        for nets, pattern in zip(groups.values(), patterns, strict=True):
            index = np.arange(total) // before % len(pattern)
            before *= len(pattern)
            values.update((net, pattern[index, column]) for column, net in enumerate(nets))
        return values

    def _patterns(self, kind: str, nets: list[int]) -> np.ndarray:
        """The distinct values that a group of leaves can take together, (values, nets)."""
        if kind == "net":
            return np.array([[False], [True]])
        columns = [self.activations >= self._threshold(self.bit_of[net][1]) for net in nets]
        return np.unique(np.stack(columns, axis=1), axis=0)

    def _feature_of(self, net: int) -> int | None:
        """The activation that alone decides a leaf, if there is one."""
        layer, place = self.bit_of.get(net, (None, 0))
        return self._feature(place) if layer == 0 else None

    def _feature(self, place: int) -> int:
        bits: int = self.plan.block.thermometer.thresholds.shape[1]
        return place // bits

    def _threshold(self, place: int) -> int:
        return int(self.plan.block.thermometer.thresholds.reshape(-1)[place])

    def _constant(self, place: int) -> bool:
        type_ = self.plan.graph.input_type
        return not type_.minimum < self._threshold(place) <= type_.maximum

    def _trained(self, bit: Bit, values: dict[Net, np.ndarray], direct: bool = True) -> np.ndarray:
        """The trained bit at every value of the leaves."""
        if bit in self.net_of and not direct:
            return values[self.net_of[bit]]
        self.compared.add(bit)
        layer, place = bit
        op = self.layers[layer]
        if isinstance(op, LutLayer):
            address = np.zeros(len(values["0"]), np.int64)
            for i, source in enumerate(op.connections[place]):
                address |= self._trained((layer - 1, int(source)), values, direct=False).astype(np.int64) << i
            looked_up: np.ndarray = op.tables[place, address] != 0
            return looked_up
        if self._constant(place):
            return values["1" if self._threshold(place) <= self.plan.graph.input_type.minimum else "0"]
        return values[self.net_of[bit]]
