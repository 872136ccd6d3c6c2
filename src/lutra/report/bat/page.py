"""What a run of a BERT's chain shows of BAT: what was simulated, what agreed, how long a sentence takes."""

from __future__ import annotations

from typing import Any

from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.published import TABLE_6
from lutra.report.bat.figures import STEPS, gantt_picture, machine_picture
from lutra.report.build import Section
from lutra.report.tables import UNKNOWN, Table, count, number

RESOURCES = ("lut_raw", "lut_packed", "ff", "dsp", "bram")
HOST = "Embedding, pooler and classifier run on the host and are not in these cycles."


def simulation_table(evidence: dict[str, Any]) -> Table | None:
    """One row per method that the accelerator takes."""
    rows = [
        (
            method,
            str(len(BatConfig.from_mapping(each["config"]).modules)),
            count(each["sentences"]),
            count(each["values"]),
            count(each["mismatches"]),
            "yes" if each["cycles_match"] else "no",
            count(round(each["cycles"] / each["sentences"])),
            number(1e3 * each["seconds_per_sentence"], 3),
            _per_cent(each["utilisation"]),
        )
        for method, each in evidence["designs"].items()
    ]
    header = (
        *("method", "modules", "sentences", "values compared", "that differ", "cycles as predicted"),
        *("cycles per sentence", "ms per sentence", "of the engines' peak"),
    )
    return Table("Accelerator (BAT) in simulation, against golden", header, tuple(rows)) if rows else None


def blocks_table(method: str, design: dict[str, Any]) -> Table:
    """The verdict per block of a method."""
    rows = [
        (block, count(each["values"]), count(each["differing"]))
        for block, each in sorted(design["blocks"].items(), key=_order)
    ]
    return Table(f"{method}: values of every block", ("block", "compared", "that differ"), tuple(rows))


def groups_table(method: str, design: dict[str, Any]) -> Table:
    """Cycles of the sentences that ran at the same time."""
    rows = [
        (
            " and ".join(map(str, group["tokens"])),
            UNKNOWN if group["cycles_measured"] is None else count(group["cycles_measured"]),
            count(group["cycles_predicted"]),
            "equal" if group["problem"] is None else group["problem"],
        )
        for group in design["groups"]
    ]
    return Table(f"{method}: sentences", ("tokens", "cycles", "predicted", "values"), tuple(rows))


def accelerator_section(evidence: dict[str, Any] | None, run: str) -> Section:
    """Of the page."""
    if evidence is None:
        return Section("accelerator", "Accelerator", missing=f"Not run: lutra simulate {run}")
    table = simulation_table(evidence)
    refused = tuple(f"{method}: {reason}" for method, reason in evidence["refused"].items())
    if table is None:
        return Section(
            "accelerator", "Accelerator", paragraphs=("No method of this run fits the accelerator.",), points=refused
        )
    designs = evidence["designs"]
    last = list(designs.values())[-1]
    config = BatConfig.from_mapping(last["config"])
    return Section(
        key="accelerator",
        title="Accelerator",
        paragraphs=(
            "The binarized model in SystemVerilog (BAT): sentences of the development set went through all layers in "
            "simulation, and every number and code that a unit handed over was compared with the golden model's, "
            f"bit for bit. Milliseconds are cycles at {last['clock_hz'] / 1e6:g} MHz; nothing places the RTL. {HOST}",
        ),
        wide=machine_picture(config),
        narrow=machine_picture(config, narrow=True),
        caption=f"The machine that runs {list(designs)[-1]}: rows pass the units of a module from left to right.",
        tables=(
            table,
            *(blocks_table(method, design) for method, design in designs.items()),
            *(groups_table(method, design) for method, design in designs.items()),
        ),
        points=refused,
    )


def cost_table(evidence: dict[str, Any]) -> Table | None:
    """One row per method and number of sentences that run at the same time."""
    rows = []
    for method, design in evidence["designs"].items():
        runs = {"alone": design["alone"]}
        if len(design["together"]["tokens"]) > 1:
            runs["two at a time"] = design["together"]
        for name, run in runs.items():
            rows.append(
                (
                    f"{method}, {name}",
                    " and ".join(map(str, run["tokens"])),
                    count(run["cycles"]),
                    number(1e3 * run["seconds"], 3),
                    number(run["giga_operations_per_second"], 1),
                    _per_cent(run["utilisation"]),
                )
            )
    header = ("sentences", "tokens", "cycles", "ms", "GOPS", "of the engines' peak")
    return Table("Accelerator (BAT): the longest sentences, predicted", header, tuple(rows)) if rows else None


