"""The int8 systolic array of the baseline (QuWeiT section 4.3.2): its configuration, its cycles, its SystemVerilog."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from mako.template import Template

from lutra.errors import InputError
from lutra.rtl.emit import HERE, complete, write_files

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


def product_cycles(rows: int, inner: int, columns: int, size: int, output_lanes: int) -> int:
    """Cycles of one (rows x inner)(inner x columns) product, from the first accepted operand beat to the last accepted
    result beat, both counted, when neither sources nor sink stall.

    The first tile's operands load in `inner` cycles; those of later tiles load behind the computation. Tiles follow
    each other every `inner` cycles, but no faster than results leave: `size` cycles out of the array, and
    size * size / output_lanes through the output. The last wavefront takes `size` cycles to the far corner.
    """
    tiles = -(-rows // size) * -(-columns // size)
    slots, beats = max(inner, size), size * size // output_lanes
    return inner + slots + (tiles - 1) * max(slots, beats) + size + beats + FIXED_CYCLES


def sufficient_output_lanes(size: int, inner: int) -> int:
    """The fewest output lanes that never hold up tiles of `inner` terms."""
    lanes = 1
    while size * size // lanes > max(inner, size):
        lanes *= 2
    return lanes


def systolic_files(config: SystolicConfig, name: str) -> dict[str, str]:
    """All files of a design with the array as module `name`: file name -> text, the file list last."""
    template = Template(filename=str(HERE / "templates" / "systolic.sv.mako"), strict_undefined=True)
    return complete({f"{name}.sv": str(template.render(config=config, name=name))})


def write_systolic(config: SystolicConfig, name: str, out: Path) -> list[Path]:
    """Write the array as module `name` into the folder `out`, which it replaces; return the files.

    Raises:
        InputError: `out` holds something other than generated RTL.
    """
    return write_files(systolic_files(config, name), {"systolic": {"module": name, **asdict(config)}}, out)
