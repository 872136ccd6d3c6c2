"""The int8 systolic array of the baseline (QuWeiT section 4.3.2): its configuration, its cycles, its SystemVerilog."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from mako.template import Template

from lutra.errors import InputError
from lutra.frozen.shift import EXPONENT_SHIFT, largest_unit
from lutra.hardware.design import Design, library_files
from lutra.names import require_identifier

RTL = Path(__file__).parent / "rtl"
REGULAR_MODULES = (
    "lutra_systolic_pe",
    "lutra_systolic_column",
    "lutra_systolic_edge",
    "lutra_systolic_result",
    "lutra_requantise",
)
"""The library modules that an array repeats; registers lie between them, so that each can be synthesised alone."""
FIXED_CYCLES = 3
"""Cycles beside operands, wavefront and results: the slot that takes sums out, result memory, output register."""
PIPELINE_CYCLES = 2
"""Register stages that a pipelined element has more."""
ACTIVATION_STAGES = 9
"""Register stages of ShiftGELU from its input to its output beside those of the division."""
DIVIDEND_BITS = 31
LARGEST_UNIT = 4095


@dataclass(frozen=True)
class SystolicConfig:
    """What is built: an output-stationary `size` x `size` array with its buffers and requantisers.

    Raises:
        InputError: a value that the RTL does not take.
    """

    size: int
    """Rows and columns of processing elements, a power of two."""
    depth: int
    """Largest number of terms of a result, a power of two."""
    output_lanes: int
    """Results per cycle of the output stream, a power of two up to `size`; each has a requantiser."""
    multiplier_bits: int = 16
    shift: int = 24
    tile_bits: int = 8
    """Bits of the number of tiles side by side."""
    pipelined: bool = False
    """Two register stages more in every element: inside its product and inside its sum. For 1 GHz in 45 nm."""

    def __post_init__(self) -> None:
        for field in ("size", "depth", "output_lanes"):
            value = getattr(self, field)
            if value < 1 or value & (value - 1):
                raise InputError(f"systolic array: {field} must be a power of two, got {value}")
        if self.size < 2 or self.depth < 2 or self.output_lanes > self.size:
            raise InputError(
                f"systolic array: size and depth must be 2 or more and output_lanes at most size, got {asdict(self)}"
            )
        if not (1 <= self.multiplier_bits <= 31 and 0 <= self.shift <= 62 and 1 <= self.tile_bits <= 16):
            raise InputError(f"systolic array: multiplier_bits, shift or tile_bits out of range in {asdict(self)}")

    @property
    def inner_bits(self) -> int:
        return self.depth.bit_length()


@dataclass(frozen=True)
class ActivationConfig:
    """ShiftGELU and the requantisation behind it, as built between the two products of an MLP: constants of one layer.

    `unit` and `shift` are those of `frozen.ops.ShiftGelu`; y = clamp((x * sigmoid * multiplier + rounding) >>
    multiplier_shift) is int8.

    Raises:
        InputError: a value that the RTL does not take.
    """

    unit: int
    shift: int
    multiplier: int
    multiplier_shift: int
    max_tiles: int
    """Most tiles side by side of a product that is activated: a row of tiles is stored, twice."""

    def __post_init__(self) -> None:
        if not 1 <= self.shift <= EXPONENT_SHIFT or not 1 <= self.unit <= min(LARGEST_UNIT, largest_unit(self.shift)):
            raise InputError(f"ShiftGELU: unit or shift out of range in {asdict(self)}; freeze with a smaller shift")
        if not (0 <= self.multiplier < 1 << 31 and 0 <= self.multiplier_shift <= 62 and self.max_tiles >= 1):
            raise InputError(f"ShiftGELU: multiplier, multiplier_shift or max_tiles out of range in {asdict(self)}")

    @property
    def multiplier_bits(self) -> int:
        return max(1, self.multiplier.bit_length())

    @property
    def latency_cycles(self) -> int:
        """From taking the last beat of a row of tiles to offering the first activated one, less one.

        The division has a stage per bit of the quotient; the divisor is at least 2 * unit.
        """
        return ACTIVATION_STAGES + DIVIDEND_BITS - ((2 * self.unit).bit_length() - 1)


def activation_cycles(activation: ActivationConfig, columns: int, config: SystolicConfig) -> int:
    """Cycles by which ShiftGELU delays the last result: the last row of tiles leaves once all of it is known."""
    return activation.latency_cycles + -(-columns // config.size) * config.size * config.size // config.output_lanes


def product_cycles(rows: int, inner: int, columns: int, size: int, output_lanes: int, pipelined: bool = False) -> int:
    """Cycles of one (rows x inner)(inner x columns) product, from the first accepted operand beat to the last accepted
    result beat, both counted, when neither sources nor sink stall.

    The first tile's operands load in `inner` cycles; those of later tiles load behind the computation. Tiles follow
    each other every `inner` cycles, but no faster than results leave: `size` cycles out of the array, and
    size * size / output_lanes through the output. The last wavefront takes `size` cycles to the far corner.

    `pipelined`, every product takes `PIPELINE_CYCLES` more, and tiles of fewer than `size` + 1 terms as long as one of
    that many: their results would not leave in time for those of the tile after the next.
    """
    tiles = -(-rows // size) * -(-columns // size)
    slots, beats = max(inner, size + pipelined), size * size // output_lanes
    fixed = FIXED_CYCLES + PIPELINE_CYCLES * pipelined
    return inner + slots + (tiles - 1) * max(slots, beats) + size + beats + fixed


def sufficient_output_lanes(size: int, inner: int) -> int:
    """The fewest output lanes that never hold up tiles of `inner` terms."""
    lanes = 1
    while size * size // lanes > max(inner, size):
        lanes *= 2
    return lanes


def systolic_design(config: SystolicConfig, name: str, activation: ActivationConfig | None = None) -> Design:
    """The array as module `name`; with `activation` it has ShiftGELU behind it and computes both products of an MLP."""
    require_identifier(name, "module of the RTL")
    template = Template(filename=str(RTL / "systolic.sv.mako"), strict_undefined=True)
    text = str(template.render(config=config, name=name, activation=activation))
    described = {"module": name, **asdict(config)} | ({"activation": asdict(activation)} if activation else {})
    return Design.complete({f"{name}.sv": text}, library_files(RTL), {"systolic": described})
