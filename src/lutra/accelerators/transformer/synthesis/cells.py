"""A machine in standard cells, as far as it holds no memories: every module alone, with how often it occurs.

The libraries at hand have no memories, so that modules around them are left out: edges and results of the array, and
what joins memories and units. Of the rest, area and slack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lutra.accelerators.transformer.config import TransformerConfig
from lutra.accelerators.transformer.emit import RTL, SYSTOLIC
from lutra.hardware.design import Design, library_files, with_defaults
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.hierarchy import write_sources
from lutra.synth.tools.opensta import time_and_power


@dataclass(frozen=True)
class CellModule:
    """A module of a machine without memories."""

    name: str
    instances: int
    parameters: Mapping[str, int] = field(default_factory=dict)

    @property
    def design(self) -> Design:
        """Its text with these parameters, and all that it instantiates."""
        files = library_files(SYSTOLIC, RTL)
        return Design.complete({f"{self.name}.sv": with_defaults(files[f"{self.name}.sv"], self.parameters)}, files)


def cell_modules(config: TransformerConfig) -> list[CellModule]:
    """Those that a machine consists of beside its memories and its weightless blocks."""
    size, lanes, norm_lanes, rows = config.size, config.lanes, config.norm_lanes, config.rows
    bits, overlap = (size - 1).bit_length(), int(config.overlap)
    walk = {"Size": size, "Groups": config.groups, "Stride": config.row_tiles}
    transformer = {
        "requantise_lane": (lanes, {}),
        "residual": (1, {"Lanes": lanes}),
        "softmax_max": (1, {"Size": size, "Lanes": lanes, "Banks": 1 + overlap, "RowBits": bits + overlap}),
        "norm_sums": (1, {"Lanes": norm_lanes}),
        "norm_variance": (1, {}),
        "root": (1, {}),
        "norm_lane": (norm_lanes, {}),
        "reciprocal": (2, {}),
        "scoreboard" if overlap else "controller": (1, {}),
        "attention": (1, {"Size": size, "Lanes": lanes, "Rows": rows, "Overlap": overlap}),
        "walk": (1, walk),
        "feeder": (3, {"Phases": lanes}),
        "block_rows": (1, {"Size": size, "Rows": rows}),
        "embed": (1, {"Lanes": lanes, "Rows": rows}),
    }
    return [
        CellModule("lutra_systolic_pe", size**2),
        CellModule("lutra_systolic_selector", size, {"Size": size, "RowBits": bits}),
        *(CellModule(f"lutra_transformer_{name}", *counted) for name, counted in transformer.items()),
    ]


def map_module(asic: Asic, folder: Path, module: CellModule) -> dict[str, Any]:
    """Map one of them in `folder`: area, cells, and the slack of its own paths (None without OpenSTA).

    Raises:
        ToolError: a tool failed.
    """
    use, _ = asic.map(folder, write_sources(module.design.files, folder), module.name)
    slack_ns = None if asic.sta is None else time_and_power(asic.sta, folder, module.name, asic.clock_hz).slack_ns
    return {**asdict(use), "slack_ns": slack_ns}
