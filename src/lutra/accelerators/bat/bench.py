"""Runs frozen BERTs on BAT in Verilator and compares every value of every layer with golden, and every cycle."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mako.template import Template

from lutra.accelerators.bat import compiler, emit
from lutra.accelerators.bat.compiler import Image
from lutra.accelerators.bat.config import BatConfig, ModuleConfig
from lutra.accelerators.bat.layout import chunks
from lutra.frozen.binary16 import HalfArray
from lutra.hardware.bench import streams, verilator
from lutra.hardware.bench.streams import NEVER
from lutra.runs.files import write_text

TOP = "bat_testbench"
PATIENCE = 100_000
ERRORS = ("vector unit", "quantisation unit", "layer norm")
TAPS = ("sums", "vector", "softmax", "norm", "codes")
"""Streams inside the module that the bench records."""


@dataclass(frozen=True)
class BatBench:
    """A compiled accelerator."""

    config: BatConfig
    executable: Path
    rtl: Path
    """Where its ROMs find their contents."""


@dataclass(frozen=True, eq=False)
class Run:
    """What one sentence did."""

    cycles: int | None
    """From the start to the end of the last step; None if it did not end."""
    errors: tuple[str, ...]
    """Units in which a number left the range of binary16."""
    starts: np.ndarray
    """Cycles in which steps started."""
    ends: np.ndarray
    taps: dict[str, np.ndarray]
    """Beats of every tap, uint32 (beats, words)."""
    rows: HalfArray
    """Of the last layer, (tokens, width)."""


def build(config: BatConfig, folder: Path) -> BatBench:
    """Write and compile the accelerator and its test bench in `folder`.

    Raises:
        ToolError: a tool is missing, or refuses the design.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rtl = (folder / "rtl").resolve()
    design = emit.bat_design(config)
    design.write(rtl)
    widths = tap_bits(config, config.attention)
    write_text(folder / "testbench.sv", _top(widths))
    template = Template(filename=str(Path(__file__).parent / "bench.cpp.mako"), strict_undefined=True)
    taps = {name: chunks(bits, 32) for name, bits in widths.items()}
    write_text(folder / "testbench.cpp", str(template.render(config=config, taps=taps)))
    streams.write_bench_header(folder)
    sources = [*(rtl / name for name in design.sources), folder / "testbench.sv"]
    return BatBench(config, verilator.build(sources, TOP, folder / "testbench.cpp", folder), rtl)


def tap_bits(config: BatConfig, module: ModuleConfig) -> dict[str, int]:
    """Bits of a beat of every tap."""
    return {
        "sums": module.p_dpu * config.sum_bits,
        "vector": module.p_vu * 16,
        "softmax": module.p_softmax * 16,
        "norm": module.p_ln * 16,
        "codes": module.p_quan * config.activation_bits,
    }


def simulate(
    bench: BatBench, image: Image, sentences: Sequence[HalfArray], stalls: bool = False, taps: bool = True
) -> list[Run]:
    """Run embedded sentences, rows (tokens, width) each, through all layers.

    Raises:
        InputError: a sentence that the accelerator does not take.
        ToolError: the simulation broke off.
    """
    first, second = image.row_addresses
    size = second + (second - first)
    data = image.data + bytes(-len(image.data) % 4)
    parts = [struct.pack("<6I", image.program_address, first, PATIENCE, taps, size // 4, len(data) // 4), data]
    parts.append(struct.pack("<I", len(sentences)))
    for rows in sentences:
        program = compiler.encode(compiler.compile_sentence(image, len(rows)))
        given = compiler.rows_to_bytes(rows)
        parts.append(struct.pack("<2I", stalls, len(program) // 4) + program)
        parts.append(struct.pack("<I", len(given) // 4) + given)
        parts.append(struct.pack("<2I", first, len(given) // 4))
    reader = streams.Reader(streams.execute(bench.executable, b"".join(parts), folder=bench.rtl))
    return [_run(reader, bench, image, len(rows)) for rows in sentences]


def _run(reader: streams.Reader, bench: BatBench, image: Image, tokens: int) -> Run:
    finished, errors = reader.word(), reader.word()
    starts, ends = reader.counted(), reader.counted()
    widths = tap_bits(bench.config, bench.config.attention)
    taps = {name: reader.counted().astype(np.uint32).reshape(-1, chunks(bits, 32)) for name, bits in widths.items()}
    size = tokens * compiler.row_bytes(image.model.width)
    rows = compiler.rows_from_bytes(reader.words(size // 4).astype("<u4").tobytes(), image.model.width)
    found = tuple(unit for index, unit in enumerate(ERRORS) if errors >> index & 1)
    return Run(None if finished == NEVER else finished + 1, found, starts, ends, taps, rows)


def _top(widths: dict[str, int]) -> str:
    """The accelerator, and what it hands over inside."""
    source = emit.module_ports()
    signals = {
        "sums": ("sums_valid && u_bat.u_module.sums_ready", "sums"),
        "vector": ("vector_valid && u_bat.u_module.vector_ready", "vector_data"),
        "softmax": (
            "gen_softmax.softmax_valid && u_bat.u_module.gen_softmax.softmax_ready",
            "gen_softmax.softmax_data",
        ),
        "norm": ("u_norm.valid_o && u_bat.u_module.u_norm.ready_i", "norm_data"),
        "codes": ("codes_valid && u_bat.u_module.codes_ready", "codes"),
    }
    ports = [source, "  output logic step_start_o", "  output logic step_done_o"]
    body = ["  assign step_start_o = u_bat.u_module.start;", "  assign step_done_o = u_bat.u_module.step_done;"]
    for name, bits in widths.items():
        happens, data = signals[name]
        ports += [f"  output logic {name}_o", f"  output logic [{bits - 1}:0] {name}_data_o"]
        body.append(f"  assign {name}_o = u_bat.u_module.{happens};")
        body.append(f"  assign {name}_data_o = u_bat.u_module.{data};")
    connections = ", ".join(f".{name}" for name in emit.port_names())
    return (
        f"module {TOP} (\n"
        + ",\n".join(ports)
        + f"\n);\n\n  {emit.TOP} u_bat ({connections});\n\n"
        + "\n".join(body)
        + "\n\nendmodule\n"
    )
