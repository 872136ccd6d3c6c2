"""How often the nets of a mapped netlist switch, as it is simulated, and how OpenSTA is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lutra import escape
from lutra.synth.netlist.gates import CUT, LANES_PER_WORD, GateNetlist, ToggleCounter
from lutra.synth.netlist.liberty import Words
from lutra.synth.tools.opensta import CLOCK_PORT


@dataclass(frozen=True, eq=False)
class Switching:
    """How often the nets of a netlist switch, by the row of `GateNetlist`."""

    tokens: int
    """Tokens over which it was counted."""
    cycles_per_token: int
    toggles_per_cycle: np.ndarray
    duty: np.ndarray
    """The share of cycles in which a net is 1."""
    mean_toggles_per_cycle: float
    """Over all nets that gates, flip-flops and inputs drive, without clocks and constants."""
    nets: int
    """How many these are."""


class SwitchingCount:
    """Counts what the nets of a netlist do, cycle by cycle."""

    def __init__(self, netlist: GateNetlist) -> None:
        self._netlist, self._counter = netlist, ToggleCounter(netlist.size)
        self._clocks = np.array([*netlist.port(CLOCK_PORT), *netlist.gated_clocks])
        self._pulses = np.zeros(len(self._clocks), np.int64)
        self._began = False

    def see(self, values: Words) -> None:
        """Take the settled values of the next cycle; the first one only shows what those after it differ from."""
        self._counter.see(values)
        if self._began:
            passed = [self._netlist.enabled(values, clock) for clock in self._clocks]
            self._pulses += [int(np.bitwise_count(lanes).sum()) for lanes in passed]
        self._began = True

    def switching(self, lanes: int, tokens: int, cycles_per_token: int) -> Switching:
        """The counts as rates; `lanes` streams were seen, `tokens` over all of them."""
        lane_cycles = lanes * self._counter.cycles
        toggles, duty = self._counter.toggles / lane_cycles, self._counter.ones / lane_cycles
        data = np.setdiff1d(_driven_rows(self._netlist), self._clocks)
        mean = float(toggles[data].mean())
        toggles[self._clocks], duty[self._clocks] = 2 * self._pulses / lane_cycles, self._pulses / lane_cycles / 2
        return Switching(tokens, cycles_per_token, toggles, duty, mean, len(data))


def words_of(lanes: int) -> int:
    """Words that hold a bit of every lane."""
    return -(-lanes // LANES_PER_WORD)


def annotation(
    netlist: GateNetlist, switching: Switching, inside: Mapping[str, tuple[GateNetlist, Switching]] | None = None
) -> Iterator[str]:
    """Tcl commands that give OpenSTA the activity of every pin and input port.

    `inside` has the netlists of instances that are modules of their own; the ports at which these were cut out of
    `netlist` are pins of theirs and have no line.

    Inputs of gates are annotated too: OpenSTA 2.0 computes those on its own otherwise. Its `set_power_activity -pins`
    is broken in 2.0.17, so that the command below it is called where it exists.
    """
    yield "proc switching {pin activity duty} {"
    yield "    if {[info commands ::sta::set_power_pin_activity] ne {}} {"
    yield "        ::sta::set_power_pin_activity [::sta::find_pin $pin] $activity $duty"
    yield "    } else {"
    yield "        set_power_activity -pins [get_pins $pin] -activity $activity -duty $duty"
    yield "    }"
    yield "}"
    toggles, duty = switching.toggles_per_cycle, switching.duty
    for name, nets in netlist.ports.items():
        for bit, net in enumerate(nets):
            place = netlist.place(net)
            port = f"{name}[{bit}]" if len(nets) > 1 else name
            if name in netlist.inputs and name != CLOCK_PORT and CUT not in name:
                figures = f"-activity {toggles[place]:.6g} -duty {duty[place]:.6g}"
                yield f"set_power_activity -input_ports [get_ports {escape.tcl(port)}] {figures}"
    for prefix, (part, its) in {"": (netlist, switching), **(inside or {})}.items():
        path = f"{prefix}/" if prefix else ""
        toggles, duty = its.toggles_per_cycle, its.duty
        for instance, (_, pins) in part.instances.items():
            for pin, net in pins.items():
                place = part.place(net)
                yield f"switching {escape.tcl(f'{path}{instance}/{pin}')} {toggles[place]:.6g} {duty[place]:.6g}"


def _driven_rows(netlist: GateNetlist) -> np.ndarray:
    """Rows of all nets at a pin or port, without the constants."""
    nets = [net for _, pins in netlist.instances.values() for net in pins.values()]
    nets += [net for name in netlist.inputs for net in netlist.ports[name]]
    return np.unique([netlist.place(net) for net in nets if isinstance(net, int)])


def to_words(lanes: np.ndarray) -> Words:
    """(lanes, bits) of 0 and 1 -> (bits, words)."""
    packed = np.packbits(np.ascontiguousarray(lanes.T, np.uint8), axis=1, bitorder="little")
    words: Words = np.ascontiguousarray(packed).view("<u8").astype(np.uint64)
    return words
