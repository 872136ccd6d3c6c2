"""Registers of a netlist's pipeline, which all go on in the same cycles: what each of them takes."""

from __future__ import annotations

from collections.abc import Sequence

from lutra.errors import ToolError
from lutra.synth.netlist.cells import Net, Netlist
from lutra.synth.netlist.diagrams import FALSE, TRUE, Diagrams


class Pipeline:
    """The registers of `netlist` that go on when the net `enable` is 1."""

    def __init__(self, netlist: Netlist, enable: Net) -> None:
        self.netlist, self.enable = netlist, enable

    @classmethod
    def of_sums(cls, netlist: Netlist) -> Pipeline:
        """That of a block's trees and graphs.

        Raises:
            ToolError: the registers of the sums have several enables.
        """
        registers = [net for net in netlist.nets("beat_sums") if isinstance(net, int)]
        enables = {netlist.register(net)[1] for net in registers} - {"1"}
        if len(enables) != 1:
            raise ToolError(f"{netlist.name}: the sums' registers have {len(enables)} enables in the netlist, not one")
        return cls(netlist, enables.pop())

    def takes(self, net: Net, expected: int, diagrams: Diagrams, functions: dict[Net, int]) -> bool:
        """Whether a register takes what is expected when the pipeline goes on, and otherwise keeps what it has.

        Raises:
            ToolError: it goes on in other cycles, or it is not a register.
        """
        if not isinstance(net, int):
            return expected == (TRUE if net == "1" else FALSE)
        taken, enable = self.netlist.register(net)
        if enable == "1":  # synthesis has made keeping part of what the register takes
            for free in (net, *variables(self.netlist.read_by(self.enable))):
                functions.setdefault(free, diagrams.variable(len(functions)))
            goes_on = self.netlist.function(self.enable, diagrams, functions)
            expected = diagrams.choose(goes_on, expected, functions[net])
        elif enable != self.enable:
            raise ToolError(f"{self.netlist.name}: a register of the sums has an enable of its own in the netlist")
        return self.netlist.function(taken, diagrams, functions) == expected


def variables(nets: Sequence[Net]) -> list[int]:
    """The different nets that are not constant, ascending."""
    return sorted({net for net in nets if isinstance(net, int)})
