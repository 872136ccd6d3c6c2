"""What the lanes of a block do at their ports, for a netlist of the block without them.

A lane sums an output, or one output per step (`cells.parts`). The models take the bits, steps and enables that the
netlist gives them and hold many simulations at the same time, as the netlist does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lutra.accelerators.block.cells.switching import Companion
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.tree import TreePlan
from lutra.accelerators.block.wave import WavePlan
from lutra.errors import MismatchError
from lutra.frozen.types import IntArray
from lutra.synth.netlist.gates import CUT, LANES_PER_WORD, GateNetlist
from lutra.synth.netlist.liberty import Words
from lutra.synth.netlist.switching import SwitchingCount


def lane_models(plan: BlockPlan, netlist: GateNetlist, lanes: Mapping[str, int], words: int) -> Companion:
    """A model of all lanes that were cut out of `netlist`, whose values are of `words` words.

    `lanes` are their instances and numbers.
    """
    models = _Trees if plan.schedule.dataflow == "tree" else _Accumulators
    return models(plan, netlist, lanes, words)


class LaneNetlist:
    """The mapped netlist of one lane at its place in the block, beside the model of all lanes, which it must equal."""

    def __init__(self, netlist: GateNetlist, around: GateNetlist, instance: str, words: int) -> None:
        self.netlist, self.count = netlist, SwitchingCount(netlist)
        self._values = netlist.start(words, np.random.default_rng(1))
        outside = {name: around.port(f"{instance}{CUT}{name}") for name in netlist.ports}
        self._inputs = [(netlist.port(name), outside[name]) for name in sorted(netlist.inputs)]
        outputs = sorted(outside.keys() - netlist.inputs)
        self._outputs = [(netlist.port(name), outside[name]) for name in outputs]

    def drive(self, values: Words) -> None:
        """The model of all lanes drives for this one too."""

    def settle(self, values: Words, counts: bool) -> None:
        for own, outer in self._inputs:
            self._values[own] = values[outer]
        self.netlist.settle(self._values)
        if not counts:
            return
        self.count.see(self._values)
        if any((self._values[own] != values[outer]).any() for own, outer in self._outputs):
            raise MismatchError(
                f"{self.netlist.name}: the mapped gates sum something else; the tool mapped the RTL wrongly"
            )

    def clock(self, values: Words) -> None:
        self.netlist.clock(self._values)


class _Lanes:
    """Ports of all lanes, by their number, and the sums that they show."""

    def __init__(self, plan: BlockPlan, netlist: GateNetlist, lanes: Mapping[str, int], words: int) -> None:
        self._instances = sorted(lanes, key=lambda instance: lanes[instance])
        self._netlist, self._sum_bits = netlist, plan.sum_bits
        self._no_sums = np.zeros((len(lanes), words * LANES_PER_WORD), np.int64)
        self._sum_rows = self._rows("sum_o")  # (lanes, bits)

    def _rows(self, port: str) -> np.ndarray:
        return np.stack([self._netlist.port(f"{instance}{CUT}{port}") for instance in self._instances])

    def _show(self, values: Words, sums: IntArray) -> None:
        """Sums, (lanes, simulations), at the lanes' ports."""
        bits = (sums[:, None, :] >> np.arange(self._sum_bits)[:, None]) & 1  # (lanes, bits, simulations)
        packed = np.packbits(bits.astype(np.uint8), axis=-1, bitorder="little")
        values[self._sum_rows] = np.ascontiguousarray(packed).view("<u8")


class _Accumulators(_Lanes):
    """`lutra_accumulator`, one per output."""

    def __init__(self, plan: BlockPlan, netlist: GateNetlist, lanes: Mapping[str, int], words: int) -> None:
        super().__init__(plan, netlist, lanes, words)
        wave = WavePlan(plan)
        self._values = np.stack(
            [wave.values(output) for output in range(len(wave.accumulators))]
        )  # (lanes, steps, bits per step)
        self._bias = plan.block.summation.bias[:, None]
        self._steps = plan.schedule.steps
        self._look_up = self._rows("look_up_i")  # (lanes, stages)
        self._add, self._restart = (self._rows(name)[:, 0] for name in ("add_i", "restart_i"))
        self._step, self._bits = self._rows("step_i"), self._rows("bits_i")
        self._sum, self._addends = self._no_sums, [self._no_sums] * self._look_up.shape[1]

    def drive(self, values: Words) -> None:
        self._show(values, self._sum)

    def settle(self, values: Words, counts: bool) -> None:
        """Nothing at the ports depends on what comes in within the cycle."""

    def clock(self, values: Words) -> None:
        steps = np.minimum(_number(values, self._step), self._steps - 1)  # (lanes,)
        own = self._values[np.arange(len(steps)), steps]  # (lanes, bits per step)
        added = (_lanes(values, self._bits) * own[:, :, None]).sum(axis=1)
        start = np.where(_lanes(values, self._restart), self._bias, self._sum)
        self._sum = np.where(_lanes(values, self._add), start + self._addends[-1], self._sum)
        takes = _lanes(values, self._look_up)  # (lanes, stages, simulations)
        self._addends = [
            np.where(takes[:, stage], new, old)
            for stage, (new, old) in enumerate(zip([added, *self._addends], self._addends, strict=False))
        ]


class _Trees(_Lanes):
    """The trees of output lanes: each a pipeline that sums one output per step."""

    def __init__(self, plan: BlockPlan, netlist: GateNetlist, lanes: Mapping[str, int], words: int) -> None:
        super().__init__(plan, netlist, lanes, words)
        tree = TreePlan(plan)
        trees = [tree.lane(lane) for lane in range(plan.schedule.output_lanes)]
        stages = {sum(map(bool, lane.registers)) for lane in trees}
        assert len(stages) == 1, "all lanes advance together"
        self._encoded = np.stack([tree.values(lane) for lane in range(len(trees))])  # (lanes, steps, places)
        self._start = np.stack([tree.starts(lane) for lane in range(len(trees))])  # (lanes, steps)
        self._advance = self._rows("advance_i")[:, 0]
        self._step, self._bits = self._rows("step_i"), self._rows("bits_i")
        self._pipeline = [self._no_sums] * stages.pop()
        self._holds_step, self._held_step = tree.selects, np.zeros(len(trees), np.int64)

    def drive(self, values: Words) -> None:
        self._show(values, self._pipeline[-1])

    def settle(self, values: Words, counts: bool) -> None:
        """Nothing at the ports depends on what comes in within the cycle."""

    def clock(self, values: Words) -> None:
        if not values[self._advance[0], 0] & np.uint64(1):
            return
        given = np.minimum(_number(values, self._step), self._encoded.shape[1] - 1)
        steps = self._held_step if self._holds_step else given
        self._held_step = given
        at = np.arange(len(steps)), steps
        sums = self._start[at][:, None] + np.einsum("lp,lps->ls", self._encoded[at], _lanes(values, self._bits))
        self._pipeline = [sums, *self._pipeline[:-1]]


def _lanes(values: Words, rows: np.ndarray) -> IntArray:
    """Rows of bits, (...), as numbers in every simulation, (..., simulations)."""
    bits = np.unpackbits(values[rows].view(np.uint8), axis=-1, bitorder="little")
    return bits.astype(np.int64)


def _number(values: Words, rows: np.ndarray) -> IntArray:
    """Numbers of bits in rows, (..., bits), that are the same in all simulations, (...)."""
    number: IntArray = ((values[rows, 0] & np.uint64(1)).astype(np.int64) << np.arange(rows.shape[-1])).sum(axis=-1)
    return number
