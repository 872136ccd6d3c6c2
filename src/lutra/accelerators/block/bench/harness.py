"""Runs blocks in one Verilator build: a test bench feeds every block from a file and records what comes out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mako.template import Template

from lutra.accelerators.block.plan import BlockPlan
from lutra.frozen.types import IntArray, TensorType
from lutra.hardware.bench import verilator
from lutra.hardware.bench.streams import (
    DEFINES,
    NEVER,
    STALL_SEED,
    STALLING_PASSES,
    Reader,
    execute,
    pack,
    unpack,
    words_of_bits,
    write_bench_header,
)
from lutra.runs.files import write_text
from lutra.sources import listed_sources

HERE = Path(__file__).parent
TOP = "lutra_testbench_top"
SHORT_ROWS = 32
"""Rows of passes that take a part of them."""


@dataclass(frozen=True, eq=False)
class Device:
    """A block under test and the rows that it is fed, (rows, input_width)."""

    plan: BlockPlan
    rows: IntArray


@dataclass(frozen=True, eq=False)
class Recording:
    """What one block did in one pass."""

    output: IntArray
    """The complete rows that came out, (at most rows, output_width)."""
    row_cycles: IntArray
    """Cycle in which the first beat of each input row was accepted."""
    output_cycles: IntArray
    """Cycle in which each output beat was accepted."""
    extra_beats: int
    """Beats after the last row."""
    unstable_cycle: int | None
    """First cycle in which an offered beat was withdrawn or changed before it was taken."""
    source_stalled_cycles: int = 0
    """Cycles in which the source had a beat and held it back."""
    sink_stalled_cycles: int = 0
    """Cycles in which the block offered a beat and the sink did not take it."""


@dataclass(frozen=True)
class Probe:
    """A signal inside the first block, recorded in every cycle in which all `strobes` (also inside) are 1."""

    name: str
    strobes: tuple[str, ...]
    signal: str
    bits: int


@dataclass(frozen=True)
class Bench:
    """A compiled test bench."""

    executable: Path
    devices: tuple[Device, ...]
    probes: tuple[Probe, ...]


def build(devices: list[Device], rtl: Path, folder: Path, probes: tuple[Probe, ...] = ()) -> Bench:
    """Compile the blocks of the design in folder `rtl`; with probes also for waveforms.

    Raises:
        ToolError: a tool is missing, or refuses the design.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plans = [device.plan for device in devices]
    described = {
        "plans": plans,
        "passes": STALLING_PASSES,
        "short_rows": SHORT_ROWS,
        "probes": [(probe.name, probe.strobes, probe.signal, probe.bits) for probe in probes],
        "words_of": words_of_bits,
        "input_words": _input_words,
        "output_words": _output_words,
    }
    for name in ("testbench_top.sv", "testbench.cpp"):
        text = Template(filename=str(HERE / f"{name}.mako"), strict_undefined=True).render(**described)
        write_text(folder / name, str(text))
    write_bench_header(folder)
    files = [*(rtl / name for name in listed_sources(rtl)), folder / "testbench_top.sv"]
    main = folder / "testbench.cpp"
    executable = verilator.build(files, TOP, main, folder, defines=DEFINES, waveforms=bool(probes))
    return Bench(executable, tuple(devices), probes)


def patience(devices: list[Device]) -> int:
    """Cycles without any transfer after which a block is given up; far beyond what stalls can cause."""
    return 1000 + 4 * max(device.plan.schedule.latency_cycles for device in devices)


def run(bench: Bench, patience_cycles: int, seed: int = STALL_SEED) -> list[list[Recording]]:
    """All passes, with stalls drawn from `seed` (32 bits); recordings by pass and device."""
    reader = Reader(execute(bench.executable, _vectors(bench, patience_cycles, seed)))
    return [[_recording(reader, device) for device in bench.devices] for _ in STALLING_PASSES]


def run_with_waveform(
    bench: Bench, patience_cycles: int, pass_index: int, window: tuple[int, int], waveform: Path
) -> dict[str, IntArray]:
    """One pass with a VCD waveform of the cycles of `window` (first, last); the probes' bits, (records, bits)."""
    probed = bench.executable.with_name("probes.bin")
    arguments = [str(probed), str(waveform), str(pass_index), *map(str, window)]
    execute(bench.executable, _vectors(bench, patience_cycles, STALL_SEED), arguments)
    reader = Reader(probed.read_bytes())
    records: dict[str, list[np.ndarray]] = {probe.name: [] for probe in bench.probes}
    while not reader.at_end():
        probe = bench.probes[reader.word()]
        records[probe.name].append(reader.words(words_of_bits(probe.bits)))
    return {
        probe.name: unpack(np.array(records[probe.name]).reshape(-1, words_of_bits(probe.bits)), probe.bits, 1, False)
        for probe in bench.probes
    }


def _vectors(bench: Bench, patience_cycles: int, seed: int) -> bytes:
    rows = (struct.pack("<I", len(device.rows)) + _input_beats(device).tobytes() for device in bench.devices)
    return struct.pack("<2I", patience_cycles, seed) + b"".join(rows)


def _input_beats(device: Device) -> np.ndarray:
    """(rows * beats, words) uint32; padding lanes hold ones, which the block must ignore."""
    s = device.plan.schedule
    padding = s.input_beats * s.input_lanes - device.rows.shape[1]
    padded = np.pad(device.rows, ((0, 0), (0, padding)), constant_values=-1)
    return pack(padded.reshape(-1, s.input_lanes), device.plan.graph.input_type.bits)


def _recording(reader: Reader, device: Device) -> Recording:
    s, type_ = device.plan.schedule, device.plan.graph.output_type
    extra_beats, unstable_cycle, source_stalled, sink_stalled = (reader.word() for _ in range(4))
    row_cycles, output_cycles = reader.counted(), reader.counted()
    words = reader.counted().astype(np.uint32).reshape(-1, _output_words(device.plan))
    rows = len(words) // s.output_beats
    beats = unpack(words[: rows * s.output_beats], s.output_lanes, type_.bits, type_.signed)
    return Recording(
        output=beats.reshape(rows, s.output_beats * s.output_lanes)[:, : device.plan.graph.output_width],
        row_cycles=row_cycles,
        output_cycles=output_cycles,
        extra_beats=extra_beats,
        unstable_cycle=None if unstable_cycle == NEVER else unstable_cycle,
        source_stalled_cycles=source_stalled,
        sink_stalled_cycles=sink_stalled,
    )


def _input_words(plan: BlockPlan) -> int:
    return _stream_words(plan.schedule.input_lanes, plan.graph.input_type)


def _output_words(plan: BlockPlan) -> int:
    return _stream_words(plan.schedule.output_lanes, plan.graph.output_type)


def _stream_words(lanes: int, type_: TensorType) -> int:
    return words_of_bits(lanes * type_.bits)
