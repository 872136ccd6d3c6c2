"""Runs frozen BERTs on BAT in Verilator: sentences beside an external memory with AXI4 ports, one or two at a time."""

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
from lutra.frozen.binary16 import Binary16Array
from lutra.hardware.bench import streams, verilator
from lutra.hardware.bench.streams import NEVER
from lutra.runs.files import write_text

TOP = "bat_testbench"
PATIENCE = 2_000_000
"""Cycles without the end of a step after which a run is given up."""
ERRORS = ("vector unit", "quantisation unit", "layer norm", "memory")


@dataclass(frozen=True)
class BatBench:
    """A compiled accelerator."""

    config: BatConfig
    executable: Path
    rtl: Path
    """Where its ROMs find their contents."""


@dataclass(frozen=True, eq=False)
class ModuleRun:
    """What one module did."""

    cycles: int | None
    """From the start to the end of its last step; None if it did not come to an end."""
    errors: tuple[str, ...]
    """Units in which a number left the range of binary16, or "memory"."""
    starts: np.ndarray
    """Cycles in which its steps started."""
    ends: np.ndarray
    taps: dict[str, np.ndarray]
    """Beats of every tap, uint32 (beats, words)."""


@dataclass(frozen=True, eq=False)
class Run:
    """What sentences did that ran at the same time."""

    modules: list[ModuleRun]
    rows: list[Binary16Array]
    """Of the last layer, (tokens, width) per sentence."""

    @property
    def cycles(self) -> int | None:
        """Until the last module ended."""
        counts = [module.cycles for module in self.modules if module.cycles is not None]
        return max(counts) if len(counts) == len(self.modules) else None


