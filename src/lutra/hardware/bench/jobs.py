"""A test bench for modules with streams and memories: gives them jobs, without stalls and again with random ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mako.template import Template

from lutra.errors import ToolError
from lutra.frozen.types import IntArray
from lutra.hardware.bench import streams, verilator
from lutra.hardware.bench.streams import words_of_bits
from lutra.runs.files import write_text

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Stream:
    """Names of a stream's ports, and bits of its data."""

    valid: str
    ready: str
    data: str
    bits: int


@dataclass(frozen=True)
class ReadPort:
    """Ports at which a module reads a memory of the bench, which answers in the cycle after and then stays."""

    read: str
    address: str
    data: str
    bits: int


@dataclass(frozen=True)
class WritePort:
    """Ports at which a module writes; a write is recorded in every cycle in which `write` is not 0."""

    write: str
    write_bits: int
    address: str
    data: str
    bits: int


@dataclass(frozen=True)
class AxiPort:
    """AXI4 into the memory of a job, one direction: ports such as `{prefix}arvalid_o` (reads), `{prefix}awvalid_o`."""

    prefix: str
    writes: bool
    beat_bytes: int = 16


@dataclass(frozen=True)
class Interface:
    """Ports of a module beside clk_i and rst_ni."""

    settings: tuple[str, ...] = ()
    """Inputs of up to 32 bits that are constant during a job."""
    start: str | None = None
    """An input that is 1 in the first cycle of a job; sources offer beats from the next one on."""
    done: str | None = None
    """An output that must be 1 in one cycle of a job, which is not over before."""
    sources: tuple[Stream, ...] = ()
    sinks: tuple[Stream, ...] = ()
    reads: tuple[ReadPort, ...] = ()
    writes: tuple[WritePort, ...] = ()
    axi: tuple[AxiPort, ...] = ()


@dataclass(frozen=True, eq=False)
class Job:
    """What a module is given: beats are arrays (beats, words) of 32-bit words, lowest first; see `streams.pack`."""

    settings: Mapping[str, int] = field(default_factory=dict)
    sources: Sequence[np.ndarray] = ()
    beats: Sequence[int] = ()
    """Beats that each sink expects."""
    memories: Sequence[np.ndarray] = ()
    """What lies behind each read port, (addresses, words)."""
    axi_memory: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint32))
    """Words of the memory behind all AXI ports, from address 0 on."""
    axi_latency: int = 1
    axi_gap: int = 1
    """See axi_memory.h."""


@dataclass(frozen=True, eq=False)
class Writes:
    """What a port wrote: n writes."""

    enables: np.ndarray
    """32-bit words (n, words), lowest first."""
    addresses: IntArray
    data: np.ndarray
    """(n, words)."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a module did with a job in one pass. Cycles count from the one with `start`, or the first of the job."""

    cycles: int
    """Until the job was over: done, or the last beat taken."""
    problems: tuple[str, ...]
    """What no module may do: too few or too many beats, an unstable beat."""
    taken: tuple[IntArray, ...]
    """Cycles in which the beats of each source were taken."""
    beats: tuple[np.ndarray, ...]
    """What came out of each sink, (beats, words)."""
    given: tuple[IntArray, ...]
    """Cycles in which each sink took them."""
    writes: tuple[Writes, ...]
    """Per write port, in order."""
    axi_memory: np.ndarray
    """What the memory behind the AXI ports held afterwards."""
    most_bursts: tuple[int, ...]
    """Per AXI port, how many bursts were under way at the same time."""


