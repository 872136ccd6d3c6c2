"""What the combinational part of an UltraScale+ netlist computes, for many values of its inputs or as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any, Protocol, TypeVar

import numpy as np

from lutra.errors import ToolError
from lutra.synth.netlist.diagrams import FALSE, TRUE, Diagrams

Net = int | str
"""A net's number, or the constant "0" or "1", as in Yosys' JSON."""
Values = dict[Net, np.ndarray]
"""Values of nets: boolean arrays of one length."""

Bit = TypeVar("Bit")


class Algebra(Protocol[Bit]):
    """What cells do with bits of some kind."""

    def choose(self, condition: Bit, then: Bit, otherwise: Bit) -> Bit: ...
    def negate(self, bit: Bit) -> Bit: ...
    def xor(self, left: Bit, right: Bit) -> Bit: ...
    def lookup(self, table: Sequence[bool], inputs: Sequence[Bit]) -> Bit: ...
    def always(self, bit: Bit) -> bool: ...


class _Arrays:
    """Bits as boolean arrays: a value for each of many cases."""

    def choose(self, condition: np.ndarray, then: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        return np.where(condition, then, otherwise)

    def negate(self, bit: np.ndarray) -> np.ndarray:
        return ~bit

    def xor(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        differs: np.ndarray = left ^ right
        return differs

    def lookup(self, table: Sequence[bool], inputs: Sequence[np.ndarray]) -> np.ndarray:
        columns = [bit.astype(np.uint8) << i for i, bit in enumerate(inputs)]
        looked_up: np.ndarray = np.array(table)[np.bitwise_or.reduce(columns)]
        return looked_up

    def always(self, bit: np.ndarray) -> bool:
        return bool(bit.all())


FLIP_FLOPS = ("FDRE", "FDSE")
"""With synchronous reset and set."""


class Netlist:
    """A flattened module in Yosys' JSON form; `name` is for messages."""

    def __init__(self, module: dict[str, Any], name: str) -> None:
        self.name = name
        self._names = module["netnames"]
        self._drivers = {
            net: (cell, port, place)
            for cell in module["cells"].values()
            for port, nets in cell["connections"].items()
            if cell["port_directions"][port] == "output"
            for place, net in enumerate(nets)
        }
        self.inputs = {n for p in module["ports"].values() if p["direction"] == "input" for n in p["bits"]}
        self.registers = {
            net for net, (cell, _, _) in self._drivers.items() if cell["type"] in FLIP_FLOPS and isinstance(net, int)
        }

    def has(self, name: str) -> bool:
        """Whether synthesis kept a signal's name."""
        return name in self._names

    def nets(self, name: str) -> list[Net]:
        """The bits of a named signal, the lowest first.

        Raises:
            ToolError: synthesis did not keep it.
        """
        if name not in self._names:
            raise ToolError(f"{self.name}: the netlist has no signal {name}; the proof needs it")
        return list(self._names[name]["bits"])

    def register(self, net: Net) -> tuple[Net, Net]:
        """What the flip-flop that drives a net takes, and the net that lets it ("1": always).

        Raises:
            ToolError: not a flip-flop, or one with a set or reset.
        """
        cell, _, _ = self._driver(net)
        nets = cell["connections"]
        if cell["type"] not in FLIP_FLOPS or nets["R" if cell["type"] == "FDRE" else "S"] != ["0"]:
            raise ToolError(f"{self.name}: net {net} is not that of a plain flip-flop but of a {cell['type']}")
        return nets["D"][0], nets["CE"][0]

    def flip_flop(self, net: Net) -> tuple[Net, Net, Net, bool]:
        """What the flip-flop that drives a net takes, the nets that enable and reset it, and its value after a reset.

        Raises:
            ToolError: not a flip-flop.
        """
        cell, _, _ = self._driver(net)
        if cell["type"] not in FLIP_FLOPS:
            raise ToolError(f"{self.name}: net {net} is not that of a flip-flop but of a {cell['type']}")
        nets = {port: connected[0] for port, connected in cell["connections"].items()}
        sets = cell["type"] == "FDSE"
        return nets["D"], nets["CE"], nets["S" if sets else "R"], sets

    def evaluate(self, net: Net, values: Values) -> np.ndarray:
        """The value of a net; `values` holds those of inputs, and gets those of all nets on the way."""
        length = len(next(iter(values.values())))
        if net in ("0", "1"):
            return np.full(length, net == "1")
        if net not in values:

            def inputs(source: Net) -> np.ndarray:
                return self.evaluate(source, values)

            values[net] = self._output(net, inputs, _Arrays())
        return values[net]

    def function(self, net: Net, diagrams: Diagrams, functions: dict[Net, int]) -> int:
        """A net as a function; `functions` holds those of inputs, and gets those of all nets on the way."""
        if net in ("0", "1"):
            return TRUE if net == "1" else FALSE
        if net not in functions:

            def inputs(source: Net) -> int:
                return self.function(source, diagrams, functions)

            functions[net] = self._output(net, inputs, diagrams)
        return functions[net]

    def leaves(self, net: Net, known: Set[Net]) -> set[int]:
        """The known nets that are met first on all ways back from `net`."""
        found: set[int] = set()
        seen: set[Net] = set()
        waiting = [net]
        while waiting:
            here = waiting.pop()
            if here in seen or not isinstance(here, int):
                continue
            seen.add(here)
            if here in known:
                found.add(here)
                continue
            waiting += self.read_by(here)
        return found

    def read_by(self, net: Net) -> list[Net]:
        """What the cell that drives a net reads."""
        cell, _, _ = self._driver(net)
        directions = cell["port_directions"]
        return [n for port, nets in cell["connections"].items() if directions[port] == "input" for n in nets]

    def _driver(self, net: Net) -> tuple[dict[str, Any], str, int]:
        if net not in self._drivers:
            raise ToolError(f"{self.name}: nothing in the netlist drives net {net}")
        return self._drivers[net]

    def _output(self, net: Net, value: Callable[[Net], Bit], algebra: Algebra[Bit]) -> Bit:
        """What the cell that drives a net makes of the values of the nets that it reads."""
        cell, port, place = self._driver(net)
        kind = cell["type"]

        def inputs(name: str) -> list[Bit]:
            return [value(source) for source in cell["connections"][name]]

        if kind in ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6"):
            table = [digit == "1" for digit in reversed(cell["parameters"]["INIT"])]
            return algebra.lookup(table, [inputs(f"I{i}")[0] for i in range(int(kind[3]))])
        if kind == "INV":
            return algebra.negate(inputs("I")[0])
        if kind in ("MUXF7", "MUXF8", "MUXF9"):
            return algebra.choose(inputs("S")[0], inputs("I1")[0], inputs("I0")[0])
        if kind == "CARRY4":
            select, generate, one = inputs("S"), inputs("DI"), value("1")
            carry = algebra.choose(inputs("CI")[0], one, inputs("CYINIT")[0])
            for i in range(place):
                carry = algebra.choose(select[i], carry, generate[i])
            if port == "O":
                return algebra.xor(select[place], carry)
            return algebra.choose(select[place], carry, generate[place])
        raise ToolError(f"{self.name}: the proof meets a cell {kind}, which is not combinational logic that it knows")


