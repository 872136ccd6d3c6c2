"""Energy of the transformer machine: what its units do in a call, at what each of them costs while it works.

The method is that of `whole_model`; cycles and counts are those of the machine, with fill, drain and padding, and its
own functions: exact norm, exponentials and GELU by tables. A unit costs nothing while it does not work.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.machine import Call
from lutra.cost.machine_work import Work
from lutra.cost.systolic import SystolicArray
from lutra.cost.whole_model import ADD, MULTIPLY, EnergyPart, PartMaker

REQUANTISED = ADD * 2 + MULTIPLY
"""Bias, rounding; the column's multiplier."""
NORM_ELEMENT = ADD * 5 + MULTIPLY * 4
"""Sum, sum of squares, less the mean, bias, rounding; square, times the width, the reciprocal, the gain."""
NORM_ROW = ADD * (26 * 2 + 26 + 17)
"""Variance, root and reciprocal, a bit per cycle."""
SCORE = ADD
"""The largest one."""
EXPONENTIAL = ADD * 2
"""Its distance from the largest score, and the sum; the exponential itself is read from a table."""
SOFTMAX_ROW = ADD * 17
LEAVES_OUT = (
    "leakage, and the clock of units and blocks that wait: a step uses one or two units, the others stand still",
    "address counters, the program's controller and the multiplexers between units",
    "wires, clock tree and glitches",
    "loading weights into the machine's memories, except where a line says off chip",
)
"""What no energy of the machine here contains; printed wherever one is."""


@dataclass(frozen=True)
class BlockEnergies:
    """Energy per cycle of a weightless block at work, the mean over a model's blocks."""

    fpga_j_per_cycle: float
    asic_j_per_cycle: float


def sequence_call(image: Image) -> Call:
    """All rows of a sequence at once: an image, or as many tokens as model and machine take."""
    if image.whole_rows is not None:
        return Call(image.whole_rows)
    return Call(min(image.config.rows, image.program.context or image.config.rows))


def token_call(image: Image) -> Call | None:
    """A token alone, at half the context; None for models of images."""
    if image.whole_rows is not None:
        return None
    return Call(1, sequence_call(image).rows // 2)


def machine_parts(
    work: Work,
    array: SystolicArray,
    block: BlockEnergies | None,
    edge_buffers: bool = False,
) -> tuple[EnergyPart, ...]:
    """Where the energy of `work` goes on a machine with `array`.

    `block` where the model has blocks; `edge_buffers` where they are no part of the array's energy.
    """
    make = PartMaker(array)
    operations = {
        "requantisation": REQUANTISED * work.results,
        "layer norm": NORM_ELEMENT * work.norm_elements + NORM_ROW * work.norm_rows,
        "softmax": SCORE * work.scores + EXPONENTIAL * work.exponentials + SOFTMAX_ROW * work.softmax_rows,
        "residual sums": ADD * work.residual_sums,
    }
    parts = [make.array_cycles("array", work.array_cycles)]
    parts += [make.operations(name, count) for name, count in operations.items()]
    parts.append(make.on_chip("memories", work.memory_bytes))
    if edge_buffers:
        parts.append(make.on_chip("edge buffers", work.edge_bytes))
    if block is not None:
        energies = work.block_cycles * block.fpga_j_per_cycle, work.block_cycles * block.asic_j_per_cycle
        parts.append(EnergyPart("weightless blocks", False, False, *energies))
    parts.append(make.off_chip("off-chip weights", work.weight_bytes))
    return tuple(parts)
