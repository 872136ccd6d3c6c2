"""`synth.json`, and the kept result of one block."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lutra.names import Name
from lutra.runs.schemas.values import Amount, Count, Fold, Hash, Message, Real, Versioned
from lutra.schema import Strict


class Proof(Strict):
    """Whether the netlist is the trained block: proved, refuted, or (None) not decided, with the reason."""

    holds: bool | None
    problem: Message | None = None
    outputs: Count | None = None
    luts: Count | None = None
    cut_points: Count | None = None
    assignments: Count | None = None
    summation: dict[Name, Count] | None = None
    seconds: Amount


class Power(Strict):
    """By where it goes, in W."""

    internal_w: Real
    switching_w: Real
    leakage_w: Real
    total_w: Real


class MeasuredPower(Power):
    """With the switching counted on captured rows."""

    toggles_per_net_and_cycle: Amount
    tokens: Count
    energy_per_token_j: Real


class KeptBlock(Strict):
    """One block on one target, as the run keeps it; which keys there are depends on the target."""

    name: Name
    seconds: Amount = 0.0
    content_hash: Hash | None = None
    lut_raw: Count | None = None
    lut_packed: Count | None = None
    ff: Count | None = None
    bram: Amount | None = None
    dsp: Count | None = None
    carry4: Count | None = None
    carry8: Count | None = None
    muxf7: Count | None = None
    muxf8: Count | None = None
    muxf9: Count | None = None
    proof: Proof | None = None
    tool: Message | None = None
    dynamic_power_w: Amount | None = None
    static_power_w: Amount | None = None
    area_mm2: Amount | None = None
    cells: Count | None = None
    slack_ns: Real | None = None
    power_uniform: Power | None = None
    power_default: Power | None = None
    power_w: Amount | None = None
    power_measured: MeasuredPower | None = None


class KeptResult(KeptBlock):
    """`synth/fold_N/TARGET_BLOCK/result.json`."""

    format_version: Literal[1] = 1


class SynthesisedBlock(KeptBlock):
    """In `synth.json`."""

    graph: Name = "unnamed"


class Fpga(SynthesisedBlock):
    """On a programmable device."""

    lut_packed: Count
    ff: Count
    bram: Amount
    dsp: Count


class Cells(SynthesisedBlock):
    """In standard cells."""

    area_mm2: Amount
    slack_ns: Real | None
    power_w: Amount | None


class Measured(Cells):
    """In standard cells, by our own flow."""

    power_measured: MeasuredPower | None


class FpgaTarget(Strict):
    """All blocks at one fold factor, by Yosys or Vivado."""

    target: Literal["xcup", "vivado"]
    tool: Message
    fold_factor: Fold
    blocks: list[Fpga]


class CellTarget(Strict):
    """All blocks at one fold factor, by Yosys and OpenSTA."""

    target: Literal["asic", "asic_gated"]
    tool: Message
    fold_factor: Fold
    clock_hz: float = Field(gt=0, le=1e12)
    clock_gating: bool
    blocks: list[Measured]


class VendorTarget(Strict):
    """All blocks at one fold factor, by Design Compiler."""

    target: Literal["dc"]
    tool: Message
    fold_factor: Fold
    blocks: list[Cells]


class Skipped(Strict):
    """What had no tool, and why."""

    target: Message
    reason: Message


class Synthesis(Versioned):
    """All targets."""

    frozen_hash: Hash | None = None
    targets: list[FpgaTarget | CellTarget | VendorTarget]
    skipped: list[Skipped] = Field(default_factory=list)
