"""What of a weightless block exists in hardware: the bits that vary and are read, and what the others add."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np

from lutra.frozen.graph import WeightlessBlock
from lutra.frozen.ops import LutLayer, Thermometer
from lutra.frozen.types import IntArray
from lutra.recipes.groups import group_bounds


class BlockContents:
    """The bits of one block. Layer 0 is the thermometer, layer k the k-th LUT layer.

    A bit exists in the RTL when a live table or the summation reads it and it is not constant.
    """

    def __init__(self, block: WeightlessBlock) -> None:
        self.block, self.graph = block, block.graph
        # An accumulator of at least two bits keeps every encoded value a sign and at least one more bit.
        self.sum_bits = max(2, self.graph.types()[block.summation.output].bits)
        self.layers: tuple[Thermometer | LutLayer, ...] = (block.thermometer, *block.lut_layers)
        layer_of = {op.output: layer for layer, op in enumerate(self.layers)}
        sources = [layer_of[source] for source in block.summation.inputs]
        self.summed = [(layer, bit) for layer in sources for bit in range(self.layers[layer].width)]
        self.constants = self._constants()
        self.live = self._live()
        self._position = [
            {int(bit): place for place, bit in enumerate(np.flatnonzero(live & (constants < 0)))}
            for live, constants in zip(self.live, self.constants, strict=True)
        ]
        added = np.count_nonzero(block.summation.encoded, axis=1) > 0
        exists = [bool(added[r]) and bit in self._position[layer] for r, (layer, bit) in enumerate(self.summed)]
        self.registered = [r for r, present in enumerate(exists) if present]

    def _constants(self) -> list[IntArray]:
        """Per layer and bit: its constant value, or -1."""
        low, high = self.graph.input_type.minimum, self.graph.input_type.maximum
        thresholds = self.block.thermometer.thresholds.reshape(-1)
        constants = [np.where(thresholds <= low, 1, np.where(thresholds > high, 0, -1))]
        for layer in self.block.lut_layers:
            first = layer.tables[:, 0]
            constants.append(np.where((layer.tables == first[:, None]).all(axis=1), first, -1))
        return constants

    def _live(self) -> list[np.ndarray]:
        """Per layer and bit: whether the summation or a live, not constant table reads it."""
        live = [np.zeros(len(constants), bool) for constants in self.constants]
        for (layer, bit), encoded in zip(self.summed, self.block.summation.encoded, strict=True):
            live[layer][bit] |= bool(encoded.any())
        for number, op in reversed(list(enumerate(self.block.lut_layers, start=1))):
            live[number - 1][op.connections[live[number] & (self.constants[number] < 0)]] = True
        return live

    def existing(self, layer: int) -> list[int]:
        """The bits of `layer` that exist, ascending; bit `existing(layer)[i]` is wire i of that layer."""
        return list(self._position[layer])

    @cached_property
    def group_bits(self) -> list[IntArray]:
        """The summed bits of every group that exist."""
        bounds = group_bounds(len(self.summed), self.block.summation.groups)
        registered = np.array(self.registered, np.int64)
        return [registered[(registered >= first) & (registered < end)] for first, end in pairwise(bounds)]

    @property
    def places(self) -> int:
        """Bits of the largest group; at least one, for what has to have a width."""
        return max(1, *(len(bits) for bits in self.group_bits))

    @cached_property
    def start(self) -> IntArray:
        """Where every output's sum starts: its bias, and what constant bits add."""
        summation = self.block.summation
        fixed = [r for r, (layer, bit) in enumerate(self.summed) if self.constants[layer][bit] == 1]
        start: IntArray = summation.bias + summation.encoded[fixed].sum(axis=0)
        return start

    def group_outputs(self, group: int) -> range:
        """The outputs that sum the bits of a group."""
        bounds = group_bounds(len(self.block.summation.bias), self.block.summation.groups)
        return range(bounds[group], bounds[group + 1])

    def group_values(self, group: int) -> IntArray:
        """Encoded values of a group's bits for its outputs, (places, outputs); 0 at places without a bit."""
        outputs, rows = self.group_outputs(group), self.group_bits[group]
        values = np.zeros((self.places, len(outputs)), np.int64)
        values[: len(rows)] = self.block.summation.encoded[rows, outputs.start : outputs.stop]
        return values
