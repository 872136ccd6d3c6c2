"""Switching measured on real tokens: the mapped netlist of a block runs rows of the model, and every net is counted.

The netlist is fed without stalls, in steady state; its outputs are compared with the golden model on the way, so that a
power figure belongs to gates that compute the right thing. There are no delays and so no glitches, and no wires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import MismatchError, ToolError
from lutra.frozen import golden
from lutra.frozen.types import IntArray
from lutra.synth.netlist.gates import EVERY_LANE, LANES_PER_WORD, GateNetlist
from lutra.synth.netlist.liberty import Words
from lutra.synth.netlist.switching import Switching, SwitchingCount, to_words, words_of

LANES = 256
"""Streams of tokens that run at the same time; each starts at another row."""
SHORTEST_COUNT_CYCLES = 16
RESET_CYCLES = 2


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


def _reset(netlist: GateNetlist, values: Words) -> None:
    for name in netlist.inputs:
        values[netlist.port(name)] = 0
    for _ in range(RESET_CYCLES):
        netlist.settle(values)
        netlist.clock(values)
    values[netlist.port("rst_ni")] = EVERY_LANE
    for name in ("x_valid_i", "y_ready_i"):
        values[netlist.port(name)] = EVERY_LANE


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
