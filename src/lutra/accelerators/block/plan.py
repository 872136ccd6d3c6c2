"""What the RTL of one weightless block consists of: which bits exist, where they come from, constants per step.

The templates print what a `BlockPlan` says and decide nothing themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.block.contents import BlockContents
from lutra.accelerators.block.schedule import Dataflow, FoldFactor, schedule
from lutra.frozen.graph import Graph, as_weightless
from lutra.frozen.ops import LutLayer, Requantise
from lutra.frozen.types import IntArray
from lutra.hardware.literals import address_bits, literal, rom_order
from lutra.names import require_identifier
from lutra.recipes.groups import group_bounds


@dataclass(frozen=True)
class BeatField:
    """Thermometer bits that one lane stores in one beat: `count` places from `first` on, from the lane's slot 0 on."""

    beat: int
    first: int
    count: int


@dataclass(frozen=True)
class ThermometerLane:
    """One lane of the input stream: at most `slots` thresholds per activation."""

    slots: int
    thresholds: str
    """Literal of the ROM over beats, or of the word if there is one beat: thresholds minus the smallest activation."""
    fields: tuple[BeatField, ...]


class BlockPlan(BlockContents):
    """One block at one fold factor and dataflow: its bits, its schedule, and what the templates print of them.

    Raises:
        FrozenModelError: the graph is not a weightless block.
        InputError: the fold factor is out of range, there is no such dataflow, or `name` is not an identifier.
    """

    def __init__(self, graph: Graph, name: str, fold_factor: FoldFactor, dataflow: Dataflow = "accumulate") -> None:
        self.name = require_identifier(name, "module of the RTL")
        super().__init__(as_weightless(graph))
        self.schedule = schedule(self.block, fold_factor, dataflow)
        self.step_bits = address_bits(self.schedule.steps)
        self.multipliers, self.shift = common_requantise(self.block.requantise)
        self.multiplier_bits = max(1, max(self.multipliers).bit_length())
        # Wide enough for product, rounding term and every output, each with a sign.
        out_bits = self.block.requantise.type.bits
        self.product_bits = 1 + max(self.sum_bits + self.multiplier_bits, self.shift + 1, out_bits + 1)
        self._register = {r: place for place, r in enumerate(self.registered)}

    def wire(self, layer: int, bit: int) -> str:
        """Where the value of a bit of a layer is found inside the network module."""
        place = self._position[layer].get(bit)
        name = "layer_0_i" if layer == 0 else f"layer_{layer}"
        return f"{name}[{place}]" if place is not None else f"1'b{self.constants[layer][bit]}"

    def summed_wire(self, r: int) -> str:
        """Where the r-th summed bit is found inside the summation module; "1'b0" if no output adds it."""
        layer, bit = self.summed[r]
        place = self._register.get(r)
        return f"bits_i[{place}]" if place is not None else f"1'b{max(0, self.constants[layer][bit])}"

    def thermometer_lanes(self) -> list[ThermometerLane]:
        """What each lane of the input stream compares its activation with, beat by beat."""
        return [self._thermometer_lane(lane) for lane in range(self.schedule.input_lanes)]

    def _thermometer_lane(self, lane: int) -> ThermometerLane:
        s, op = self.schedule, self.block.thermometer
        places = np.full(op.width, -1)
        places[self.existing(0)] = np.arange(len(self.existing(0)))
        values = op.thresholds - self.graph.input_type.minimum
        fields: list[BeatField] = []
        thresholds: list[IntArray] = []
        for beat in range(s.input_beats):
            feature = beat * s.input_lanes + lane
            if feature < self.graph.input_width:
                own = places[feature * op.thresholds.shape[1] :][: op.thresholds.shape[1]]
                thresholds.append(values[feature, own >= 0])
                if (own >= 0).any():
                    fields.append(BeatField(beat, int(own.max()) + 1 - len(thresholds[-1]), len(thresholds[-1])))
        slots = max(len(row) for row in thresholds)
        words = np.zeros((s.input_beats, slots), np.int64)
        for beat, row in enumerate(thresholds):
            words[beat, : len(row)] = row
        bits = (words[:, :, None] >> np.arange(self.graph.input_type.bits)) & 1  # (beats, slots, bits)
        if s.input_beats > 1:
            bits = bits[rom_order(0, 2 ** address_bits(s.input_beats), s.input_beats)]
        return ThermometerLane(slots, literal(bits.reshape(len(bits), -1).T) if slots else "", tuple(fields))

    def lut(self, number: int, bit: int) -> tuple[str, str]:
        """Address (as a concatenation, first input last) and table (as a literal) of a LUT of layer `number`."""
        layer: LutLayer = self.block.lut_layers[number - 1]
        address = ", ".join(self.wire(number - 1, int(source)) for source in reversed(layer.connections[bit]))
        return f"{{{address}}}", literal(layer.tables[bit])

    def group_of(self, output: int) -> int:
        bounds = group_bounds(len(self.block.summation.bias), self.block.summation.groups)
        return int(np.searchsorted(bounds, output, side="right")) - 1

    def step_wires(self, group: int) -> str:
        """The bits of `group` as a concatenation of one word per step, step 0 last; padded to a power of two."""
        bounds = group_bounds(len(self.summed), self.block.summation.groups)
        steps, per_step = self.schedule.steps, self.schedule.bits_per_step
        words = 1 if steps == 1 else 2**self.step_bits
        first, end = bounds[group], bounds[group + 1]
        wires = [self.summed_wire(r) if r < end else "1'b0" for r in range(first, first + words * per_step)]
        return ",\n      ".join(", ".join(line) for line in _lines(list(reversed(wires))))

    def bias(self, output: int) -> str:
        value = int(self.block.summation.bias[output]) % 2**self.sum_bits
        return f"{self.sum_bits}'h{value:x}"

    def lane_multipliers(self, lane: int) -> list[int]:
        """Multiplier of one output lane for every beat; a beat without that lane repeats the one before."""
        multipliers: list[int] = []
        for beat in range(self.schedule.output_beats):
            output = beat * self.schedule.output_lanes + lane
            multipliers.append(self.multipliers[output] if output < len(self.multipliers) else multipliers[-1])
        return multipliers

    def multiplier_words(self, lane: int) -> str:
        """The literal of the multiplexer words that give a lane's multiplier by beat."""
        multipliers = self.lane_multipliers(lane)
        multipliers += multipliers[-1:] * (2 ** address_bits(len(multipliers)) - len(multipliers))
        word = sum(m << (beat * self.multiplier_bits) for beat, m in enumerate(multipliers))
        return f"{len(multipliers) * self.multiplier_bits}'h{word:x}"


def common_requantise(op: Requantise) -> tuple[list[int], int]:
    """Multipliers for one shift that all outputs share, exactly equal to the given multipliers and shifts.

    `(x * m * 2^k + h) >> (s + k)` with its own rounding h equals `(x * m + rounding) >> s`, also where s is 0: then h
    is less than one unit. Dividing common factors of two out again makes a power of two free.
    """
    shift = int(op.shift.max())
    multipliers = [int(m) << (shift - int(s)) for m, s in zip(op.multiplier, op.shift, strict=True)]
    spare = min([shift, *((m & -m).bit_length() - 1 for m in multipliers if m)])
    return [m >> spare for m in multipliers], shift - spare


def _lines(items: list[str], per_line: int = 12) -> Iterable[list[str]]:
    return (items[start : start + per_line] for start in range(0, len(items), per_line))
