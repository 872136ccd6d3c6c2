"""A test bench for modules with valid/ready streams: what leaves, and in which cycles, without and with random stalls.

The module's ports: clk_i, rst_ni; fields_i, settings that change only between cases; per input stream NAME_valid_i,
NAME_ready_o, NAME_data_i; per output stream NAME_valid_o, NAME_ready_i, NAME_data_o; flags_o, up to 32 bits that are
read at the end of a case.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mako.template import Template

from lutra.frozen.types import IntArray
from lutra.hardware.bench import streams, verilator
from lutra.hardware.bench.cycles import HERE, Fields
from lutra.hardware.bench.streams import NEVER, PASSES
from lutra.runs.files import write_text

PATIENCE = 4000
"""Cycles without any transfer after which a case is given up."""
PATIENCE_AFTER = 100
"""Cycles after the last expected beat in which more would be noticed."""


@dataclass(frozen=True, eq=False)
class Case:
    """Settings, beats (beats, lanes) of every input stream, and how many beats of every output stream must come."""

    fields: dict[str, int]
    inputs: dict[str, IntArray]
    expected_beats: dict[str, int]
    reset: bool = False
    """Reset the module before this case."""


@dataclass(frozen=True, eq=False)
class Stream:
    """Lanes of equal width, the first in the lowest bits."""

    lanes: int
    bits: int
    signed: bool = False

    @property
    def words(self) -> int:
        """Words of 32 bits per beat."""
        return -(-self.lanes * self.bits // 32)


@dataclass(frozen=True, eq=False)
class Transfers:
    """What happened in one case of one pass."""

    flags: int
    taken: dict[str, IntArray]
    """Cycles in which beats of the input streams were taken, the first one of the case being 0."""
    left: dict[str, IntArray]
    """Cycles in which expected beats left."""
    data: dict[str, IntArray]
    """The expected beats that left, (beats, lanes)."""
    problems: tuple[str, ...]
    """Too many or too few beats, or beats that changed before they were taken."""


@dataclass(frozen=True)
class TransferBench:
    """A compiled module."""

    executable: Path
    fields: Fields
    inputs: dict[str, Stream]
    outputs: dict[str, Stream]

    def run(self, cases: Sequence[Case]) -> list[list[Transfers]]:
        """Both passes over all cases, one case after the other; by pass and case.

        Raises:
            ToolError: the simulation broke off.
        """
        vectors = struct.pack("<I", len(cases)) + b"".join(self._vectors(case) for case in cases)
        reader = streams.Reader(streams.execute(self.executable, vectors))
        return [[self._transfers(reader, case) for case in cases] for _ in PASSES]

    def _vectors(self, case: Case) -> bytes:
        values = {name: np.array([value], np.uint64).view(np.int64) for name, value in case.fields.items()}
        fields = self.fields.pack(values)
        parts = [struct.pack("<I", case.reset), fields.tobytes()]
        for name, stream in self.inputs.items():
            beats = case.inputs[name].reshape(-1, stream.lanes)
            words = streams.pack(beats, stream.bits) if len(beats) else np.empty((0, stream.words), "<u4")
            parts += [struct.pack("<I", words.size), words.tobytes()]
        return b"".join(parts) + struct.pack(f"<{len(self.outputs)}I", *map(case.expected_beats.get, self.outputs))

    def _transfers(self, reader: streams.Reader, case: Case) -> Transfers:
        flags = reader.word()
        taken = {name: reader.counted() for name in self.inputs}
        left, data, problems = {}, {}, []
        for name, stream in self.outputs.items():
            extra, unstable = reader.word(), reader.word()
            left[name] = reader.counted()
            words = reader.counted().astype(np.uint32).reshape(-1, stream.words)
            data[name] = streams.unpack(words, stream.lanes, stream.bits, stream.signed)
            if extra:
                problems.append(f"{name}: {extra} beats too many")
            if len(words) < case.expected_beats[name]:
                problems.append(f"{name}: {case.expected_beats[name] - len(words)} beats missing")
            if unstable != NEVER:
                problems.append(f"{name}: changed before it was taken in cycle {unstable}")
        for name, stream in self.inputs.items():
            if len(taken[name]) < len(case.inputs[name].reshape(-1, stream.lanes)):
                problems.append(f"{name}: not all beats were taken")
        return Transfers(flags, taken, left, data, tuple(problems))


def build(
    files: list[Path], top: str, fields: Fields, inputs: dict[str, Stream], outputs: dict[str, Stream], folder: Path
) -> TransferBench:
    """Compile the module `top` of `files` with its bench in `folder`.

    Raises:
        ToolError: a tool is missing, or refuses the design.
    """
    folder.mkdir(parents=True, exist_ok=True)
    template = Template(filename=str(HERE / "transfers.cpp.mako"), strict_undefined=True)
    rendered = template.render(
        inputs=inputs,
        outputs=outputs,
        words=lambda stream: stream.words,
        field_words=fields.words,
        patience=PATIENCE,
        patience_after=PATIENCE_AFTER,
    )
    write_text(folder / "testbench.cpp", str(rendered))
    streams.write_bench_header(folder)
    executable = verilator.build(files, top, folder / "testbench.cpp", folder)
    return TransferBench(executable, fields, inputs, outputs)
