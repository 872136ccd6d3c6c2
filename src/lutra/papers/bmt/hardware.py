"""BMT's tables of hardware (5 and 6) rebuilt, with a word where the paper is inconsistent."""

from __future__ import annotations

from typing import Any

from lutra.accelerators.bat import search
from lutra.accelerators.bat.config import PAPER, PAPER_FFN, PAPER_MHA
from lutra.accelerators.bat.latency import BUILT, Memory, Shape
from lutra.accelerators.bat.pipeline import (
    equation_5,
    giga_operations,
    layer_cycles,
    peak_giga_operations_per_second,
)
from lutra.accelerators.bat.published import TABLE_6
from lutra.accelerators.bat.resources import Sizes, UnitFits, Use, module_use, total_use
from lutra.accelerators.bat.search import devices
from lutra.papers.bmt.modules import in_words
from lutra.papers.bmt.units import recorded_units
from lutra.papers.records import Records
from lutra.papers.table import PaperTable, Row

FULL_SIZE = Shape(tokens=128, width=768, heads=6, head_width=64, intermediate=1536, copies=2, bits=4)
"""The paper's full-size BMT: half-width BERT-base with two binary copies of every weight, 4-bit activations."""
LAYERS, BATCH, CLOCK_HZ, LIMIT = 12, 2, 200e6, 0.8
PAPER_GOPS, PAPER_POWER_W = 1122.40, 5.465
TABLE_5 = {  # GOPS, W, GOPS/W as printed
    "Intel i9-9900X": (196.73, 165.0, 1.19),
    "AMD EPYC 7302": (148.88, 155.0, 0.96),
    "Nvidia RTX 3090": (413.10, 350.0, 1.18),
    "FTRANS": (101.80, 25.06, 4.06),
    "STA": (523.81, 9.87, 55.16),
    "ViA": (309.60, 39.0, 7.94),
    "FQ-BERT": (22.74, 9.80, 2.32),
}


def bmt_5(records: Records) -> PaperTable:
    pair = pair_cycles(FULL_SIZE)
    gops = giga_operations(FULL_SIZE, LAYERS, BATCH) / (pair / CLOCK_HZ)
    peak = float(peak_giga_operations_per_second(PAPER.modules, CLOCK_HZ))
    layer = layer_cycles(PAPER_MHA, PAPER_FFN, FULL_SIZE, Memory(), BUILT)
    literal = float(equation_5(layer.attention, layer.feed_forward, LAYERS)) / CLOCK_HZ
    rows = []
    for name, (throughput, power, efficiency) in TABLE_5.items():
        ratio = throughput / power
        remark = "" if abs(ratio - efficiency) < 0.01 else f"the printed numbers give {ratio:.2f} GOPS/W"
        rows += [
            Row(f"{name}, throughput", "GOPS", throughput, None),
            Row(f"{name}, efficiency", "GOPS/W", efficiency, None, remark),
        ]
    rows += [
        Row(
            "BAT, throughput",
            "GOPS",
            PAPER_GOPS,
            gops,
            f"from cycles at 200 MHz, which nothing places; {100 * gops / peak:.0f} % of {peak:,.1f}, the most that "
            "the engines can do",
        ),
        Row("BAT, two sentences", "ms", None, 1e3 * pair / CLOCK_HZ, "128 tokens, 12 layers; the paper prints no time"),
        Row(
            "BAT, two sentences by Eq. 5 as printed",
            "ms",
            None,
            1e3 * literal,
            "it counts 13 stages; two sentences that take turns need 25",
        ),
        Row("BAT, power", "W", 5.47, None, "no power is predicted without Vivado"),
        Row(
            "BAT, efficiency", "GOPS/W", 207.70, None, "1122.40 / 5.465 = 205.38, from which the paper's ratios follow"
        ),
        Row("COBRA (arXiv 2504.16269), throughput", "GOPS", 3894.7, None, "later work, not in the paper"),
        Row("COBRA, efficiency", "GOPS/W", 448.7, None, "later work, not in the paper"),
    ]
    notes = (
        "GOPS: two operations for each weight of both copies and each product of attention, 22.05 G per sentence.",
        "CPU and GPU at batch 2, as in the paper; BAT runs embedding, pooler and classifier on the host.",
    )
    return PaperTable("bmt-5", "BMT Table 5: BAT beside CPUs, a GPU and other FPGAs", tuple(rows), notes)


