"""Runs a transformer machine in Verilator: loads an image, makes calls, and records everything that its units write."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from mako.template import Template

from lutra.accelerators.transformer import emit, latency
from lutra.accelerators.transformer.config import TransformerConfig
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.machine import Call
from lutra.frozen.graph import Graph
from lutra.frozen.types import IntArray
from lutra.hardware.bench import streams, verilator
from lutra.hardware.bench.streams import NEVER, words_of_bits
from lutra.native.library import cache_folder, require_own
from lutra.runs.files import write_text

TOP = "transformer_testbench"
LOAD, CALL, END = 1, 2, 0
PATIENCE = 10_000
"""Beside twice the longest step: cycles without the end of a step or a beat of a stream after which a call ends."""
KINDS = ("logits", "left", "keys", "values", "stream", "scores", "exponentials")
"""What is recorded, by the number that the bench gives it."""
WIDE = {"logits", "stream", "scores"}
"""Those of 16 bits."""


@dataclass(frozen=True)
class TransformerBench:
    """A compiled machine."""

    config: TransformerConfig
    executable: Path


@dataclass(frozen=True)
class Waveform:
    """A file to write (VCD), and the cycles of the last call that it shows."""

    path: Path
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Writes:
    """What one unit wrote during a call, in order: n words."""

    steps: IntArray
    banks: IntArray
    """Bank of a banked memory, part of a wide word, or row of a tile."""
    addresses: IntArray
    data: IntArray
    """(n, lanes), signed."""

    def of_step(self, step: int) -> Writes:
        """Those of one step."""
        chosen = self.steps == step
        return Writes(self.steps[chosen], self.banks[chosen], self.addresses[chosen], self.data[chosen])


@dataclass(frozen=True, eq=False)
class Run:
    """What a call did. Cycles count from the fetch of its first step."""

    cycles: int | None
    """Until the machine was not busy any more; None if it gave up waiting."""
    starts: IntArray
    """Cycles in which steps were fetched, or with overlap taken, the end's too."""
    ends: dict[int, int]
    """The cycle in which each step was done, by its number; not the end's."""
    writes: dict[str, Writes]
    """By `KINDS`."""
    stalled_cycles: tuple[int, int]
    """In which the source and the sink held a beat back."""
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Drive:
    """How a call is driven."""

    stalls: bool = False
    seed: int = 1
    reset_after: int = 0
    """Reset the machine in this cycle of the call and begin it anew; 0: never."""
    taps: bool = True
    """Record what units write, not the logits alone."""


