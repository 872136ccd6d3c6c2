"""What runs write about the machine for their model: `machine_synth.json` with kept results, `machine_cost.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lutra.names import Name
from lutra.runs.schemas.values import Amount, Count, Hash, Message, Positive, Real, Versioned
from lutra.schema import Strict

Variant = Literal["model", "mlp"]
"""The run's model, or its baseline with the dense MLP, on the same machine."""


class Use(Strict):
    """Of an UltraScale+."""

    lut_raw: Count
    lut_packed: Count
    ff: Count
    bram: Amount
    dsp: Count
    carry4: Count
    carry8: Count
    muxf7: Count
    muxf8: Count
    muxf9: Count


class ModuleUse(Strict):
    """A module without those inside it that are counted apart."""

    name: Name
    instances: Positive
    use: Use


class KeptModules(Versioned):
    """`synth_machine/NAME/result.json`."""

    modules: list[ModuleUse] = Field(min_length=1)
    seconds: Amount
    content_hash: Hash


class Block(Strict):
    """A weightless block of the machine."""

    name: Name
    graph: Name
    modules: list[ModuleUse] = Field(min_length=1)


class Cells(Strict):
    """Modules of the machine in standard cells."""

    name: Name
    instances: Positive
    area_mm2: Amount
    cells: Count
    slack_ns: Real | None


class KeptCells(Versioned):
    """`synth_machine/asic_MODULE/result.json`."""

    area_mm2: Amount
    cells: Count
    slack_ns: Real | None
    seconds: Amount
    content_hash: Hash


class InCells(Strict):
    """A machine in standard cells, as far as it is mapped."""

    tool: Message
    clock_hz: float = Field(gt=0, le=1e12)
    modules: list[Cells]


class SynthesisedMachine(Strict):
    """One variant."""

    variant: Variant
    frozen_hash: Hash
    design_hash: Hash
    config: dict[str, object]
    """A `TransformerConfig`, which reads it."""
    modules: list[ModuleUse] = Field(min_length=1)
    blocks: list[Block]
    parts: dict[Message, Use]
    total: Use
    asic: InCells | None

    @model_validator(mode="after")
    def _adds_up(self) -> SynthesisedMachine:
        every = [*self.modules, *(module for block in self.blocks for module in block.modules)]
        for name in Use.model_fields:
            of_modules = sum(each.instances * getattr(each.use, name) for each in every)
            of_parts = sum(getattr(part, name) for part in self.parts.values())
            if not of_modules == of_parts == getattr(self.total, name):
                raise ValueError(f"total.{name} is {getattr(self.total, name)}, its modules give {of_modules}")
        return self


class Skipped(Strict):
    """What had no tool or no baseline, and why."""

    target: Message
    reason: Message


class MachineSynthesis(Versioned):
    """`machine_synth.json`."""

    frozen_hash: Hash
    tool: Message | None
    machines: list[SynthesisedMachine]
    skipped: list[Skipped]


class Part(Strict):
    """Where energy goes, per call."""

    name: Message
    off_chip: bool
    fpga_energy_j: Amount
    asic_energy_j: Amount


class CallCost(Strict):
    """All rows of a sequence at once, or a token alone."""

    what: Literal["sequence", "token"]
    rows: Positive
    past: Count
    cycles: Positive
    measured_cycles: Count | None
    array_cycles: Count
    block_cycles: Count
    memory_bytes: Count
    weight_bytes: Count
    parts: list[Part]
    fpga_energy_j: Amount | None
    """On chip, as the next one."""
    asic_energy_j: Amount | None


class MachineVariantCost(Strict):
    """One variant."""

    variant: Variant
    frozen_hash: Hash
    size: Positive
    calls: list[CallCost] = Field(min_length=1)


class MachineRatio(Strict):
    """The variant with the dense MLP over the run's model."""

    what: Literal["sequence", "token"]
    cycles: Amount
    fpga: Amount | None
    fpga_with_off_chip: Amount | None
    asic: Amount | None


class MachineCost(Versioned):
    """`machine_cost.json`."""

    frozen_hash: Hash
    machines: list[MachineVariantCost] = Field(min_length=1)
    ratios: list[MachineRatio]
    basis: dict[Name, Message]
    leaves_out: list[Message]
    skipped: list[Skipped]
