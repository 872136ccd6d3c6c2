"""BAT's units out of the records: lines through what was synthesised, and how far they are right for whole modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.latency import Shape
from lutra.accelerators.bat.resources import Sizes, UnitFits, Use, assemblies_use, module_use, total_use
from lutra.accelerators.bat.synthesise import WHOLE
from lutra.papers.recorded_designs import recorded
from lutra.papers.records import Records

UNITS, WHOLE_MODULES = "bat-units", "bat-whole-modules"
"""The `design` of the records."""
RESOURCES = {"lut_raw": "LUTs raw", "lut_packed": "LUTs packed", "ff": "flip-flops", "dsp": "DSPs", "bram": "BRAMs"}


def recorded_units(records: Records) -> UnitFits | None:
    """None where no synthesis is recorded."""
    found = recorded(records, UNITS, lambda target: ((target["unit"], target["bits"], target["size"]), target))
    return UnitFits(found.values()) if found else None


@dataclass(frozen=True)
class WholeModule:
    """A SystemVerilog module that was synthesised whole, and what its units come to."""

    name: str
    synthesised: Use
    fitted: Use

    def error(self, resource: str) -> float | None:
        """Of the fitted count, as a share of the synthesised one; None where that is nothing."""
        true = getattr(self.synthesised, resource)
        return float(getattr(self.fitted, resource) / true - 1) if true else None


def whole_modules(records: Records) -> list[WholeModule]:
    """Every module that was synthesised whole, in the order of the record.

    Raises:
        InputError: a record is damaged, or a unit is not recorded.
    """
    fits = recorded_units(records)
    found = recorded(records, WHOLE_MODULES, lambda target: (target["name"], target))
    return [] if fits is None else [_whole(fits, target) for target in found.values()]


def _whole(fits: UnitFits, target: dict[str, Any]) -> WholeModule:
    config, index = BatConfig.from_mapping(target["config"]), target["index"]
    runs = (index == 0, index == len(config.modules) - 1)  # attention, feed-forward
    sizes = config.modules[index], Sizes(shape_of(config), config.sums)
    parts = assemblies_use(fits, *sizes, *runs)
    assembly, kind = target["assembly"], "MHA" if index == 0 else "FFN"
    fitted = total_use(parts[assembly] if assembly != WHOLE else module_use(fits, *sizes, *runs))
    module = config.modules[index]
    lanes = "/".join(str(getattr(module, name)) for name in ("p_dpu", "p_quan", "p_vu", "p_ln"))
    part = f"{assembly} of the {kind} module" if assembly != WHOLE else f"the {kind} module whole"
    name = f"{part}, lanes {lanes}, {config.activation_bits} bits"
    return WholeModule(name, Use(*(target[name] for name in RESOURCES)), fitted)


def shape_of(config: BatConfig) -> Shape:
    """The largest model that a configuration takes."""
    return Shape(
        config.positions,
        config.max_width,
        config.heads,
        config.head_width,
        config.max_intermediate,
        config.halves,
        config.activation_bits,
    )
