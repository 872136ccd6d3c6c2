"""The syntheses behind BAT's resources: every unit alone, at the sizes from which others follow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lutra.accelerators.bat.synthesise import (
    WHOLE,
    UnitPoint,
    WholePoint,
    synthesise_unit,
    unit_design,
    unit_points,
    unit_script,
    whole_points,
)
from lutra.papers.bmt.units import UNITS, WHOLE_MODULES
from lutra.papers.experiments.run import Piece, identity_of, needed_yosys
from lutra.synth.tools.find import Tool

RECORD = "bat_units"
WHOLE_RECORD = "bat_whole_modules"
SECONDS, PART_SECONDS, MODULE_SECONDS = 15.0, 40.0, 200.0
"""Of one unit, of a part of a module, and of a whole module, about."""


def bat_pieces() -> list[Piece]:
    """The units of BAT, one piece each, and whole modules to compare their sums with.

    Raises:
        ToolError: Yosys is missing.
    """
    yosys = needed_yosys()
    return [_piece(yosys, point) for point in unit_points()] + [_whole(yosys, point) for point in whole_points()]


def target_of(point: UnitPoint, use: dict[str, Any], yosys: Tool) -> dict[str, Any]:
    """What a record says of a unit."""
    described = {"unit": point.unit, "module": point.module, "size": point.size, "bits": point.bits}
    return {**described, "parameters": dict(point.parameters), **use, "tool": yosys.name}


def _piece(yosys: Tool, point: UnitPoint) -> Piece:
    def build(folder: Path) -> dict[str, Any]:
        return target_of(point, asdict(synthesise_unit(yosys, point, folder / "work")), yosys)

    head = {
        "design": UNITS,
        "target": "xcup",
        "method": "every unit alone, with DSP, BRAM and memories in LUTs; other sizes lie on the line through two",
    }
    return Piece(point.name, RECORD, head, identity_of(unit_design(point), unit_script(point), yosys), SECONDS, build)


def _whole(yosys: Tool, point: WholePoint) -> Piece:
    def build(folder: Path) -> dict[str, Any]:
        described = {
            "name": point.name,
            "assembly": point.assembly,
            "config": point.config.to_mapping(),
            "index": point.index,
            "parameters": dict(point.parameters),
        }
        return {**described, **asdict(synthesise_unit(yosys, point, folder / "work")), "tool": yosys.name}

    head = {
        "design": WHOLE_MODULES,
        "target": "xcup",
        "method": "a module, or a part of one, with all that is in it, in one netlist",
    }
    identity = identity_of(unit_design(point), unit_script(point), yosys)
    seconds = MODULE_SECONDS if point.assembly == WHOLE else PART_SECONDS
    return Piece(point.name, WHOLE_RECORD, head, identity, seconds, build)