@dataclass(frozen=True)
class JobBench:
    """A compiled module that waits for jobs."""

    executable: Path
    interface: Interface

    def run(self, jobs: Sequence[Job], patience_cycles: int = 10_000) -> list[list[Run]]:
        """Every job in both passes (without stalls, with stalls), one after the other without a reset in between.

        Before each pass the module is reset. `patience_cycles` without a beat end a job.

        Raises:
            ToolError: the simulation broke off.
        """
        vectors = struct.pack("<II", len(jobs), patience_cycles) + b"".join(self._vectors(job) for job in jobs)
        reader = streams.Reader(streams.execute(self.executable, vectors))
        return [[self._run(reader, job) for job in jobs] for _ in streams.PASSES]

    def _vectors(self, job: Job) -> bytes:
        ports = self.interface
        parts = [struct.pack("<I", job.settings[name] & 0xFFFFFFFF) for name in ports.settings]
        filled = [(port.data, port.bits, words) for port, words in zip(ports.sources, job.sources, strict=True)]
        filled += [(port.data, port.bits, words) for port, words in zip(ports.reads, job.memories, strict=True)]
        for name, bits, words in filled:
            if words.ndim != 2 or words.shape[1] != words_of_bits(bits):
                raise ToolError(f"test bench: {name} takes {words_of_bits(bits)} words, got {words.shape}")
            parts.append(struct.pack("<I", words.size) + np.ascontiguousarray(words, "<u4").tobytes())
        parts += [struct.pack("<I", count) for _, count in zip(ports.sinks, job.beats, strict=True)]
        if ports.axi:
            parts.append(struct.pack("<III", job.axi_latency, job.axi_gap, job.axi_memory.size))
            parts.append(np.ascontiguousarray(job.axi_memory, "<u4").tobytes())
        return b"".join(parts)

    def _run(self, reader: streams.Reader, job: Job) -> Run:
        ports = self.interface
        cycles, late, dones = reader.word(), reader.word(), reader.word()
        problems = ["gave up waiting"] if late else []
        if ports.done and dones != 1:
            problems.append(f"{ports.done} was 1 in {dones} cycles")
        taken = tuple(reader.counted() for _ in ports.sources)
        beats, given = [], []
        for port, expected in zip(ports.sinks, job.beats, strict=True):
            unstable = reader.word()
            if unstable != streams.NEVER:
                problems.append(f"{port.data} changed before it was taken in cycle {unstable}")
            given.append(reader.counted())
            beats.append(reader.counted().astype(np.uint32).reshape(-1, words_of_bits(port.bits)))
            if len(beats[-1]) != expected:
                problems.append(f"{port.data}: {len(beats[-1])} beats instead of {expected}")
        writes = []
        for written in ports.writes:
            enable_words, data_words = words_of_bits(written.write_bits), words_of_bits(written.bits)
            rows = reader.counted().reshape(-1, enable_words + 1 + data_words)
            rows, addresses = rows.astype(np.uint32), rows[:, enable_words]
            writes.append(Writes(rows[:, :enable_words], addresses, rows[:, enable_words + 1 :]))
        memory, most = np.zeros(0, np.uint32), []
        for axi in ports.axi:
            found = bytes(reader.counted().astype(np.uint8)).decode()
            problems += [f"{axi.prefix}AXI4: {found}"] if found else []
            most.append(reader.word())
        if ports.axi:
            memory = reader.counted().astype(np.uint32)
        return Run(cycles, tuple(problems), taken, tuple(beats), tuple(given), tuple(writes), memory, tuple(most))


def build(
    files: list[Path], top: str, interface: Interface, folder: Path, defines: tuple[str, ...] = streams.DEFINES
) -> JobBench:
    """Compile the module `top` of `files` with its bench in `folder`.

    Raises:
        ToolError: a tool is missing, or refuses the design.
    """
    folder.mkdir(parents=True, exist_ok=True)
    template = Template(filename=str(HERE / "jobs.cpp.mako"), strict_undefined=True)
    write_text(folder / "testbench.cpp", str(template.render(ports=interface, words_of=words_of_bits)))
    streams.write_bench_header(folder)
    return JobBench(verilator.build(files, top, folder / "testbench.cpp", folder, defines=defines), interface)
