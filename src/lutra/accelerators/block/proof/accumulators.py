"""Proof that the accumulators of a synthesised netlist add exactly the encoded values of the bits that are 1.

The netlist is cut at its registers. For every one of them between the row's bits and the outputs, what it takes is
compared with what belongs there, for all values of what it reads:

- the lines along which bits, marks and steps travel pass on what they hold, and begin with the summed bits of the step;
- what an output adds becomes the sum of the encoded values of the bits that are 1 at its beat, in every step, and stays
  as it is in a cycle that has none; where it takes several stages, each of them takes what the one before adds up to;
- its sum becomes the sum, or with the first mark the bias, plus the addend;
- the sum with the last mark is chosen, and its product and clamped quotient are those of the requantisation.

So one cycle of every register is proved; that the cycles of a row come in their order (the controller) is not covered,
simulation does that. Names of the registers are the generated design's; the values come from the frozen model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.wave import Accumulator, WavePlan
from lutra.errors import InputError, MismatchError, ToolError
from lutra.hardware.literals import address_bits
from lutra.recipes.groups import group_bounds
from lutra.synth.netlist.cells import Net, NetFunctions, Netlist, Values
from lutra.synth.netlist.diagrams import FALSE, TRUE, extended

SPARE_OUTPUT = "u_output_register.spare_q"
LARGEST_ENUMERATION = 1 << 20
"""Cases of one register that are all tried."""
FEW_CASES = 1 << 16
"""Up to so many, what enables a looked up number is tried with it."""


@dataclass(frozen=True)
class AccumulatorProof:
    """What was proved."""

    outputs: int
    table_entries: int
    """Steps and values of their bits whose sum of encoded values was compared."""
    registers: int
    """Bits of registers whose next value was compared."""
    requantised_sums: int
    """Sums whose output was compared."""


def prove_accumulators(plan: BlockPlan, netlist: dict[str, Any]) -> AccumulatorProof:
    """Prove the summation inside a flattened UltraScale+ netlist (Yosys' JSON form) of a block of accumulators.

    Raises:
        MismatchError: the message names what differs, and where.
        InputError: the block has another dataflow.
        ToolError: a net, a cell or a function that the proof can not handle, or too many cases.
    """
    if plan.schedule.dataflow != "accumulate":
        raise InputError(f"{plan.name}: dataflow {plan.schedule.dataflow} has no accumulators that could be proved")
    return _Prover(plan, Netlist(netlist, plan.name)).prove()


class _Prover:
    def __init__(self, plan: BlockPlan, netlist: Netlist) -> None:
        self.plan, self.netlist, self.wave = plan, netlist, WavePlan(plan)
        s = plan.schedule
        self.constants: dict[Net, int] = dict.fromkeys(netlist.nets("rst_ni"), TRUE)
        (self.spare,) = netlist.nets("u_output_register.spare_valid_q")
        """The summation stands still while this is 1."""
        self.first_at = netlist.nets("u_summation.first_at")
        if s.steps > 1:
            self.last_at = netlist.nets("u_summation.last_at")
        else:  # a row's first and last mark are the same registers, and synthesis keeps one name
            self.last_at = self.first_at + netlist.nets("u_summation.gen_chosen[0].u_chosen.select_i")
        self.step_at = netlist.nets("u_summation.step_at") if s.steps > 1 else []
        self.bits_at = [self._line(group) for group in range(plan.block.summation.groups)]
        self.sums = [netlist.nets(f"u_summation.gen_chosen[{lane}].u_chosen.words_i") for lane in range(s.output_lanes)]
        self._enables: dict[tuple[Net, int, int], bool] = {}
        self.table_entries = self.registers = self.requantised_sums = 0

    def prove(self) -> AccumulatorProof:
        self._prove_marks()
        if self.plan.schedule.steps > 1:
            self._prove_steps()
        for group in range(self.plan.block.summation.groups):
            self._prove_bits(group)
        for each in self.wave.accumulators:
            self._prove_addend(each)
            self._prove_sum(each)
        for lane in range(self.plan.schedule.output_lanes):
            self._prove_choice(lane)
            self._prove_requantise(lane)
        return AccumulatorProof(len(self.wave.accumulators), self.table_entries, self.registers, self.requantised_sums)

    def _line(self, group: int) -> list[Net]:
        """The registers along which a group's bits travel, from tap 0 on."""
        seen, width = self.netlist.nets(f"u_summation.bits_{group}_at"), self.plan.schedule.bits_per_step
        if self.wave.first_beats[group] == 0:
            return seen
        # Taps before the group's first output have no name; but what the line takes is the taps but for the last one.
        return self.netlist.nets(f"u_summation.u_bits_{group}_at.taps_d")[width:] + seen[-width:]

    def _bits(self, group: int, tap: int) -> list[Net]:
        width = self.plan.schedule.bits_per_step
        return self.bits_at[group][tap * width :][:width]

    def _functions(self, *nets: Net, **constants: int) -> NetFunctions:
        return NetFunctions(self.netlist, [self.spare, *nets], self.constants)

    def _require(self, f: NetFunctions, net: Net, moves: int, expected: int, what: str) -> None:
        """A register becomes what is expected where `moves` holds, and stays what it is elsewhere."""
        (held,) = f.of([net])
        if f.next(net) != f.diagrams.choose(moves, expected, held):
            raise MismatchError(f"{self.plan.name}: {what}")
        self.registers += isinstance(net, int)

    def _ready(self, f: NetFunctions) -> int:
        return f.diagrams.negate(f.of([self.spare])[0])

    def _prove_marks(self) -> None:
        step, (valid,) = self.netlist.nets("step"), self.netlist.nets("step_valid")
        for name, line, at in (("first", self.first_at, 0), ("last", self.last_at, self.plan.schedule.steps - 1)):
            for tap, net in enumerate(line):
                f = self._functions()
                expected = f.of([line[tap - 1]])[0] if tap else f.all(*f.of([valid]), f.equals(step, at))
                self._require(f, net, self._ready(f), expected, f"the mark of the {name} step is lost at tap {tap}")

    def _prove_steps(self) -> None:
        """The step that is looked up counts while bits are on their way, and travels along the segments."""
        step, bits = self.netlist.nets("u_summation.step_q"), self.plan.step_bits
        (valid,), (choosing,) = self.netlist.nets("step_valid"), self.netlist.nets("u_summation.choosing_q")
        for place in range(len(step) + len(self.step_at)):
            f = self._functions(*step)
            moves = f.all(
                self._ready(f), f.any(*f.of([valid, *self.last_at[: len(self.wave.addend_levels) + 1], choosing]))
            )
            if place < bits:
                at_end = f.equals(step, self.plan.schedule.steps - 1)
                counted = f.diagrams.add(f.of(step), [TRUE, FALSE], bits)[place]
                net, expected = step[place], f.diagrams.choose(at_end, FALSE, counted)
            else:
                net = self.step_at[place - bits]
                (expected,) = f.of([(step + self.step_at)[place - bits]])
            self._require(f, net, moves, expected, f"bit {place % bits} of the step is not that of the step before")

    def _prove_bits(self, group: int) -> None:
        s, plan = self.plan.schedule, self.plan
        bounds = group_bounds(len(plan.summed), plan.block.summation.groups)
        q, (valid,) = self.netlist.nets("bits_q"), self.netlist.nets("step_valid")
        source: dict[int, Net] = {r: q[place] for place, r in enumerate(plan.registered)}
        step = self.netlist.nets("u_summation.step_q") if s.steps > 1 else []
        for number in range(len(self.bits_at[group])):
            tap, place = divmod(number, s.bits_per_step)
            net = self.bits_at[group][number]
            for at in range(s.steps) if tap == 0 else range(1):
                f = self._functions(valid)
                if tap:
                    (expected,) = f.of([self.bits_at[group][number - s.bits_per_step]])
                else:
                    f.functions |= {each: TRUE if at >> i & 1 else FALSE for i, each in enumerate(step)}
                    r = bounds[group] + at * s.bits_per_step + place
                    expected = f.all(*f.of([valid, self._summed(int(r), int(bounds[group + 1]), source)]))
                message = f"bit {place} of group {group} in step {at} is another at tap {tap}"
                self._require(f, net, self._ready(f), expected, message)

    def _summed(self, r: int, end: int, source: dict[int, Net]) -> Net:
        """The net of a summed bit, or the constant that it is."""
        if r in source or r >= end:
            return source.get(r, "0")
        layer, bit = self.plan.summed[r]
        return "1" if self.plan.constants[layer][bit] == 1 else "0"

    def _prove_addend(self, each: Accumulator) -> None:
        """What a step adds: the first register of its bits' encoded values, then those of what these add up to."""
        encoded = np.roll(self._encoded(each), each.beat - each.segment, axis=0)  # (steps, bits per step)
        least, most = np.minimum(encoded, 0).sum(axis=1), np.maximum(encoded, 0).sum(axis=1)
        self._require_room(each, each.addend_bits, least.min(), most.max())
        below: list[list[Net]] = []
        before = 0
        for stage, level in enumerate(self.wave.addend_levels):
            width = min(each.value_bits + level, each.addend_bits)
            last = level == self.wave.addend_levels[-1]
            name = "addend" if last else f"u_addend.gen_level[{level}].gen_register.numbers_q"
            nets = self.netlist.nets(f"u_summation.u_sum_{each.output}.{name}")
            numbers = [nets[first : first + width] for first in range(0, len(nets), width)]
            if stage == 0:
                self._prove_looked_up(each, encoded, numbers)
            else:
                joined = 1 << level - before
                parts = [below[first : first + joined] for first in range(0, len(below), joined)]
                self._prove_joined(each, stage, parts, numbers)
            below, before = numbers, level

    def _require_room(self, each: Accumulator, bits: int, low: int, high: int) -> None:
        """A number narrower than the complete sum must hold every value; one as wide may wrap around on its way."""
        if bits < self.plan.sum_bits and (low < -(1 << bits - 1) or high >= 1 << bits - 1):
            raise MismatchError(
                f"{self.plan.name}: the addend of output {each.output} is too narrow for its encoded values"
            )

    def _prove_looked_up(self, each: Accumulator, encoded: np.ndarray, numbers: list[list[Net]]) -> None:
        """Every number of the first register, in every step and for all values of its own bits.

        And for all values of the step's other bits and marks, if these are few cases; else what enables the register is
        compared by itself.
        """
        plan, steps = self.plan, self.plan.schedule.steps
        step = self.step_at[each.segment * plan.step_bits :][: plan.step_bits]
        bits, mark = self._bits(each.group, each.beat), self.first_at[each.beat]
        joined = -(-plan.schedule.bits_per_step // len(numbers))
        whole = _different([*bits, mark, self.spare])
        few = steps << len(whole) <= FEW_CASES
        for number, word in enumerate(numbers):
            own = slice(number * joined, (number + 1) * joined)
            free = sorted(whole if few else _different(bits[own]))
            at, case = np.repeat(np.arange(steps), 1 << len(free)), np.tile(np.arange(1 << len(free)), steps)
            values: Values = {net: case >> i & 1 != 0 for i, net in enumerate(free)}
            values |= {net: at >> i & 1 != 0 for i, net in enumerate(step)} | _constants(len(at))
            given = np.stack([values[net] for net in bits[own]], axis=1)  # (cases, own bits)
            expected = np.einsum("cb,cb->c", given.astype(np.int64), encoded[at, own])
            self._require_room(each, len(word), expected.min(), expected.max())
            moves = np.ones(len(at), bool)
            if few:
                some = np.logical_or.reduce([values[net] for net in (*bits, mark)])
                moves = ~values[self.spare] & some
            for place, net in enumerate(word):
                differs = self._differs if few else self._differs_where_enabled
                wrong = differs(net, values, moves, expected >> place & 1 != 0)
                if len(wrong):
                    step_of_row = (at[wrong[0]] - each.beat + each.segment) % steps
                    raise MismatchError(
                        f"{plan.name}: bit {place} of what output {each.output} adds in step {step_of_row} is wrong "
                        f"where the encoded values of its bits add up to {expected[wrong[0]]}"
                    )
                if not few:
                    self._require_enable(net, each)
            self.table_entries += steps << len(_different(bits[own]))

    def _differs_where_enabled(self, net: Net, values: Values, _: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """The cases in which a register would take something else."""
        self.registers += isinstance(net, int)
        if not isinstance(net, int):
            return np.flatnonzero(expected != (net == "1"))
        data = self.netlist.flip_flop(net)[0]
        if not self.netlist.leaves(data, self.netlist.registers | self.netlist.inputs) <= values.keys():
            return np.arange(1)
        wrong: np.ndarray = np.flatnonzero(self.netlist.evaluate(data, values) != expected)
        return wrong

    def _require_enable(self, net: Net, each: Accumulator) -> None:
        """A register takes where its stage has work, and only there."""
        if isinstance(net, int):
            _, enable, reset, _ = self.netlist.flip_flop(net)
            if reset != "0" or not self._is_enable(enable, each.group, each.beat):
                raise MismatchError(f"{self.plan.name}: what output {each.output} adds is taken in other cycles")

    def _is_enable(self, net: Net, group: int, tap: int) -> bool:
        """Whether a net is 1 just in the cycles in which some bit of a group, or the first mark, is at a tap."""
        key = net, group, tap
        if key not in self._enables:
            f = self._functions(self.first_at[tap], *self._bits(group, tap))
            f.of(sorted(self.netlist.leaves(net, self.netlist.registers | self.netlist.inputs)))
            found = self.netlist.function(net, f.diagrams, f.functions)
            self._enables[key] = found == self._working(f, group, tap)
        return self._enables[key]

    def _working(self, f: NetFunctions, group: int, tap: int) -> int:
        """Where some bit of a group, or the first mark, is at a tap, and the summation does not stand still."""
        return f.all(self._ready(f), f.any(*f.of([self.first_at[tap], *self._bits(group, tap)])))

    def _prove_joined(
        self, each: Accumulator, stage: int, parts: list[list[list[Net]]], numbers: list[list[Net]]
    ) -> None:
        """Every number of a later register, for all values of the numbers that it joins."""
        for own, word in zip(parts, numbers, strict=True):
            wide = [extended(part, len(word)) for part in own]
            f = self._functions(*(net for place in zip(*wide, strict=True) for net in place))
            total = f.of(wide[0])
            for part in wide[1:]:
                total = f.diagrams.add(total, f.of(part), len(word))
            for place, (net, expected) in enumerate(zip(word, total, strict=True)):
                message = f"bit {place} of what output {each.output} adds is not that of its parts in stage {stage}"
                self._require(f, net, self._working(f, each.group, each.beat + stage), expected, message)

    def _encoded(self, each: Accumulator) -> np.ndarray:
        """Encoded value of every bit of every step, (steps, bits per step)."""
        s, summation = self.plan.schedule, self.plan.block.summation
        bounds = group_bounds(len(self.plan.summed), summation.groups)
        own = summation.encoded[bounds[each.group] : bounds[each.group + 1], each.output]
        encoded = np.zeros(s.steps * s.bits_per_step, np.int64)
        encoded[: len(own)] = own
        return encoded.reshape(s.steps, s.bits_per_step)

    def _differs(self, net: Net, values: Values, moves: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """The cases in which a register does not become what is expected where it moves, or does not stay elsewhere."""
        self.registers += isinstance(net, int)
        if not isinstance(net, int):
            return np.flatnonzero(moves & (expected != (net == "1")))
        data, enable, reset, value = self.netlist.flip_flop(net)
        read = set().union(
            *(self.netlist.leaves(cone, self.netlist.registers | self.netlist.inputs) for cone in (data, enable, reset))
        )
        if not read <= values.keys() | {net} | self.constants.keys():
            return np.arange(1)
        wrong = np.zeros(len(moves), bool)
        for held in (False, True):
            known = {**values, **{n: np.full(len(moves), True) for n in self.constants}, net: np.full(len(moves), held)}
            taken, enabled, cleared = (self.netlist.evaluate(n, known) for n in (data, enable, reset))
            becomes = np.where(cleared, value, np.where(enabled, taken, held))
            wrong |= becomes != np.where(moves, expected, held)
        return np.flatnonzero(wrong)

    def _prove_sum(self, each: Accumulator) -> None:
        """The sum, for all values of the sum and the addend before it."""
        plan, width = self.plan, self.plan.sum_bits
        word = self.sums[each.output % plan.schedule.output_lanes][each.beat * width :][:width]
        addend = self.netlist.nets(f"u_summation.u_sum_{each.output}.addend")
        tap = each.beat + len(self.wave.addend_levels)
        mark = self.first_at[tap]
        bias = int(plan.block.summation.bias[each.output])
        ordered = [net for pair in zip(word, extended(addend, width), strict=True) for net in pair]
        f = self._functions(mark, *self._bits(each.group, tap), *ordered)
        (restarts,) = f.of([mark])
        start = [
            f.diagrams.choose(restarts, TRUE if bias >> place & 1 else FALSE, held)
            for place, held in enumerate(f.of(word))
        ]
        moves = self._working(f, each.group, tap)
        total = f.diagrams.add(start, f.of(addend), width)
        for place, (net, expected) in enumerate(zip(word, total, strict=True)):
            message = f"bit {place} of the sum of output {each.output} is not that of the sum and its addend"
            self._require(f, net, moves, expected, message)

    def _prove_choice(self, lane: int) -> None:
        """The sum that leaves is that of the output beat with the last mark, and without a mark it is 0."""
        width, words = self.plan.sum_bits, self.sums[lane]
        chosen = self.netlist.nets("beat_sums")[lane * width :][:width]
        for place, net in enumerate(chosen):
            f = self._functions()
            marks = self.last_at[len(self.wave.addend_levels) + 1 :]
            gated = [f.all(*f.of([mark, words[beat * width + place]])) for beat, mark in enumerate(marks)]
            message = f"bit {place} of the sum that leaves lane {lane} is not that of its output"
            self._require(f, net, self._ready(f), f.any(*gated), message)

    def _prove_requantise(self, lane: int) -> None:
        """Product, output and spare output, for every sum in every beat whose multiplier differs."""
        plan, s = self.plan, self.plan.schedule
        multipliers = plan.lane_multipliers(lane)
        varying = any(len(set(plan.lane_multipliers(each))) > 1 for each in range(s.output_lanes))
        counter = self._beat_counter() if varying else []
        first_of = {multiplier: beat for beat, multiplier in reversed(list(enumerate(multipliers)))}
        beats = range(s.output_beats) if len(first_of) > 1 else [0]
        for beat in beats:
            self._prove_product(lane, counter, beat, multipliers[beat])

    def _beat_counter(self) -> list[Net]:
        """The register of the output beat, of whose two names synthesis may keep either."""
        name = "u_summation.beat_q" if self.netlist.has("u_summation.beat_q") else "output_beat"
        return self.netlist.nets(name)[: address_bits(self.plan.schedule.output_beats)]

    def _prove_product(self, lane: int, counter: list[Net], beat: int, multiplier: int) -> None:
        plan, width = self.plan, self.plan.sum_bits
        if width + 1 > LARGEST_ENUMERATION.bit_length():
            raise ToolError(f"{plan.name}: sums of {width} bits are too wide for the proof of their requantisation")
        codes = np.arange(1 << width)
        sums = np.where(codes >= 1 << width - 1, codes - (1 << width), codes)
        rounding = 1 << plan.shift - 1 if plan.shift else 0
        product = sums * multiplier + rounding
        type_ = plan.block.requantise.type
        output = np.clip(product >> plan.shift, type_.minimum, type_.maximum)
        word = self.netlist.nets("beat_sums")[lane * width :][:width]
        base: Values = _constants(len(codes)) | {self.spare: np.zeros(len(codes), bool)}
        values = base | {net: codes >> i & 1 != 0 for i, net in enumerate(word)}
        values |= {net: np.full(len(codes), beat >> i & 1 != 0) for i, net in enumerate(counter)}
        registers = dict(list(enumerate(self.netlist.nets(f"product_{lane}_q")))[plan.shift :])  # others do not exist
        where = f"{self.plan.name}: lane {lane} of beat {beat}"
        for place, net in registers.items():
            wrong = self._differs(net, values, np.ones(len(codes), bool), product >> place & 1 != 0)
            if len(wrong):
                raise MismatchError(f"{where}: bit {place} of the product of sum {sums[wrong[0]]} is wrong")
        values = base | {net: product >> i & 1 != 0 for i, net in registers.items() if isinstance(net, int)}
        self._prove_output(lane, values, output, f"{where}: the output")
        self.requantised_sums += len(codes)

    def _prove_output(self, lane: int, values: Values, output: np.ndarray, where: str) -> None:
        """The output register, which takes the spare output if there is one, and the spare one, which then stays."""
        bits, always = self.plan.block.requantise.type.bits, np.ones(len(output), bool)
        data, spare = (self.netlist.nets(name)[lane * bits :][:bits] for name in ("y_data_o", SPARE_OUTPUT))
        values = values | dict.fromkeys(self.netlist.nets("y_ready_i"), always)
        values |= dict.fromkeys(self.netlist.nets("u_output_register.valid_q"), ~always)
        for place in range(bits):
            expected = output >> place & 1 != 0
            for full, held in ((False, False), (True, False), (True, True)):
                known = values | {self.spare: always & full}
                known |= dict.fromkeys(_different(spare[place : place + 1]), always & held)
                taken = always & held if full and isinstance(spare[place], int) else expected
                wrong = [*self._differs(data[place], known, always, taken)]
                wrong += [*self._differs(spare[place], known, always & (not full), expected)]
                if wrong:
                    raise MismatchError(f"{where} with bit {place}: {int(expected[wrong[0]])} does not become it")


def _different(nets: Sequence[Net]) -> set[Net]:
    return {net for net in nets if isinstance(net, int)}


def _constants(length: int) -> Values:
    return {"0": np.zeros(length, bool), "1": np.ones(length, bool)}
