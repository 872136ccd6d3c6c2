"""`simulate.json`, by kind of run."""

from __future__ import annotations

from pydantic import Field, model_validator

from lutra.names import FileName, Name
from lutra.runs.schemas.values import Amount, Count, Fold, Hash, Message, Positive, Real, Versioned
from lutra.schema import Strict


class Stalled(Strict):
    """Cycles in which an end of a block held beats back, over all passes."""

    source: Count
    sink: Count


class Block(Strict):
    """How one block compared."""

    name: Name
    graph: Name = "unnamed"
    rows: Positive
    mismatches: Count
    mismatches_with_stalls: Count
    stalled_cycles: Stalled | None = None
    cycles_measured: Count
    cycles_predicted: Positive
    interval_cycles: Positive
    latency_cycles: Positive
    steps: Positive
    problem: Message | None = None


class FoldDesign(Strict):
    """All blocks at one fold factor."""

    fold_factor: Fold
    blocks: list[Block]


class BlockSimulation(Versioned):
    """Weightless blocks on captured rows."""

    frozen_hash: Hash | None = None
    simulator: Message
    rows: Count
    mismatches: Count
    stall_seed: Count | None = None
    stalled_cycles: Stalled | None = None
    cycles_match: bool
    designs: list[FoldDesign]

    @model_validator(mode="after")
    def _adds_up(self) -> BlockSimulation:
        every = [block for design in self.designs for block in design.blocks]
        sums = {
            "rows": (self.rows, sum(block.rows for block in every)),
            "mismatches": (self.mismatches, sum(block.mismatches + block.mismatches_with_stalls for block in every)),
            "cycles_match": (self.cycles_match, all(b.cycles_measured == b.cycles_predicted for b in every)),
        }
        if self.stalled_cycles is not None:
            for end in ("source", "sink"):
                of_blocks = sum(getattr(block.stalled_cycles, end, 0) for block in every)
                sums[f"stalled_cycles.{end}"] = (getattr(self.stalled_cycles, end), of_blocks)
        for name, (told, found) in sums.items():
            if told != found:
                raise ValueError(f"{name} is {told}, its blocks give {found}")
        return self


class Effort(Strict):
    """What a tool took."""

    seconds: Amount
    cpu_seconds: Amount


class Group(Strict):
    """Sentences that ran at the same time on BAT."""

    tokens: list[Positive] = Field(min_length=1)
    cycles_measured: Count | None
    cycles_predicted: Positive
    values: Count
    differing: Count
    logits_differing: Count
    steps_in_other_cycles: Count
    effort: Effort | None = None
    """None in files from before it was measured."""
    problem: Message | None


class Values(Strict):
    """Of one block."""

    values: Count
    differing: Count


class BatTotals(Strict):
    """How one method compared on BAT, over all groups of sentences."""

    frozen_hash: Hash
    design_hash: Hash
    config: dict[str, object]
    """A `BatConfig`, which reads it."""
    sentences: Positive
    values: Count
    mismatches: Count
    cycles_match: bool
    cycles: Count
    clock_hz: float = Field(gt=0, le=1e12)
    seconds_per_sentence: Amount
    giga_operations: Amount
    giga_operations_per_second: Amount | None
    utilisation: Real | None
    build: Effort | None = None
    simulated_seconds: Amount | None = None
    simulated_cpu_seconds: Amount | None = None


class BatDesign(BatTotals):
    """The same with its groups."""

    groups: list[Group] = Field(min_length=1)
    stalled: list[Group]
    blocks: dict[Name, Values]

    @model_validator(mode="after")
    def _adds_up(self) -> BatDesign:
        every = [*self.groups, *self.stalled]
        sums = {
            "sentences": (self.sentences, sum(len(group.tokens) for group in self.groups)),
            "values": (self.values, sum(group.values for group in every)),
            "mismatches": (self.mismatches, sum(group.differing + group.logits_differing for group in every)),
            "cycles": (self.cycles, sum(group.cycles_measured or 0 for group in self.groups)),
            "cycles_match": (
                self.cycles_match,
                all(group.cycles_measured == group.cycles_predicted for group in self.groups),
            ),
        }
        for name, (told, found) in sums.items():
            if told != found:
                raise ValueError(f"{name} is {told}, its groups give {found}")
        for name in self.blocks:
            layers, _, rest = name.partition(".")
            if layers != "layers" or not rest.partition(".")[0].isdecimal() or not rest.partition(".")[2]:
                raise ValueError(f"blocks: {name} is not of the form layers.N.PART")
        modules = self.config.get("modules")
        if not isinstance(modules, list) or not 1 <= len(modules) <= 2:
            raise ValueError("config.modules must list one or two modules")
        return self


class MachineCall(Strict):
    """How one call of a transformer machine compared."""

    rows: Positive
    past: Count
    stalled: bool
    cycles_measured: Count | None
    cycles_predicted: Positive
    values: Count
    differing: Count
    steps_in_other_cycles: Count
    problem: Message | None


class CycleShare(Strict):
    """Cycles of all steps of one kind, in a call with all rows and in one with the last alone."""

    op: Name
    prefill: Count
    decode: Count


class MachineSimulation(Versioned):
    """A whole model on the transformer machine: every value of every step."""

    frozen_hash: Hash
    design_hash: Hash
    simulator: Message
    config: dict[str, object]
    """A `TransformerConfig`, which reads it."""
    tokens: list[Count]
    """What went in; none where images did."""
    values: Count
    mismatches: Count
    cycles_match: bool
    calls: list[MachineCall] = Field(min_length=1)
    steps: dict[Name, Values]
    shares: list[CycleShare]
    build: Effort
    simulation: Effort

    @model_validator(mode="after")
    def _adds_up(self) -> MachineSimulation:
        free = [call for call in self.calls if not call.stalled]
        sums = {
            "values": (self.values, sum(call.values for call in self.calls)),
            "mismatches": (self.mismatches, sum(call.differing for call in self.calls)),
            "cycles_match": (self.cycles_match, all(c.cycles_measured == c.cycles_predicted for c in free)),
        }
        for name, (told, found) in sums.items():
            if told != found:
                raise ValueError(f"{name} is {told}, its calls give {found}")
        return self


class BatSimulation(Versioned):
    """The accelerator of every method that it takes, on sentences of the development set."""

    simulator: Message
    mismatches: Count
    cycles_match: bool
    designs: dict[FileName, BatDesign]
    refused: dict[FileName, Message]

    @model_validator(mode="after")
    def _adds_up(self) -> BatSimulation:
        every = self.designs.values()
        if self.mismatches != sum(design.mismatches for design in every):
            raise ValueError("mismatches is not the sum of the designs' mismatches")
        if self.cycles_match != all(design.cycles_match for design in every):
            raise ValueError("cycles_match is not what the designs say")
        return self