def cost_section(evidence: dict[str, Any] | None, missing: str) -> Section:
    """Cycles and throughput, and when the steps of a layer run."""
    title = "Cycles of the accelerator"
    table = cost_table(evidence) if evidence else None
    if evidence is None or table is None:
        return Section("accelerator-cost", title, missing=missing)
    method, design = list(evidence["designs"].items())[-1]
    clock, layer = design["clock_hz"], design["layer"]
    points = [f"{text}" for text in evidence["leaves_out"]]
    for name, each in evidence["designs"].items():
        if each["equation_5"]:
            printed, staged = each["equation_5"].values()
            points.append(
                f"{name}: the paper's Eq. 5 as printed gives {count(printed)} cycles for two sentences, with a stage "
                f"per layer and sentence {count(staged)}, the compiled programs {count(each['together']['cycles'])}."
            )
        moved = sum(each["traffic"].values())
        points.append(f"{name}: a sentence moves {count(moved)} bytes in a layer, weights included.")
    return Section(
        key="accelerator-cost",
        title=title,
        paragraphs=(
            f"Cycles follow from the compiled programs and the latency of every unit; {_met(evidence)}. GOPS count two "
            "operations for each weight of every binary copy and each product of attention; the peak is what the "
            "engines could do if each made a product with every element in every cycle.",
        ),
        wide=gantt_picture(layer, clock),
        narrow=gantt_picture(layer, clock, narrow=True),
        caption=f"{method}: the steps of one layer for {len(design['together']['tokens'])} sentence(s) of "
        f"{design['tokens']} tokens; one colour per sentence.",
        tables=(table, *(steps_table(name, each) for name, each in evidence["designs"].items())),
        points=tuple(points),
    )


def _met(evidence: dict[str, Any]) -> str:
    """Whether simulations of the same models met predicted cycles."""
    measured = [design["measured"] for design in evidence["designs"].values()]
    if not all(measured):
        return "no simulation of these models has checked them yet"
    if all(each["cycles_match"] for each in measured):
        return "simulated sentences took exactly what was predicted for them"
    return "simulated sentences took other cycles than predicted"


def steps_table(method: str, design: dict[str, Any]) -> Table:
    """The steps of a layer and what decides how long each takes."""
    rows = [
        (
            STEPS.get(step["step"], step["step"]),
            str(step["module"]),
            str(step["sentence"]),
            count(step["start"]),
            count(step["end"] - step["start"] + 1),
            step["slowest"],
        )
        for step in design["layer"]
    ]
    header = ("step", "module", "sentence", "starts in cycle", "cycles", "decided by")
    return Table(f"{method}: steps of one layer", header, tuple(rows))


def resources_table(evidence: dict[str, Any]) -> Table | None:
    """LUTs, flip-flops, DSPs and BRAMs of every part, method by method; the paper's Table 6 below."""
    rows: list[tuple[str, ...]] = []
    device = evidence["device"]
    for method, design in evidence["designs"].items():
        whole = dict.fromkeys(RESOURCES, 0.0)
        for index, module in enumerate(design["modules"]):
            for part, use in {**module["parts"], "total": module["total"]}.items():
                rows.append((f"{method}, module {index}, {part}", *_uses(use)))
            whole = {name: whole[name] + module["total"][name] for name in whole}
        if design["modules"]:
            rows.append((f"{method}, all", *_uses(whole)))
            if device:
                has = {"lut_packed": device["lut"], "ff": device["ff"], "bram": device["bram"], "dsp": device["dsp"]}
                shares = [_per_cent(whole[name] / has[name]) if name in has else "" for name in RESOURCES]
                rows.append((f"{method}, of the {device['name']}", *shares))
    if not rows:
        return None
    for name, (luts, ffs, brams, dsps, _) in TABLE_6.items():
        shown = [UNKNOWN if value is None else count(value) for value in (ffs, dsps, brams)]
        rows.append((f"the paper's Table 6, {name}", UNKNOWN, count(luts), *shown))
    header = ("part", "LUTs raw", "LUTs packed", "flip-flops", "DSPs", "BRAMs")
    return Table("Accelerator (BAT) on UltraScale+", header, tuple(rows))


def cells_table(evidence: dict[str, Any]) -> Table | None:
    """Engines in standard cells."""
    rows = [
        (
            f"{method}, module {index}",
            number(engine["area_mm2"], 4),
            UNKNOWN if engine["slack_ns"] is None else number(engine["slack_ns"], 3),
            number(engine["clock_hz"] / 1e6, 0),
        )
        for method, design in evidence["designs"].items()
        for index, engine in enumerate(design["asic"] or [])
    ]
    header = ("engine", "area mm²", "slack ns", "at MHz")
    return Table("Engines in standard cells, without wires", header, tuple(rows)) if rows else None


def resources_section(evidence: dict[str, Any] | None, missing: str) -> Section:
    """What the accelerator takes."""
    title = "What the accelerator takes"
    tables = [table for table in (resources_table(evidence), cells_table(evidence)) if table] if evidence else []
    if evidence is None or not tables:
        return Section("accelerator-resources", title, missing=missing)
    return Section(
        key="accelerator-resources",
        title=title,
        paragraphs=(
            f"Units alone through {evidence['tool']}, each at two sizes, from which those of the machine follow; "
            "memories follow from their widths and depths. Packed: small LUTs share one, as vendor tools pair them. "
            "Nothing is placed. The paper's rows are those of its own point, 16 units and 128 lanes of quantisation in "
            "both modules, for BERT-base at half width.",
        ),
        tables=tuple(tables),
        points=tuple(f"{each['target']}: {each['reason']}" for each in evidence["skipped"]),
    )


def _uses(use: dict[str, float]) -> list[str]:
    return [number(use[name], 1) if name == "bram" else count(round(use[name])) for name in RESOURCES]


def _order(block: tuple[str, Any]) -> tuple[int, str]:
    _, index, name = block[0].split(".")
    return int(index), name


def _per_cent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{number(100 * share, 1)} %"
