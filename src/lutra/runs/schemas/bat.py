"""What runs of kind "bert" write about BAT: `synth.json` with the kept results beside it, and `cost.json`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lutra.names import FileName, Name
from lutra.runs.schemas.values import Amount, Count, Hash, Integer, Message, Positive, Real, Versioned
from lutra.schema import Strict

Clock = Annotated[float, Field(gt=0, le=1e12)]
"""In Hz."""


class Use(Strict):
    """Of an FPGA. What memories and fitted units take need not be whole."""

    lut_raw: Real
    lut_packed: Real
    ff: Real
    dsp: Real
    bram: Real


class Unit(Strict):
    """A unit at one size in UltraScale+."""

    unit: Name
    module: Name
    size: Count
    bits: Count
    parameters: dict[Name, Integer]
    lut_raw: Count
    lut_packed: Count
    ff: Count
    bram: Amount
    dsp: Count
    carry4: Count = 0
    carry8: Count = 0
    muxf7: Count = 0
    muxf8: Count = 0
    muxf9: Count = 0
    seconds: Amount
    content_hash: Hash


class KeptUnit(Unit):
    """`synth/UNIT/result.json`."""

    format_version: Literal[1] = 1


class Engine(Strict):
    """An engine of some units in standard cells."""

    units: Positive
    area_mm2: Amount
    cells: Count
    slack_ns: Real | None
    seconds: Amount
    content_hash: Hash


class KeptEngine(Engine):
    """`synth/asic_engine_PARAMETERS/result.json`."""

    format_version: Literal[1] = 1


class EngineInCells(Strict):
    """The engine of a module, from two that were mapped."""

    area_mm2: Amount
    slack_ns: Real | None
    clock_hz: Clock
    tool: Message
    ends: list[Engine] = Field(min_length=2, max_length=2)


class SynthesisedModule(Strict):
    """A module from its parts."""

    runs: list[Literal["attention", "feed-forward"]]
    parts: dict[Message, Use]
    total: Use


class SynthesisedDesign(Strict):
    """The accelerator of one method."""

    frozen_hash: Hash
    design_hash: Hash
    modules: list[SynthesisedModule]
    asic: list[EngineInCells] | None


class Fpga(Strict):
    """The device of the recipe."""

    name: Message
    lut: Count
    ff: Count
    bram: Amount
    dsp: Count
    source: Message
    remark: Message


class Skipped(Strict):
    """What has no tool, and why."""

    target: Message
    reason: Message


class BatSynthesis(Versioned):
    """`synth.json`."""

    tool: Message | None
    device: Fpga | None
    units: list[Unit]
    designs: dict[FileName, SynthesisedDesign]
    refused: dict[FileName, Message]
    skipped: list[Skipped]


class Throughput(Strict):
    """Of sentences that run at the same time."""

    tokens: list[Positive]
    cycles: Count
    seconds: Amount
    giga_operations: Amount
    giga_operations_per_second: Amount
    utilisation: Real


class Equations(Strict):
    """The paper's model of the cycles."""

    as_printed_cycles: Count
    stage_per_sentence_cycles: Count


class Measured(Strict):
    """Of the simulation."""

    sentences: Positive
    cycles: Count
    cycles_match: bool
    mismatches: Count
    values: Count
    seconds_per_sentence: Amount
    utilisation: Real | None


class Traffic(Strict):
    """Of a sentence in a layer."""

    attention_bytes: Count
    feed_forward_bytes: Count


class LayerStep(Strict):
    """When a step of a layer runs, in cycles."""

    module: Count
    step: Name
    sentence: Count
    start: Count
    end: Count
    slowest: Message


class BatDesignCost(Strict):
    """The accelerator of one method."""

    frozen_hash: Hash
    clock_hz: Clock
    tokens: Positive
    layers: Positive
    peak_giga_operations_per_second: Amount
    alone: Throughput
    together: Throughput
    equation_5: Equations | None
    measured: Measured | None
    traffic: Traffic
    layer: list[LayerStep]


class BatCost(Versioned):
    """`cost.json`."""

    designs: dict[FileName, BatDesignCost]
    refused: dict[FileName, Message]
    leaves_out: list[Message]
