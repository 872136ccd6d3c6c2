"""The engine by itself in simulation: products of matrices of any number of bits, every sum against NumPy's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lutra.accelerators.bat import layout, products
from lutra.accelerators.bat.config import ModuleConfig
from lutra.accelerators.bat.emit import RTL
from lutra.accelerators.bat.parameters import ADDRESS_BITS, COUNT_BITS
from lutra.accelerators.bat.products import Product
from lutra.errors import MismatchError
from lutra.frozen.types import IntArray
from lutra.hardware.bench import jobs, streams
from lutra.hardware.bench.jobs import Interface, Job, JobBench, ReadPort, Stream
from lutra.hardware.design import Design, library_files, with_defaults
from lutra.runs.files import write_text

ENGINE = "lutra_bat_engine"
SETTINGS = (
    "scores", "signed", "binary", "heads", "rows", "groups", "chunks", "last_elements", "x_row_stride",
    "y_chunk_stride", "y_bit_stride", "y_group_stride", "y_head_stride",
)  # fmt: skip
"""Fields of a product that are ports."""
BASES = {"x_base_i": 0, "y_base_i": 0}
EXTREMES = 0.05
"""Of the rows and of the outputs: those whose numbers are all the lowest, so that sums get as long as they can."""


@dataclass(frozen=True)
class Precision:
    """Signed x (rows, inputs) by signed weights (outputs, inputs); numbers of one bit are -1 and 1."""

    rows: int
    inputs: int
    outputs: int
    weight_bits: int
    activation_bits: int
    """At least as many."""

    @property
    def sum_bits(self) -> int:
        """Of a sum, two's complement."""
        largest = self.inputs * _magnitude(self.weight_bits) * _magnitude(self.activation_bits)
        return largest.bit_length() + 1

    def product(self, module: ModuleConfig) -> Product:
        return products.linear(module, self.rows, self.inputs, self.outputs, 1, True, self.weight_bits)


@dataclass(frozen=True)
class EngineRun:
    """A product that was simulated, and is NumPy's."""

    cycles: int
    """From the start to the last sums, nothing stalling; as many as the engine's schedule says."""
    values: int
    """Sums that were compared, those of a second run with stalls among them."""


def engine_design(precision: Precision, module: ModuleConfig) -> Design:
    """The engine of a module alone, counting, for one precision."""
    given = {
        "Units": module.p_dpu,
        "Elements": module.p_pe,
        "Bits": precision.activation_bits,
        "SumBits": precision.sum_bits,
        "CountBits": COUNT_BITS,
        "AddressBits": ADDRESS_BITS,
        "LaneBits": module.p_pe.bit_length(),
        "HeadWidth": module.p_pe,
    }
    library = library_files(RTL)
    text = with_defaults(library[f"{ENGINE}.sv"], given)
    old = "parameter int unsigned YBits = Bits,"
    assert old in text
    text = text.replace(old, f"parameter int unsigned YBits = {precision.weight_bits},")
    return Design.complete({f"{ENGINE}.sv": text}, library)


def simulate_engine(precision: Precision, module: ModuleConfig, folder: Path, seed: int) -> EngineRun:
    """Simulate the engine on random matrices in `folder`, without stalls and again with random ones.

    Raises:
        MismatchError: a sum is not NumPy's, or the cycles are not the schedule's.
        ToolError: a tool is missing, or refuses the design.
    """
    design = engine_design(precision, module)
    for name, text in design.files.items():
        write_text(folder / "rtl" / name, text)
    bench = jobs.build(
        [folder / "rtl" / name for name in design.sources], ENGINE, _interface(precision, module), folder
    )
    return run_engine(bench, precision, module, seed)


def run_engine(bench: JobBench, precision: Precision, module: ModuleConfig, seed: int) -> EngineRun:
    """The same with an engine that is compiled already; raises what `simulate_engine` raises."""
    rng = np.random.default_rng(seed)
    x = _drawn(rng, precision.activation_bits, (precision.rows, precision.inputs))
    weights = _drawn(rng, precision.weight_bits, (precision.outputs, precision.inputs))
    product = precision.product(module)
    words = layout.code_words(x, precision.activation_bits, module)
    planes = layout.weight_planes(weights, precision.weight_bits, module)
    settings = {**BASES, **{f"{name}_i": int(getattr(product, name)) for name in SETTINGS}}
    job = Job(settings, beats=(product.all_rows * product.groups,), memories=(_words_of(words), _words_of(planes)))
    title = f"engine, W{precision.weight_bits}A{precision.activation_bits}"
    values = 0
    for name, (run,) in zip(streams.PASSES, bench.run([job]), strict=True):
        if run.problems:
            raise MismatchError(f"{title}, {name}: {'; '.join(run.problems)}")
        lanes = streams.unpack(run.beats[0], module.p_dpu, precision.sum_bits, signed=True)
        sums = lanes.reshape(precision.rows, -1)[:, : precision.outputs]  # groups of a row side by side
        golden = x @ weights.T
        if (sums != golden).any():
            row, output = (int(place) for place in np.argwhere(sums != golden)[0])
            raise MismatchError(
                f"{title}, {name}: row {row}, output {output}: RTL {sums[row, output]}, NumPy {golden[row, output]}"
            )
        values += golden.size
        if name == streams.PASSES[0] and run.cycles != product.cycles:
            raise MismatchError(f"{title}: {run.cycles} cycles in simulation, {product.cycles} by the schedule")
    return EngineRun(product.cycles, values)


def _interface(precision: Precision, module: ModuleConfig) -> Interface:
    x_bits, y_bits = module.p_pe * precision.activation_bits, module.p_dpu * module.p_pe
    return Interface(
        settings=(*BASES, *(f"{name}_i" for name in SETTINGS)),
        start="start_i",
        done="done_o",
        sinks=(Stream("sum_valid_o", "sum_ready_i", "sum_data_o", module.p_dpu * precision.sum_bits),),
        reads=(
            ReadPort("x_read_o", "x_address_o", "x_data_i", x_bits),
            ReadPort("y_read_o", "y_address_o", "y_data_i", y_bits),
        ),
    )


def _magnitude(bits: int) -> int:
    """Of the lowest signed number."""
    return 1 << max(0, bits - 1)


def _drawn(rng: np.random.Generator, bits: int, shape: tuple[int, int]) -> IntArray:
    """Signed numbers (rows, columns), in some rows all the lowest one."""
    if bits == 1:
        drawn = rng.choice(np.array([-1, 1], np.int64), shape)
    else:
        drawn = rng.integers(-_magnitude(bits), _magnitude(bits), shape)
    lowest = rng.random(shape[0]) < EXTREMES
    return np.where(lowest[:, None], -_magnitude(bits), drawn)


def _words_of(octets: layout.Words) -> np.ndarray:
    """Words of a memory as the bench takes them, uint32 (words, 32-bit parts)."""
    padded = np.pad(octets, ((0, 0), (0, -octets.shape[1] % 4)))
    return np.ascontiguousarray(padded).view("<u4")