def build(config: BatConfig, folder: Path, waveforms: bool = False) -> BatBench:
    """Write and compile the accelerator and its test bench in `folder`; with `waveforms` one that writes waveforms.

    Raises:
        ToolError: a tool is missing, or refuses the design.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rtl = (folder / "rtl").resolve()
    design = emit.bat_design(config)
    design.write(rtl)
    widths = [tap_bits(config, module, index == 0) for index, module in enumerate(config.modules)]
    write_text(folder / "testbench.sv", _top(config, widths))
    template = Template(filename=str(Path(__file__).parent / "bench.cpp.mako"), strict_undefined=True)
    taps = [{name: chunks(bits, 32) for name, bits in each.items()} for each in widths]
    modules = range(len(config.modules))
    main = folder / "testbench.cpp"
    write_text(main, str(template.render(config=config, taps=taps, modules=modules, waveforms=waveforms)))
    streams.write_bench_header(folder)
    sources = [*(rtl / name for name in design.sources), folder / "testbench.sv"]
    executable = verilator.build(sources, TOP, main, folder, defines=streams.DEFINES, waveforms=waveforms)
    return BatBench(config, executable, rtl)


def tap_bits(config: BatConfig, module: ModuleConfig, attention: bool) -> dict[str, int]:
    """Bits of a beat of every stream inside a module that the bench records; the softmax only where there is one."""
    return {
        "vector": module.p_vu * 16,
        "softmax": module.p_softmax * 16 if attention else 1,
        "norm": module.p_ln * 16,
        "codes": module.p_quan * config.activation_bits,
    }


@dataclass(frozen=True)
class Waveform:
    """A file to write (VCD), and the cycles that it shows."""

    path: Path
    first: int
    last: int


def simulate(
    bench: BatBench,
    image: Image,
    groups: Sequence[Sequence[Binary16Array]],
    stalls: bool = False,
    taps: bool = True,
    waveform: Waveform | None = None,
) -> list[Run]:
    """Run embedded sentences, rows (tokens, width) each, through all layers; those of a group at the same time.

    A waveform needs a bench that was built for it, and a single group.

    Raises:
        InputError: sentences that the accelerator does not take.
        ToolError: the simulation broke off.
    """
    parts = [struct.pack(f"<{2 + len(bench.config.modules)}I", PATIENCE, taps, *image.program_addresses)]
    parts.append(struct.pack("<I", image.bytes_of_memory // 4))
    parts.append(_pieces([(0, image.data)]))
    parts.append(struct.pack("<I", len(groups)))
    for group in groups:
        programs = compiler.compile_sentences(image, [len(rows) for rows in group])
        starts = [(image.row_addresses(index)[0], compiler.rows_to_bytes(rows)) for index, rows in enumerate(group)]
        code = [
            (address, compiler.encode(steps)) for address, steps in zip(image.program_addresses, programs, strict=True)
        ]
        parts += [struct.pack("<I", stalls), _pieces([*code, *starts]), struct.pack("<I", len(group))]
        parts += [struct.pack("<2I", address, len(data) // 4) for address, data in starts]
    arguments = [str(waveform.path.resolve()), str(waveform.first), str(waveform.last)] if waveform else []
    reader = streams.Reader(streams.execute(bench.executable, b"".join(parts), arguments, bench.rtl))
    return [_run(reader, bench, image, group) for group in groups]


def _pieces(pieces: Sequence[tuple[int, bytes]]) -> bytes:
    """Contents of memory as the bench reads them."""
    packed = [
        struct.pack("<2I", address, -(-len(data) // 4)) + data + bytes(-len(data) % 4) for address, data in pieces
    ]
    return struct.pack("<I", len(pieces)) + b"".join(packed)


def _run(reader: streams.Reader, bench: BatBench, image: Image, group: Sequence[Binary16Array]) -> Run:
    modules = [_module_run(reader, bench.config, index) for index in range(len(bench.config.modules))]
    rows = []
    for given in group:
        size = len(given) * compiler.row_bytes(image.model.width)
        data = reader.words(size // 4).astype("<u4").tobytes()
        rows.append(compiler.rows_from_bytes(data, image.model.width))
    return Run(modules, rows)


def _module_run(reader: streams.Reader, config: BatConfig, index: int) -> ModuleRun:
    finished, errors = reader.word(), reader.word()
    starts, ends = reader.counted(), reader.counted()
    widths = tap_bits(config, config.modules[index], index == 0)
    taps = {name: reader.counted().astype(np.uint32).reshape(-1, chunks(bits, 32)) for name, bits in widths.items()}
    found = tuple(unit for index, unit in enumerate(ERRORS) if errors >> index & 1)
    return ModuleRun(None if finished == NEVER else finished + 1, found, starts, ends, taps)


def _top(config: BatConfig, widths: list[dict[str, int]]) -> str:
    """The accelerator, and what it hands over inside."""
    ports = [f"  {port}" for port in emit.top_ports(config)]
    body = []
    for index, taps in enumerate(widths):
        inside = f"u_bat.u_m{index}.u_module"
        signals = {
            "vector": ("u_dequantise.valid_o", "u_dequantise.ready_i", "u_dequantise.data_o"),
            "softmax": tuple(
                f"gen_softmax.u_probabilities.u_softmax.{port}" for port in ("valid_o", "ready_i", "data_o")
            ),
            "norm": tuple(f"u_normalise.u_norm.{port}" for port in ("valid_o", "ready_i", "data_o")),
            "codes": tuple(f"u_encode.u_quantise.{port}" for port in ("valid_o", "ready_i", "codes_o")),
        }
        for port, signal in (("start", "start"), ("end", "step_end")):
            ports.append(f"  output logic m{index}_step_{port}_o")
            body.append(f"  assign m{index}_step_{port}_o = {inside}.{signal};")
        for name, bits in taps.items():
            ports += [f"  output logic m{index}_{name}_o", f"  output logic [{bits - 1}:0] m{index}_{name}_data_o"]
            if name == "softmax" and index:
                body += [f"  assign m{index}_softmax_o = 1'b0;", f"  assign m{index}_softmax_data_o = '0;"]
                continue
            valid, ready, data = signals[name]
            body.append(f"  assign m{index}_{name}_o = {inside}.{valid} && {inside}.{ready};")
            body.append(f"  assign m{index}_{name}_data_o = {inside}.{data};")
    connections = ", ".join(f".{port.name}" for port in emit.top_ports(config))
    return "\n".join(
        [
            f"module {TOP} (",
            ",\n".join(ports),
            ");",
            "",
            f"  {emit.TOP} u_bat ({connections});",
            "",
            *body,
            "",
            "endmodule",
            "",
        ]
    )
