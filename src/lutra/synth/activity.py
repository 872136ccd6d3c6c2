"""Switching measured on real tokens: the mapped netlist of a block runs rows of the model, and every net is counted.

The netlist is fed without stalls, in steady state; its outputs are compared with the golden model on the way, so that a
power figure belongs to gates that compute the right thing. There are no delays and so no glitches, and no wires.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lutra import escape
from lutra.errors import MismatchError, ToolError
from lutra.frozen import golden
from lutra.frozen.types import IntArray
from lutra.rtl.plan import BlockPlan
from lutra.synth.gates import CUT, EVERY_LANE, LANES_PER_WORD, GateNetlist, ToggleCounter, Words
from lutra.synth.opensta import CLOCK_PORT

LANES = 256
"""Streams of tokens that run at the same time; each starts at another row."""
SHORTEST_COUNT_CYCLES = 16
RESET_CYCLES = 2


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


class Companion(Protocol):
    """What runs beside a netlist from which instances were cut, in their place or after them."""

    def drive(self, values: Words) -> None:
        """Show what registers hold at the ports of cut instances, before the netlist settles."""

    def settle(self, values: Words, counts: bool) -> None:
        """The netlist has settled; with `counts`, count."""

    def clock(self, values: Words) -> None:
        """The rising edge."""


def measure_switching(
    netlist: GateNetlist,
    plan: BlockPlan,
    rows: IntArray,
    lanes: int = LANES,
    companions: Sequence[Companion] = (),
) -> Switching:
    """Count toggles while `lanes` streams of the rows, (rows, input_width), pass through the netlist of a block.

    Stream k takes row k first, then those after it, from the start again after the last one. Counting starts when all
    stages are at work and lasts for whole tokens.

    Raises:
        MismatchError: an output of the netlist differs from the golden model.
        ToolError: the netlist does not do what a block does at its ports.
    """
    s = plan.schedule
    words = words_of(lanes)
    lanes = words * LANES_PER_WORD
    first_rows = np.arange(lanes) % len(rows)
    warm_up = s.interval_cycles * (1 + -(-s.latency_cycles // s.interval_cycles))
    tokens_per_lane = -(-SHORTEST_COUNT_CYCLES // s.interval_cycles)
    counted = tokens_per_lane * s.interval_cycles
    values = netlist.start(words, np.random.default_rng(0))
    _reset(netlist, values)
    source, sink = _Source(netlist, plan, rows, first_rows), _Sink(netlist, plan, rows, first_rows)
    count = SwitchingCount(netlist)
    for cycle in range(warm_up + counted):
        source.offer(values)
        for companion in companions:
            companion.drive(values)
        netlist.settle(values)
        for companion in companions:
            companion.settle(values, cycle >= warm_up - 1)
        source.advance(values)
        sink.take(values)
        if cycle >= warm_up - 1:
            count.see(values)
        for companion in companions:
            companion.clock(values)
        netlist.clock(values)
    sink.require_rows()
    return count.switching(lanes, lanes * tokens_per_lane, s.interval_cycles)


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


def _reset(netlist: GateNetlist, values: Words) -> None:
    for name in netlist.inputs:
        values[netlist.port(name)] = 0
    for _ in range(RESET_CYCLES):
        netlist.settle(values)
        netlist.clock(values)
    values[netlist.port("rst_ni")] = EVERY_LANE
    for name in ("x_valid_i", "y_ready_i"):
        values[netlist.port(name)] = EVERY_LANE


def _driven_rows(netlist: GateNetlist) -> np.ndarray:
    """Rows of all nets at a pin or port, without the constants."""
    nets = [net for _, pins in netlist.instances.values() for net in pins.values()]
    nets += [net for name in netlist.inputs for net in netlist.ports[name]]
    return np.unique([netlist.place(net) for net in nets if isinstance(net, int)])


def _uniform(values: Words, place: int, where: str) -> bool:
    """A bit that is the same in all lanes, because it does not depend on data."""
    if values[place].all() and (values[place] == EVERY_LANE).all():
        return True
    if values[place].any():
        raise ToolError(f"{where}: the handshake depends on the data; the netlist is not that of a block")
    return False


class _Source:
    """Offers beat after beat of every lane's rows."""

    def __init__(self, netlist: GateNetlist, plan: BlockPlan, rows: IntArray, first_rows: np.ndarray) -> None:
        s, bits = plan.schedule, plan.graph.input_type.bits
        padded = np.pad(rows, ((0, 0), (0, s.input_beats * s.input_lanes - rows.shape[1])))
        self.beats = _bits(padded, bits).reshape(len(rows), s.input_beats, -1)  # (rows, beats, bits)
        self.first_rows, self.name = first_rows, plan.name
        self.data, self.ready = netlist.port("x_data_i"), int(netlist.port("x_ready_o")[0])
        self.sent = 0

    def offer(self, values: Words) -> None:
        row, beat = divmod(self.sent, self.beats.shape[1])
        lanes = self.beats[(self.first_rows + row) % len(self.beats), beat]  # (lanes, bits)
        values[self.data] = to_words(lanes)

    def advance(self, values: Words) -> None:
        self.sent += _uniform(values, self.ready, self.name)


class _Sink:
    """Takes beat after beat and compares complete rows with the golden model."""

    def __init__(self, netlist: GateNetlist, plan: BlockPlan, rows: IntArray, first_rows: np.ndarray) -> None:
        s, type_ = plan.schedule, plan.graph.output_type
        expected = golden.run(plan.graph, rows)
        padded = np.pad(expected, ((0, 0), (0, s.output_beats * s.output_lanes - expected.shape[1])))
        self.beats = _bits(padded, type_.bits).reshape(len(rows), s.output_beats, -1)
        self.first_rows, self.name = first_rows, plan.name
        self.data, self.valid = netlist.port("y_data_o"), int(netlist.port("y_valid_o")[0])
        self.taken = 0

    def take(self, values: Words) -> None:
        if not _uniform(values, self.valid, self.name):
            return
        row, beat = divmod(self.taken, self.beats.shape[1])
        which = (self.first_rows + row) % len(self.beats)
        wrong = values[self.data] != to_words(self.beats[which, beat])
        if wrong.any():
            raise MismatchError(
                f"{self.name}: the mapped gates differ from the golden model in beat {beat} of row {row} after the "
                "first; the tool mapped the RTL wrongly"
            )
        self.taken += 1

    def require_rows(self) -> None:
        if self.taken < self.beats.shape[1]:
            raise ToolError(f"{self.name}: the mapped gates gave no complete row; the netlist is not that of a block")


def _bits(elements: IntArray, bits: int) -> np.ndarray:
    """(rows, elements) integers -> (rows, elements * bits) of 0 and 1, the lowest bit of the first element first."""
    return ((elements[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(elements), -1)


def to_words(lanes: np.ndarray) -> Words:
    """(lanes, bits) of 0 and 1 -> (bits, words)."""
    packed = np.packbits(np.ascontiguousarray(lanes.T, np.uint8), axis=1, bitorder="little")
    words: Words = np.ascontiguousarray(packed).view("<u8").astype(np.uint64)
    return words
