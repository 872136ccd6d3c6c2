"""What the test benches of all accelerators share: streams as words in a file, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lutra import children
from lutra.errors import ToolError
from lutra.frozen.types import IntArray
from lutra.runs.files import write_text

HERE = Path(__file__).parent
NEVER = 0xFFFFFFFF
HEADERS = ("bench.h", "axi_memory.h")
DEFINES = ("LUTRA_FAST_SIMULATION",)
PASSES = ("without stalls", "with stalls")
STALL_SEED = 1
STALLED_BEATS = 16
"""An end stalls in at least one cycle for so many beats, and in every pass in which it stalls."""


@dataclass(frozen=True)
class Pass:
    """One way through the rows; `source` and `sink` are the styles of `Stalls` in bench.h."""

    name: str
    source: Literal["none", "drawn", "bursts", "slow"] = "none"
    sink: Literal["none", "drawn", "bursts", "slow"] = "none"
    short: bool = False
    """Only a small part of the rows."""

    def stalls(self, end: Literal["source", "sink"]) -> bool:
        """Whether one end stalls in it."""
        return bool(getattr(self, end) != "none")


STALLING_PASSES = (
    Pass("without stalls"),
    Pass("with stalls", "drawn", "drawn"),
    Pass("with stalls at the sink", "none", "drawn", short=True),
    Pass("with stalls at the source", "drawn", "none", short=True),
    Pass("with bursts of stalls", "bursts", "bursts", short=True),
    Pass("with a slow sink", "bursts", "slow", short=True),
    Pass("with a slow source", "slow", "bursts", short=True),
)
"""A handshake that is wrong may hide behind the stalls of the other end, so each end also stalls alone. What is lost
only when everything is full and the source then has nothing needs a slow end and bursts at the other one."""


def too_few_stalls(end: Literal["source", "sink"], cycles: int, beats: Sequence[int]) -> str | None:
    """Why `cycles` in which an end held a beat back prove nothing about its handshake, or None.

    `beats` passed there in each of `STALLING_PASSES`.
    """
    stalling = [count for each, count in zip(STALLING_PASSES, beats, strict=True) if each.stalls(end) and count]
    least = max(len(stalling), sum(stalling) // STALLED_BEATS)
    if cycles >= least:
        return None
    return f"the {end} stalled in {cycles} cycles only, at least {least} prove the handshake"


def write_bench_header(folder: Path) -> None:
    """Put what the test benches share beside one that is about to be compiled."""
    for header in HEADERS:
        write_text(folder / header, (HERE / header).read_text(encoding="utf-8"))


def pack(elements: IntArray, bits: int) -> np.ndarray:
    """(beats, lanes) integers -> (beats, words) uint32, the first lane in the lowest bits."""
    beats = len(elements)
    bit = ((elements[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(beats, -1)  # (beats, lanes * bits)
    padded = np.pad(bit, ((0, 0), (0, words_of_bits(bit.shape[1]) * 32 - bit.shape[1])))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4")


def unpack(words: np.ndarray, lanes: int, bits: int, signed: bool) -> IntArray:
    """(beats, words) uint32 -> (beats, lanes) integers; inverse of `pack`."""
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(len(words), 4 * words.shape[1])
    bit = np.unpackbits(octets, axis=1, count=lanes * bits, bitorder="little").reshape(len(words), lanes, bits)
    weights = np.int64(1) << np.arange(bits)
    if signed:
        weights[-1] = -weights[-1]
    elements: IntArray = bit.astype(np.int64) @ weights
    return elements


def execute(executable: Path, vectors: bytes, extra_arguments: Sequence[str] = (), folder: Path | None = None) -> bytes:
    """What a test bench makes of a file of vectors. It runs in `folder`, where the contents of ROMs are looked for.

    Raises:
        ToolError: it ended with an error.
    """
    executable = executable.resolve()
    given, results = (executable.with_name(name) for name in ("vectors.bin", "results.bin"))
    given.write_bytes(vectors)
    finished = children.run([str(executable), str(given), str(results), *extra_arguments], cwd=folder)
    if finished.returncode:
        raise ToolError(f"test bench: ended with status {finished.returncode}: {finished.stderr.strip() or 'silent'}")
    return results.read_bytes()


class Reader:
    """Reads little-endian words one after the other."""

    def __init__(self, data: bytes) -> None:
        self._words = np.frombuffer(data, "<u4")
        self._next = 0

    def at_end(self) -> bool:
        return self._next >= len(self._words)

    def words(self, count: int) -> np.ndarray:
        taken: np.ndarray = self._words[self._next : self._next + count]
        self._next += count
        return taken

    def word(self) -> int:
        return int(self.words(1)[0])

    def counted(self) -> IntArray:
        return self.words(self.word()).astype(np.int64)


def words_of_bits(bits: int) -> int:
    """Words of 32 bits that hold `bits` bits."""
    return -(-bits // 32)
