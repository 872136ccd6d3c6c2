"""The weightless block: what one inference counts, takes and costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.block.schedule import FoldFactor
from lutra.cost.technology import Technology, quweit_paper
from lutra.frozen.graph import WeightlessBlock
from lutra.recipes.groups import group_bounds

PAPER_POWER_LABEL = "the paper's 153 mW, which holds for F = 1 at best"
FITTED_POWER_LABEL = "interpolation of the paper's five FPGA points at 200 MHz (within 7 % of them), not a measurement"


@dataclass(frozen=True)
class InferenceCounts:
    """What a block holds and does for one token."""

    thermometer_bits: int
    comparators: int
    """Thermometer bits that some LUT, or the summation, reads."""
    distinct_comparators: int
    """Those that differ in feature or threshold and are not constant."""
    luts: int
    additions_per_token: int
    """Additions into an accumulator when every summed bit is set."""
    table_bytes: float
    encoded_bytes: float
    """With just the bits that tell a block's different values apart."""


def inference_counts(block: WeightlessBlock) -> InferenceCounts:
    """Count a frozen block's hardware and its work per token (QuWeiT section 3.3)."""
    summation, thresholds = block.summation, block.thermometer.thresholds  # (R, D'), (D, T)
    read = _thermometer_bits_read(block)
    feature, threshold = read // thresholds.shape[1], thresholds.reshape(-1)[read]
    input_type = block.graph.input_type
    varies = (threshold > input_type.minimum) & (threshold <= input_type.maximum)
    bits = np.diff(group_bounds(len(summation.encoded), summation.groups))
    outputs = np.diff(group_bounds(summation.width, summation.groups))
    additions = int(bits @ outputs)
    return InferenceCounts(
        thermometer_bits=thresholds.size,
        comparators=len(read),
        distinct_comparators=len(np.unique(np.stack([feature[varies], threshold[varies]]), axis=1).T),
        luts=sum(layer.width for layer in block.lut_layers),
        additions_per_token=additions,
        table_bytes=sum(layer.tables.size for layer in block.lut_layers) / 8,
        encoded_bytes=additions * (len(np.unique(summation.encoded)) - 1).bit_length() / 8,
    )


def _thermometer_bits_read(block: WeightlessBlock) -> np.ndarray:
    """Indices, ascending, of the thermometer bits that anything reads."""
    count, name = block.thermometer.width, block.thermometer.output
    if name in block.summation.inputs:
        return np.arange(count)
    return np.unique(block.lut_layers[0].connections) if block.lut_layers else np.arange(0)


def accumulation_cycles(summed_bits: int, fold_factor: FoldFactor) -> int:
    """Cycles that one token's summation takes when each output adds `fold_factor` bits per cycle."""
    return 1 if fold_factor == "all" else math.ceil(summed_bits / fold_factor)


@dataclass(frozen=True)
class BlockEnergy:
    """Energy per cycle of a block, and what the number rests on."""

    j_per_cycle: float
    basis: str


def paper_fpga_energy(technology: Technology | None = None) -> BlockEnergy:
    """Table 3's block: 0.15 uJ in 196 cycles at 200 MHz, that is 153 mW."""
    technology = technology or quweit_paper()
    section = "weightless_block"
    return BlockEnergy(technology[section, "fpga_energy_j"] / technology[section, "cycles"], PAPER_POWER_LABEL)


def paper_asic_energy(technology: Technology | None = None) -> BlockEnergy:
    """Table 3's block in 45 nm: 0.001 uJ in 196 cycles at 1 GHz, that is 5.1 mW, from one significant digit."""
    technology = technology or quweit_paper()
    section = "weightless_block"
    return BlockEnergy(
        technology[section, "asic_energy_j"] / technology[section, "cycles"],
        "the paper's 5.1 mW, from one significant digit",
    )


def fitted_fpga_energy(luts: int, brams: float, technology: Technology | None = None) -> BlockEnergy:
    """Energy per cycle of a block of `luts` LUTs and `brams` BRAMs at the paper's clock."""
    technology = technology or quweit_paper()
    power_w = (
        technology["fpga_power_fit", "constant_w"]
        + luts * technology["fpga_power_fit", "per_lut_w"]
        + brams * technology["fpga_power_fit", "per_bram_w"]
    )
    return BlockEnergy(power_w / technology["fpga", "clock_hz"], FITTED_POWER_LABEL)
