"""The syntheses behind BAT's resources: every unit alone, at the sizes from which others follow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lutra.accelerators.bat.synthesise import UnitPoint, synthesise_unit, unit_design, unit_points, unit_script
from lutra.papers.experiments.run import Piece, identity_of, needed_yosys
from lutra.synth.tools.find import Tool

RECORD = "bat_units"
DESIGN = "bat-units"
"""The `design` of the record."""
SECONDS = 15.0
"""Of one unit, about."""


def bat_pieces() -> list[Piece]:
    """The units of BAT, one piece each.

    Raises:
        ToolError: Yosys is missing.
    """
    yosys = needed_yosys()
    return [_piece(yosys, point) for point in unit_points()]


def target_of(point: UnitPoint, use: dict[str, Any], yosys: Tool) -> dict[str, Any]:
    """What a record says of a unit."""
    described = {"unit": point.unit, "module": point.module, "size": point.size, "bits": point.bits}
    return {**described, "parameters": dict(point.parameters), **use, "tool": yosys.name}


def _piece(yosys: Tool, point: UnitPoint) -> Piece:
    def build(folder: Path) -> dict[str, Any]:
        return target_of(point, asdict(synthesise_unit(yosys, point, folder / "work")), yosys)

    head = {
        "design": DESIGN,
        "target": "xcup",
        "method": "every unit alone, with DSP, BRAM and memories in LUTs; other sizes lie on the line through two",
    }
    return Piece(point.name, RECORD, head, identity_of(unit_design(point), unit_script(point), yosys), SECONDS, build)
