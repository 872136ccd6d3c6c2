"""Cycle-based simulation of a mapped netlist, 64 simulations per word: what every net is, cycle by cycle.

Gates settle at once (no delays), so that a net toggles at most once per cycle and glitches do not exist.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutra.errors import ToolError
from lutra.synth.netlist.liberty import Cell, Function, Words

EVERY_LANE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
LANES_PER_WORD = 64
CUT = "."
"""Between instance and pin in the name of a port where an instance was cut out of a module."""
_LOW, _HIGH = 0, 1
"""Rows of the constants among the values."""


@dataclass(frozen=True, eq=False)
class _Gates:
    """Equal outputs of equal gates on one level: their nets are computed together."""

    function: Function
    pins: dict[str, np.ndarray]
    outputs: np.ndarray


@dataclass(frozen=True, eq=False)
class _Registers:
    """Flip-flops of one kind on one clock net."""

    clock: int
    next_state: Function
    pins: dict[str, np.ndarray]
    states: np.ndarray
    """Rows of the state."""
    outputs: tuple[tuple[np.ndarray, np.ndarray, bool], ...]
    """Nets, which of the states drive them, and whether they are inverted."""


class GateNetlist:
    """A flattened module in Yosys' JSON form whose cells are `cells`; `name` is for messages.

    Raises:
        ToolError: a combinational loop, or a net that nothing drives.
    """

    def __init__(self, module: dict[str, Any], cells: Mapping[str, Cell], name: str) -> None:
        self.name = name
        self.ports: dict[str, list[Any]] = {port: each["bits"] for port, each in module["ports"].items()}
        self.inputs = {port for port, each in module["ports"].items() if each["direction"] == "input"}
        self._place: dict[Any, int] = {"0": _LOW, "1": _HIGH, "x": _LOW}
        self.instances: dict[str, tuple[str, dict[str, Any]]] = {}
        """Type and net of every pin, by the name of the instance."""
        for instance, cell in module["cells"].items():
            pins = {pin: nets[0] for pin, nets in cell["connections"].items() if nets}
            self.instances[instance] = (cell["type"], pins)
            for net in pins.values():
                self._place.setdefault(net, len(self._place) - 1)
        for nets in self.ports.values():
            for net in nets:
                self._place.setdefault(net, len(self._place) - 1)
        self.size = len(self._place) - 1
        self._cells = cells
        self._gate_of_clock: dict[int, list[int]] = {}
        """Net of a gated clock -> nets of which one must be 1."""
        self._levels = self._levelise()
        self._registers = self._group_registers()

    def place(self, net: Any) -> int:
        """Row of a net (a number or a constant of Yosys' JSON) among the values."""
        return self._place[net]

    def port(self, name: str) -> np.ndarray:
        """Rows of a port's bits, the lowest first."""
        return np.array([self._place[net] for net in self.ports[name]])

    def start(self, words: int, rng: np.random.Generator) -> Words:
        """Values of all nets, (nets, words), before the first cycle: what flip-flops hold is random."""
        values = rng.integers(0, 1 << 64, (self.size, words), np.uint64)
        values[_LOW], values[_HIGH] = 0, EVERY_LANE
        for registers in self._registers:
            self._drive(values, registers, values[registers.states])
        return values

    def settle(self, values: Words) -> None:
        """Compute all gates from the flip-flops and the input ports, in place."""
        for gates in self._levels:
            values[gates.outputs] = gates.function({pin: values[nets] for pin, nets in gates.pins.items()})

    def enabled(self, values: Words, clock: int) -> Words:
        """In which lanes the pulse of this cycle reaches a clock net, (words,)."""
        enables = self._gate_of_clock.get(clock)
        if enables is None:
            return np.full(values.shape[1], EVERY_LANE)
        passed: Words = np.bitwise_or.reduce(values[enables], axis=0)
        return passed

    @property
    def gated_clocks(self) -> list[int]:
        """Rows of the clock nets behind clock gates."""
        return list(self._gate_of_clock)

    def clock_gate_pins(self) -> list[str]:
        """The clock pins of clock gates, as "instance/pin"."""
        gates = ((name, self._cells[kind].clock_gate) for name, (kind, _) in self.instances.items())
        return [f"{name}/{gate.clock_pin}" for name, gate in gates if gate]

    def clock(self, values: Words) -> None:
        """The rising edge: flip-flops whose clock is not gated off take their next state, in place."""
        taken = []
        for registers in self._registers:
            pins = {pin: values[nets] for pin, nets in registers.pins.items()}
            new, mask = registers.next_state(pins), self.enabled(values, registers.clock)
            taken.append((new & mask) | (values[registers.states] & ~mask))
        for registers, states in zip(self._registers, taken, strict=True):
            self._drive(values, registers, states)

    def _drive(self, values: Words, registers: _Registers, states: Words) -> None:
        values[registers.states] = states
        for nets, which, inverted in registers.outputs:
            values[nets] = ~states[which] if inverted else states[which]

    def _levelise(self) -> list[_Gates]:
        """Gates in an order in which every input is computed before it is read."""
        waiting: dict[int, int] = {}
        readers: dict[int, list[int]] = defaultdict(list)
        gates = []
        for kind, pins in self.instances.values():
            cell = self._cells[kind]
            if cell.flip_flop or cell.clock_gate:
                continue
            for output, function in cell.functions.items():
                if output in pins:
                    gates.append((kind, output, function, cell.reads[output], pins))
        driven = {self._place[pins[output]] for _, output, _, _, pins in gates}
        level = []
        for number, (_, _, _, reads, pins) in enumerate(gates):
            sources = {self._place[pins[pin]] for pin in reads} & driven
            waiting[number] = len(sources)
            for source in sources:
                readers[source].append(number)
            if not sources:
                level.append(number)
        levels = []
        done = 0
        while level:
            levels += self._group([gates[number] for number in level])
            done += len(level)
            following = []
            for number in level:
                _, output, _, _, pins = gates[number]
                for reader in readers[self._place[pins[output]]]:
                    waiting[reader] -= 1
                    if not waiting[reader]:
                        following.append(reader)
            level = following
        if done < len(gates):
            raise ToolError(f"{self.name}: the mapped netlist has a combinational loop")
        return levels

    def _group(self, gates: list[tuple[str, str, Function, tuple[str, ...], dict[str, Any]]]) -> list[_Gates]:
        alike: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for gate in gates:
            alike[gate[0], gate[1]].append(gate)
        groups = []
        for (_, output), members in alike.items():
            _, _, function, reads, _ = members[0]
            pins = {pin: self._rows([member[4][pin] for member in members]) for pin in reads}
            groups.append(_Gates(function, pins, self._rows([member[4][output] for member in members])))
        return groups

    def _group_registers(self) -> list[_Registers]:
        alike: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        for kind, pins in self.instances.values():
            cell = self._cells[kind]
            if cell.flip_flop:
                alike[kind, self._place[pins[cell.flip_flop.clock_pin]]].append(pins)
            elif cell.clock_gate and cell.clock_gate.output_pin in pins:
                enables = [self._place[pins[pin]] for pin in cell.clock_gate.enable_pins if pin in pins]
                self._gate_of_clock[self._place[pins[cell.clock_gate.output_pin]]] = enables
        return [self._register_group(kind, clock, members) for (kind, clock), members in alike.items()]

    def _register_group(self, kind: str, clock: int, members: list[dict[str, Any]]) -> _Registers:
        cell = self._cells[kind]
        flip_flop = cell.flip_flop
        assert flip_flop is not None
        states = np.arange(self.size, self.size + len(members))  # what a flip-flop holds has no net of its own
        self.size += len(members)
        outputs = []
        for pin in cell.functions:
            which = np.array([at for at, pins in enumerate(members) if pin in pins], np.int64)
            nets = self._rows([members[at][pin] for at in which])
            outputs.append((nets, which, cell.reads[pin] == (flip_flop.inverted_state,)))
        read = [pin for pin in members[0] if pin not in (*cell.functions, flip_flop.clock_pin)]
        pins = {pin: self._rows([pins[pin] for pins in members]) for pin in read}
        return _Registers(clock, flip_flop.next_state, pins, states, tuple(outputs))

    def _rows(self, nets: list[Any]) -> np.ndarray:
        return np.array([self._place[net] for net in nets], np.int64)


def cut_out(module: dict[str, Any], kinds: Collection[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """A module without its cells of `kinds`, whose pins are ports now; and what those cells were, by their name."""
    opposite = {"input": "output", "output": "input"}
    cut = {name: cell for name, cell in module["cells"].items() if cell["type"] in kinds}
    ports = {
        f"{name}{CUT}{pin}": {"direction": opposite[cell["port_directions"][pin]], "bits": nets}
        for name, cell in cut.items()
        for pin, nets in cell["connections"].items()
    }
    cells = {name: cell for name, cell in module["cells"].items() if name not in cut}
    opened = {**module, "ports": {**module["ports"], **ports}, "cells": cells}
    return opened, {name: cell["type"] for name, cell in cut.items()}


class ToggleCounter:
    """Counts, for every row of the values, how often it changed and how often it was 1, over all lanes."""

    def __init__(self, size: int) -> None:
        self.toggles, self.ones = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self.cycles = 0
        self._before: Words | None = None

    def see(self, values: Words) -> None:
        """Take the settled values of the next cycle."""
        if self._before is not None:
            self.toggles += population(values ^ self._before)
            self.ones += population(values)
            self.cycles += 1
        self._before = values.copy()


def population(values: Words) -> np.ndarray:
    """Lanes that are 1, summed over the words, (rows,)."""
    lanes: np.ndarray = np.bitwise_count(values).sum(axis=1, dtype=np.int64)
    return lanes
