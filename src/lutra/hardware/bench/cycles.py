"""A test bench for modules without streams: one word of inputs and one of outputs per cycle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mako.template import Template

from lutra.frozen.types import IntArray
from lutra.hardware.bench import streams, verilator
from lutra.runs.files import write_text

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Fields:
    """Names and widths, up to 64 bits, of the fields of a word; each begins at a multiple of 32 bits."""

    bits: dict[str, int]

    @property
    def dtype(self) -> np.dtype[np.void]:
        """A word as NumPy sees it: unsigned integers."""
        return np.dtype([(name, "<u4" if bits <= 32 else "<u8") for name, bits in self.bits.items()])

    @property
    def words(self) -> int:
        """Words of 32 bits that hold all fields."""
        return self.dtype.itemsize // 4

    @property
    def offsets(self) -> dict[str, int]:
        """First bit of every field."""
        assert self.dtype.fields is not None
        return {name: 8 * place for name, (_, place, *_) in self.dtype.fields.items()}

    def pack(self, values: dict[str, IntArray]) -> np.ndarray:
        """Integers (cycles,) per field, negative ones in two's complement -> words (cycles,)."""
        packed = np.zeros(len(next(iter(values.values()))), self.dtype)
        for name, bits in self.bits.items():
            packed[name] = np.asarray(values[name]) & np.int64((1 << min(bits, 63)) - 1 if bits < 64 else -1)
        return packed


@dataclass(frozen=True)
class CycleBench:
    """A compiled module with the ports clk_i, inputs_i and outputs_o."""

    executable: Path
    inputs: Fields
    outputs: Fields

    def run(self, values: dict[str, IntArray]) -> dict[str, IntArray]:
        """What the outputs show in every cycle, before its clock edge.

        Raises:
            ToolError: the simulation broke off.
        """
        data = streams.execute(self.executable, self.inputs.pack(values).tobytes())
        words = np.frombuffer(data, self.outputs.dtype)
        return {name: words[name].astype(np.int64) for name in self.outputs.bits}


def build(
    files: list[Path], top: str, inputs: Fields, outputs: Fields, folder: Path, defines: tuple[str, ...] = ()
) -> CycleBench:
    """Compile the module `top` of `files` with its bench in `folder`; `defines` are macros of the design.

    Raises:
        ToolError: a tool is missing, or refuses the design.
    """
    folder.mkdir(parents=True, exist_ok=True)
    template = Template(filename=str(HERE / "cycles.cpp.mako"), strict_undefined=True)
    rendered = template.render(input_words=inputs.words, output_words=outputs.words)
    write_text(folder / "testbench.cpp", str(rendered))
    streams.write_bench_header(folder)
    executable = verilator.build(files, top, folder / "testbench.cpp", folder, defines=defines)
    return CycleBench(executable, inputs, outputs)
