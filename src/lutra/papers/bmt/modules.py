"""BAT's modules, and parts of them, that were synthesised whole, beside what their units come to."""

from __future__ import annotations

from lutra.papers.bmt.units import RESOURCES, WholeModule, whole_modules
from lutra.papers.records import Records
from lutra.papers.table import PaperTable, Row


def bmt_6_modules(records: Records) -> PaperTable:
    """The error of the resource model for each part and resource, and over all of them.

    Raises:
        InputError: a record is damaged, or a unit is not recorded.
    """
    modules = whole_modules(records)
    rows = [row for module in modules for row in _rows(module)]
    for resource, unit in RESOURCES.items():
        if errors := errors_of(modules, resource):
            remark = f"mean of all {len(errors)} without sign: {100 * sum(map(abs, errors)) / len(errors):.1f} %"
            rows.append(Row(f"{unit}, the largest error", "%", None, 100 * max(errors, key=abs), remark))
    notes = (
        "Ours: a module, or a part of one, with all that is in it (memories, buffers, control), one netlist of Yosys "
        "for UltraScale+. Beside it the sum that all other tables and every search go by: units that were synthesised "
        "alone, lines through their sizes, memories and buffers by formula.",
        "By the lanes of the modules, p_dpu/p_quan/p_vu/p_ln, as small as syntheses of minutes must be: "
        "buffers and control weigh more in them than at the paper's lanes.",
    )
    return PaperTable(
        "bmt-6-modules", "BAT's modules and parts of them, synthesised whole, beside their units", tuple(rows), notes
    )


def errors_of(modules: list[WholeModule], resource: str) -> list[float]:
    """Of the modules that have any of a resource."""
    return [error for module in modules if (error := module.error(resource)) is not None]


def in_words(records: Records) -> str:
    """The errors in a sentence; empty where no part is recorded."""
    whole = whole_modules(records)
    found = []
    for resource, unit in RESOURCES.items():
        if errors := errors_of(whole, resource):
            least, most = 100 * min(errors), 100 * max(errors)
            found.append(f"{unit} {least:+.1f} to {most:+.1f} %")
    if not found:
        return ""
    return (
        f"{len(whole)} modules and parts of modules were synthesised with all that is in them; the sums of "
        f"their units are off by {', '.join(found)} (lutra table bmt-6-modules)."
    )


def _rows(module: WholeModule) -> list[Row]:
    rows = []
    for resource, unit in RESOURCES.items():
        if (error := module.error(resource)) is not None:
            fitted, true = (float(getattr(use, resource)) for use in (module.fitted, module.synthesised))
            remark = f"from its units {fitted:,.1f}: {100 * error:+.1f} %"
            rows.append(Row(f"{module.name}, {unit}", "", None, true, remark))
    return rows