def bmt_6(records: Records) -> PaperTable:
    fits = recorded_units(records)
    counting, multiplying = (_parts(fits, sums) for sums in ("count", "pe"))
    rows: list[Row] = []
    for module in ("MHA", "FFN"):
        rows += _engine_rows(module, counting, multiplying)
    lanes = {name: counting[name]["quantisation unit"] for name in counting}
    rows += _rows("quantisation unit", TABLE_6["quantisation unit"], lanes.get("MHA"), "of 128 lanes, one of our two; "
                  "thresholds instead of multipliers")  # fmt: skip
    others = [
        part for module, parts in counting.items() for name, part in parts.items()
        if name not in ("engine", "quantisation unit")
    ]  # fmt: skip
    if lanes:
        others.append(lanes["FFN"])
    rows += _rows("others", TABLE_6["others"], _sum(others), "the second quantisation unit among them")
    for module, parts in counting.items():
        for name in ("vector unit", "layer norm", "softmax", "buffers", "memories", "control"):
            part = parts[name]
            if float(part.lut_packed) or float(part.bram):
                remark = f"{float(part.ff):,.0f} FF, {float(part.dsp):.0f} DSP, {float(part.bram):.1f} BRAM"
                rows.append(Row(f"{module}, {name}, LUTs packed", "LUT", None, round(float(part.lut_packed)), remark))
    total, with_pes = (_sum([total_use(parts) for parts in each.values()]) for each in (counting, multiplying))
    device = devices()["zcu102"]
    share = "" if total is None or with_pes is None else (
        f"{100 * float(total.lut_packed) / device.lut:.0f} % of the device (the paper's shares are of what is used); "
        f"{float(with_pes.lut_packed):,.0f} with the paper's PEs"
    )  # fmt: skip
    rows += _rows("total", TABLE_6["total"], total, share)
    rows += [Row(f"{name}, power", "W", values[4], None) for name, values in TABLE_6.items()]
    notes = [
        "Ours: units synthesised alone with Yosys for UltraScale+ and counted up by lanes; nothing is placed, and no "
        "clock is shown to be met. Packed: small LUTs share one, as vendor tools pair them.",
        "p_pe is not in the paper; 128 here. Engines that count ones give the same sums as the paper's PEs.",
        "The quantisation unit's 1.088 W are 19.91 % of 5.465 W; the paper prints 19.01 %.",
    ]
    if fits is not None:
        if errors := fits.errors():
            worst = max(abs(error) for error in errors.values())
            notes.append(f"Sizes between those that the lines go through are off by at most {100 * worst:.1f} %.")
        notes += filter(None, [in_words(records)])
    return PaperTable("bmt-6", "BMT Table 6: resources and power of BAT", tuple(rows), tuple(notes))


def _parts(fits: UnitFits | None, sums: str) -> dict[str, dict[str, Use]]:
    """Uses of both modules of the paper's point by part; none where nothing is recorded."""
    if fits is None:
        return {}
    sizes = Sizes(FULL_SIZE, sums)
    return {
        "MHA": module_use(fits, PAPER_MHA, sizes, attention=True, feed_forward=False),
        "FFN": module_use(fits, PAPER_FFN, sizes, attention=False, feed_forward=True),
    }


def _engine_rows(module: str, counting: dict[str, Any], multiplying: dict[str, Any]) -> list[Row]:
    paper = TABLE_6[f"{module} engine"]
    rows = []
    for form, parts in (("the paper's PEs", multiplying), ("counting", counting)):
        use = parts[module]["engine"] if parts else None
        rows += _rows(f"{module} engine, {form}", (*paper[:2], None, None, None), use, "16 units, 128 products each")
    return rows


def _rows(name: str, paper: tuple[float | None, ...], use: Use | None, remark: str) -> list[Row]:
    """LUTs, flip-flops, and where the paper has any BRAM and DSP."""
    luts, ffs, brams, dsps, _ = paper
    raw = "" if use is None else f"{float(use.lut_raw):,.0f} raw; "
    rows = [
        Row(
            f"{name}, LUTs",
            "LUT",
            luts,
            None if use is None else round(float(use.lut_packed)),
            f"packed, {raw}{remark}",
        ),
        Row(f"{name}, flip-flops", "FF", ffs, None if use is None else round(float(use.ff))),
    ]
    if brams is not None:
        rows.append(Row(f"{name}, BRAMs", "BRAM", brams, None if use is None else float(use.bram)))
    if dsps is not None:
        rows.append(Row(f"{name}, DSPs", "DSP", dsps, None if use is None else round(float(use.dsp))))
    return rows


def _sum(uses: list[Use]) -> Use | None:
    total = None
    for use in uses:
        total = use if total is None else total + use
    return total


def pair_cycles(shape: Shape) -> float:
    """Two sentences on the paper's point, as the RTL is built."""
    method = search.Method("", shape.copies, shape.bits, shape.heads, shape.intermediate)
    lanes = (PAPER_MHA, PAPER_FFN)
    p_dpu, p_quan, p_vu, p_ln = (tuple(sorted({getattr(each, name) for each in lanes})) for name in search.PARALLELISMS)
    space = search.Space((method,), p_dpu, p_quan, p_vu, p_ln)
    (result,) = search.evaluate(space, None)
    return float(result.cycles_of(*map(space.index, lanes)))
