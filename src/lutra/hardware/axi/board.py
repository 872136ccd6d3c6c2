"""A core behind a serial line, as the top of a bitstream: its sources and the page that comes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutra.errors import InputError
from lutra.hardware.axi.core import RowCore
from lutra.hardware.axi.package import Package, render
from lutra.hardware.axi.registers import row_registers
from lutra.hardware.design import Design, library_files

LARGEST_BAUD_ERROR = 0.02
"""Share of a bit by which the serial line may be off; receivers take twice that."""
FEWEST_BIT_CYCLES = 4


def bit_cycles(clock_hz: float, baud: int) -> int:
    """Cycles of a bit of the serial line.

    Raises:
        InputError: no number of cycles is near enough.
    """
    cycles = round(clock_hz / baud)
    if cycles < FEWEST_BIT_CYCLES or abs(clock_hz / cycles / baud - 1) > LARGEST_BAUD_ERROR:
        raise InputError(f"--baud {baud}: a clock of {clock_hz / 1e6:g} MHz cannot be divided to it; take another")
    return cycles


def board_files(
    core: RowCore, package: Package, clock_hz: float, pll: bool, cycles: int, led_low: bool
) -> dict[str, str]:
    """The sources of the top module CORE_board, in order; with `pll` it needs a module CORE_pll, too."""
    registers = row_registers(package.build_hash, len(core.members))
    text = render(
        "board.sv",
        core,
        registers,
        build_hash=package.build_hash,
        clock_hz=clock_hz,
        pll=pll,
        bit_cycles=cycles,
        led_low=led_low,
    )
    inner = {
        name.removeprefix("rtl/"): content.decode()
        for name, content in package.files.items()
        if name.startswith("rtl/") and name.endswith(".sv")
    }
    design = Design.complete({**inner, f"{core.name}_board.sv": text}, library_files())
    return {name: design.files[name] for name in design.sources}


def board_readme(core: RowCore, result: Mapping[str, Any], board_title: str, build_hash: str) -> str:
    """The page beside a bitstream."""
    registers = row_registers(build_hash, len(core.members))
    return render("board.md", core, registers, result=result, board_title=board_title)