class NetFunctions:
    """Functions of nets over one set of diagrams; nets without a given function get variables when they are met."""

    def __init__(self, netlist: Netlist, given: Sequence[Net], constants: dict[Net, int]) -> None:
        self.netlist, self.diagrams = netlist, Diagrams()
        self.functions: dict[Net, int] = {"0": FALSE, "1": TRUE, **constants}
        self.of(given)

    def of(self, nets: Iterable[Net]) -> list[int]:
        """Variables of registers or inputs, in this order of significance to the diagrams."""
        for net in nets:
            if net not in self.functions:
                self.functions[net] = self.diagrams.variable(len(self.functions))
        return [self.functions[net] for net in nets]

    def next(self, net: Net) -> int:
        """What a register becomes."""
        if not isinstance(net, int):
            return self.functions[net]
        data, enable, reset, value = self.netlist.flip_flop(net)
        for cone in (data, enable, reset):
            self.of(sorted(self.netlist.leaves(cone, self.netlist.registers | self.netlist.inputs)))
        taken, enabled, cleared = (
            self.netlist.function(n, self.diagrams, self.functions) for n in (data, enable, reset)
        )
        (held,) = self.of([net])
        return self.diagrams.choose(cleared, TRUE if value else FALSE, self.diagrams.choose(enabled, taken, held))

    def all(self, *functions: int) -> int:
        result = TRUE
        for function in functions:
            result = self.diagrams.choose(function, result, FALSE)
        return result

    def any(self, *functions: int) -> int:
        result = FALSE
        for function in functions:
            result = self.diagrams.choose(function, TRUE, result)
        return result

    def equals(self, nets: Sequence[Net], value: int) -> int:
        """Where a word has a value."""
        literals = self.of(nets)
        return self.all(*(f if value >> i & 1 else self.diagrams.negate(f) for i, f in enumerate(literals)))


class SettledNetlist(Netlist):
    """What nets become when the inputs stay as they are: registers pass on what they take, but for `holding` ones."""

    def __init__(self, module: dict[str, Any], name: str, holding: Callable[[str], object]) -> None:
        super().__init__(module, name)
        held = {net for name, entry in self._names.items() if holding(name) for net in entry["bits"]}
        self.state = self.registers & held
        """Registers that hold what they have: their values are not known."""
        self.held_value = False
        """Of a register that reads itself, as one does whose enable became part of its logic."""
        self._passing: set[Net] = set()

    def read_by(self, net: Net) -> list[Net]:
        cell, _, _ = self._driver(net)
        if cell["type"] not in FLIP_FLOPS:
            return super().read_by(net)
        return [n for port, nets in cell["connections"].items() if port not in ("C", "Q") for n in nets]

    def _output(self, net: Net, value: Callable[[Net], Bit], algebra: Algebra[Bit]) -> Bit:
        cell, _, _ = self._driver(net)
        if cell["type"] not in FLIP_FLOPS:
            return super()._output(net, value, algebra)
        if net in self._passing:
            return value("1" if self.held_value else "0")
        self._passing.add(net)
        nets = {port: connected[0] for port, connected in cell["connections"].items()}
        if not algebra.always(value(nets["CE"])):
            raise ToolError(f"{self.name}: the register of net {net} does not take what the inputs cause")
        reset, after_reset = (nets["R"], "0") if cell["type"] == "FDRE" else (nets["S"], "1")
        taken = algebra.choose(value(reset), value(after_reset), value(nets["D"]))
        self._passing.remove(net)
        return taken
