"""A run's weightless blocks as a bitstream for a board, made with open tools and compared with what was trained."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lutra.accelerators.block.package import (
    ROWS,
    blocks_package,
    chosen_graphs,
    default_fold,
    golden_rows,
    row_core,
)
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.bitstream import prove_bitstream
from lutra.accelerators.block.schedule import FoldFactor
from lutra.accelerators.block.simulate import captured_rows
from lutra.errors import InputError, ToolError
from lutra.frozen import store
from lutra.hardware.axi.board import bit_cycles, board_files, board_readme
from lutra.hardware.axi.core import RowCore
from lutra.hardware.axi.package import Package, core_name
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.runs.schemas.bitstream import Bitstream
from lutra.sources import require_harmless
from lutra.synth.tools.ecp5 import (
    BOARDS,
    Board,
    Routed,
    Tools,
    find_tools,
    lpf,
    lut_contents,
    pack_and_unpack,
    placed_design,
    route,
    synthesise,
    write_pll,
)

FIRST_CLOCK_HZ = 100e6
"""That is tried if the user names none."""
CLOCK_STEP_HZ = 5e6
ATTEMPTS = 3
BUS_BITS = 8
"""A serial line moves bytes."""
BITSTREAM = "bitstream.json"
PORTS = {"clock": "clk_i", "receive": "serial_i", "send": "serial_o", "led": "led_o"}

logger = logging.getLogger("lutra")


def bitstream_run(
    files: RunFiles,
    recipe: Recipe,
    board_name: str,
    out: Path | None = None,
    device: str | None = None,
    fold_factor: FoldFactor | None = None,
    blocks: Sequence[int] | None = None,
    clock_hz: float | None = None,
    baud: int | None = None,
) -> dict[str, Any]:
    """Write a bitstream of a run's blocks with driver, vectors and report into the folder `out`; what it is.

    Without `clock_hz`, a multiple of 5 MHz up to 100 MHz that place and route meets is looked for, in few attempts.
    What the tools leave lies in `bitstream/BOARD_build` of the run.

    Raises:
        FrozenModelError: the frozen model is missing, damaged, or not made of weightless blocks.
        InputError: no such board, device, block or fold factor; a clock that the PLL does not make.
        MismatchError: the bitstream does not hold the trained tables.
        ToolError: a tool is missing or failed, the design does not fit, or the clock is not met.
    """
    if board_name not in BOARDS:
        raise InputError(f"--board {board_name}: unknown; the boards are {', '.join(BOARDS)}")
    board = BOARDS[board_name]
    if device is not None and device not in board.devices:
        raise InputError(f"--device {device}: the {board.name} comes with {' or '.join(board.devices)}")
    board = replace(board, baud=baud or board.baud)
    device = device or board.devices[0]
    tools = find_tools()
    start = time.perf_counter()
    fold, name = fold_factor or default_fold(recipe), core_name(None, recipe.name)
    model = store.load(files.frozen)
    graphs = chosen_graphs(model.graphs, blocks, files)
    core = row_core(graphs, name, fold, recipe.hardware.dataflow, (BUS_BITS, BUS_BITS))
    rows = captured_rows(files, model, ROWS)
    vectors = [golden_rows(index, graph, rows[graph.name]) for index, graph in enumerate(graphs)]
    frozen_hash = store.content_hash(files.frozen)
    package = blocks_package(core, vectors, frozen_hash, recipe.hardware.dataflow, fold)
    folder = files.root / "bitstream" / f"{board.name}_build"
    top = f"{core.name}_board"
    netlist, routed = _meet_clock(tools, folder, core, package, board, device, clock_hz)
    unpacked = pack_and_unpack(tools, folder, top)
    plans = [
        BlockPlan(graph, member.module, fold, recipe.hardware.dataflow)
        for graph, member in zip(graphs, core.members, strict=True)
    ]
    paths = [f"u_axi.u_blocks.u_block_{number}" for number in range(len(plans))]
    placed = placed_design(folder)
    proof = prove_bitstream(plans, paths, netlist, placed, lut_contents(unpacked))
    logger.info("%s: %d tables in the bitstream are the trained ones", board.name, proof.tables)
    result = {
        "name": core.name,
        "board": board.name,
        "device": device,
        "build_hash": package.build_hash,
        "frozen_hash": frozen_hash,
        "dataflow": recipe.hardware.dataflow,
        "fold_factor": fold,
        "blocks": [member.title for member in core.members],
        "clock_hz": routed.clock_hz,
        "fmax_hz": routed.fmax_hz,
        "baud": board.baud,
        "used": routed.used,
        "proof": asdict(proof),
        "tools": [each.name for each in (tools.yosys, tools.nextpnr, tools.ecppack, tools.ecpunpack)],
        "seconds": round(time.perf_counter() - start, 1),
    }
    Bitstream.model_validate(result)
    kept = {name: content for name, content in package.files.items() if name.startswith(("driver/python/", "vectors/"))}
    content = {
        f"{core.name}.bit": (folder / f"{top}.bit").read_bytes(),
        **kept,
        "README.md": board_readme(core, result, board.title, package.build_hash).encode(),
        "LICENSE": package.files["LICENSE"],
        BITSTREAM: (json.dumps({"format_version": 1, **result}, indent=1) + "\n").encode(),
    }
    out = out or files.root / "bitstream" / board.name
    Package(content, package.build_hash, BITSTREAM).write(out)
    return {"out": str(out), **result}


def _meet_clock(
    tools: Tools, folder: Path, core: RowCore, package: Package, board: Board, device: str, asked_hz: float | None
) -> tuple[dict[str, Any], Routed]:
    """Synthesise, place and route at a clock that is met; the netlist, and what was reached."""
    clock_hz = asked_hz or FIRST_CLOCK_HZ
    for attempt in range(ATTEMPTS):
        netlist, routed = _attempt(tools, folder, core, package, board, device, clock_hz)
        logger.info("%s at %g MHz: reaches %.1f MHz", board.name, clock_hz / 1e6, routed.fmax_hz / 1e6)
        if routed.met:
            return netlist, routed
        if asked_hz is not None:
            break
        clock_hz = routed.fmax_hz // CLOCK_STEP_HZ * CLOCK_STEP_HZ - attempt * CLOCK_STEP_HZ
    raise ToolError(
        f"{board.name}: {routed.clock_hz / 1e6:g} MHz is not met, {routed.fmax_hz / 1e6:.1f} MHz is reached; "
        "ask for a slower clock with --mhz"
    )


def _attempt(
    tools: Tools, folder: Path, core: RowCore, package: Package, board: Board, device: str, clock_hz: float
) -> tuple[dict[str, Any], Routed]:
    top = f"{core.name}_board"
    folder.mkdir(parents=True, exist_ok=True)
    pll = clock_hz != board.clock_hz
    cycles = bit_cycles(clock_hz, board.baud)
    sources = board_files(core, package, clock_hz, pll, cycles, board.led_low)
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    require_harmless(folder / name for name in sources)
    (folder / f"{top}.lpf").write_text(lpf(board, PORTS), encoding="utf-8")
    names = list(sources)
    if pll:
        write_pll(tools, folder, f"{core.name}_pll", board.clock_hz, clock_hz)
        names.insert(0, f"{core.name}_pll.v")
    netlist = synthesise(tools, folder, names, top, "layer_*")
    return netlist, route(tools, folder, top, board, device, clock_hz)
