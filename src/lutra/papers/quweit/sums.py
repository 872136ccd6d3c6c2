"""What graphs of adders save in whole trained blocks of few-bit encoded values, as rows of QuWeiT's Table 3."""

from __future__ import annotations

from typing import Any

from lutra.papers.recorded_designs import recorded
from lutra.papers.records import Records
from lutra.papers.table import Row

RECORDED_SUMS = "summed-blocks"
"""The `design` of the record, which `experiments.summed_blocks` writes."""


def summed_rows(records: Records) -> list[Row]:
    """LUTs per output of every recorded block, all sums in one cycle: by trees, and as chosen for each group.

    Raises:
        InputError: a record is damaged.
    """
    targets = recorded(records, RECORDED_SUMS, lambda target: (_name(target), {"rows": _rows(target)}))
    return [row for values in targets.values() for row in values["rows"]]


def _name(target: dict[str, Any]) -> str:
    return f"block of {target['recipe']}, {target['encoded_bits']}-bit values"


def _rows(target: dict[str, Any]) -> list[Row]:
    rows = []
    for design in target["designs"]:
        use, sums = design["use"], design["sums"]
        graphs = sum(each["dataflow"] == "graph" for each in sums)
        way = f"graphs for {graphs} of {len(sums)} groups" if sums else "trees"
        remark = (
            f"{target['outputs']} outputs, F = all: {use['lut_packed']:,} packed, {use['lut_raw']:,} raw, "
            f"{use['ff']:,} FF, latency {design['latency_cycles']} cycles; proved; {target['tool']}"
        )
        rows.append(Row(f"{_name(target)}, {way}", "LUT/output", None, design["lut_packed_per_output"], remark))
    return rows