def build(
    config: TransformerConfig,
    folder: Path,
    blocks: Sequence[Graph] = (),
    *,
    waveforms: bool = False,
    cached: bool = False,
) -> TransformerBench:
    """Write and compile a machine, with the weightless blocks of a model, and its test bench in `folder`.

    With `waveforms` it can write waveforms. With `cached` a machine that was compiled before, from the same text and by
    the same Verilator, is taken from the user's cache, and one that was not is put there.

    Raises:
        ToolError: a tool is missing, or refuses the design.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rtl = (folder / "rtl").resolve()
    design = emit.transformer_design(config, blocks)
    design.write(rtl)
    here = Path(__file__).parent
    texts = {}
    for name, target in (("testbench.sv.mako", "testbench.sv"), ("bench.cpp.mako", "testbench.cpp")):
        template = Template(filename=str(here / name), strict_undefined=True)
        settings = {"config": config, "waveforms": waveforms, "words_of": words_of_bits, "top": TOP}
        texts[target] = str(template.render(**settings, machine=emit.TOP))
        write_text(folder / target, texts[target])
    streams.write_bench_header(folder)
    sources = [*(rtl / name for name in design.sources), folder / "testbench.sv"]
    texts |= {name: (folder / name).read_text(encoding="utf-8") for name in streams.HEADERS}
    parts = [design.content_hash, verilator.version(), *verilator.FAST_FLAGS, *texts.values()]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    kept, executable = cache_folder() / f"machine-{key}", folder / "testbench"
    if cached and kept.is_file():
        require_own(kept)
        shutil.copy2(kept, executable)
        return TransformerBench(config, executable)
    main = folder / "testbench.cpp"
    verilator.build(sources, TOP, main, folder, defines=streams.DEFINES, waveforms=waveforms)
    if cached:
        staged = kept.with_name(f".{kept.name}.{os.getpid()}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(executable, staged)
        staged.rename(kept)
    return TransformerBench(config, executable)


def simulate(
    bench: TransformerBench,
    image: Image,
    calls: Sequence[tuple[Call, IntArray]],
    drive: Drive = Drive(),
    waveform: Waveform | None = None,
) -> list[Run]:
    """Load an image and make calls, each with the beats of its input stream (`machine.inputs_of`), one after the other.

    A waveform needs a bench that was built for it.

    Raises:
        ToolError: the simulation broke off.
    """
    parts = [load_commands(image)]
    for index, (call, inputs) in enumerate(calls):
        if drive.reset_after:
            parts.append(call_command(image, call, inputs, Drive(drive.stalls, index, drive.reset_after)))
        parts.append(call_command(image, call, inputs, Drive(drive.stalls, drive.seed + index, 0, drive.taps)))
    parts.append(struct.pack("<I", END))
    arguments = [str(waveform.path.resolve()), str(waveform.first), str(waveform.last)] if waveform else []
    reader = streams.Reader(streams.execute(bench.executable, b"".join(parts), arguments))
    return [read_run(reader, bench.config) for _ in calls]


def load_commands(image: Image) -> bytes:
    """All that fills the memories of a machine."""
    parts = []
    for number, (name, bits) in enumerate(image.config.word_bits.items()):
        words = words_of_bits(bits)
        if name == "program":
            data = b"".join(step.word().to_bytes(4 * words, "little") for step in image.steps)
            count = len(image.steps)
        else:
            contents = image.memories[name]
            count, data = (
                len(contents),
                streams.pack(contents, bits // contents.shape[1]).tobytes() if len(contents) else b"",
            )
        parts.append(struct.pack("<5I", LOAD, number, 0, count, words) + data)
    return b"".join(parts)


def call_command(image: Image, call: Call, inputs: IntArray, drive: Drive) -> bytes:
    """A call with the beats of its input stream, (rows, values)."""
    config = image.config
    lanes, bits = (config.lanes, 8) if config.pixels else (1, 16)
    padded = np.pad(inputs, ((0, 0), (0, -inputs.shape[1] % lanes))).reshape(-1, lanes)
    packed = streams.pack(padded, bits)
    beats = np.pad(packed, ((0, 0), (0, words_of_bits(config.input_bits) - packed.shape[1]))).astype("<u4")
    patience = PATIENCE + 2 * max(time.cycles for time in latency.step_times(image, call))
    settings = (call.rows, call.past, drive.stalls, drive.seed, drive.reset_after, drive.taps, patience)
    return struct.pack("<9I", CALL, *settings, beats.size) + beats.tobytes()


class Words(Protocol):
    """What a bench wrote: a file, or a pipe that it goes on to write."""

    def word(self) -> int: ...

    def counted(self) -> IntArray: ...


def read_run(reader: Words, config: TransformerConfig) -> Run:
    """What the bench wrote about a call."""
    finished, unstable, *stalled = (reader.word() for _ in range(4))
    starts, ends, records = reader.counted(), reader.counted(), reader.counted().astype(np.uint32)
    problems = []
    if finished == NEVER:
        problems.append("the machine did not come to an end")
    if unstable != NEVER:
        problems.append(f"the output changed before it was taken in cycle {unstable}")
    return Run(
        None if finished == NEVER else finished,
        starts,
        {int(step): int(cycle) for step, cycle in ends.reshape(-1, 2)},
        _writes(records, config),
        (stalled[0], stalled[1]),
        tuple(problems),
    )


def _writes(records: np.ndarray, config: TransformerConfig) -> dict[str, Writes]:
    """Records of all kinds one after the other -> by kind; their lengths differ."""
    byte_words, wide_words = (words_of_bits(bits * config.lanes) for bits in (8, 16))
    lengths = [2 + (wide_words if kind in WIDE else byte_words) for kind in KINDS]
    places: list[list[int]] = [[] for _ in KINDS]
    place = 0
    while place < len(records):
        number = int(records[place]) & 0xFF
        places[number].append(place)
        place += lengths[number]
    found = {}
    for kind, begins, length in zip(KINDS, places, lengths, strict=True):
        rows = records[np.array(begins, np.int64)[:, None] + np.arange(length)]  # (n, length)
        data = np.zeros((0, config.lanes), np.int64)
        if begins:
            data = streams.unpack(rows[:, 2:], config.lanes, 16 if kind in WIDE else 8, signed=True)
        head = rows[:, :2].astype(np.int64)
        found[kind] = Writes(head[:, 0] >> 8, head[:, 1] >> 24, head[:, 1] & 0xFFFFFF, data)
    return found
