"""The page of a search of hardware: one file with its data and a small script, nothing is fetched."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from mako.template import Template

from lutra.accelerators.bat.search import PARALLELISMS
from lutra.explore.hardware.search import NAMES
from lutra.explore.hardware.space import HardwarePlan
from lutra.report.figures import css_variables
from lutra.version import __version__

NOTES = (
    "Latencies come from the closed form that simulations of the RTL are equal to, cycle by cycle, for two sentences "
    "through all layers; embedding, pooler and classifier run on the host and are not in it.",
    "Nothing is placed: the clock is an assumption, and resources are sums of units that Yosys mapped alone, or the "
    "paper's Table 6 scaled by lanes. The two are never added up.",
    "Small points are slower configurations of the same model that need less of the device; of these each is the "
    "fastest for its share.",
    "A model that nobody trained has a latency, and no accuracy.",
)


@dataclass(frozen=True)
class Page:
    """Everything that the template shows."""

    name: str
    kicker: str
    lead: str
    paragraphs: tuple[str, ...]
    data: str
    script: str
    notes: tuple[str, ...] = NOTES
    version: str = __version__
    css_light: str = field(default_factory=lambda: css_variables("light"))
    css_dark: str = field(default_factory=lambda: css_variables("dark"))


def hardware_page(plan: HardwarePlan, record: dict[str, Any], paragraphs: tuple[str, ...]) -> str:
    """The page of a finished record as HTML; `paragraphs` are what the record says in words."""
    folder = resources.files("lutra.explore.hardware")
    template = Template(folder.joinpath("page.html.mako").read_text(encoding="utf-8"), default_filters=["h"])
    device, model = plan.device, plan.space.model
    page = Page(
        name=record["name"],
        kicker=f"{device.name}, {model.layers} layers, {model.tokens} tokens, pairs of sentences",
        lead=paragraphs[0],
        paragraphs=paragraphs[1:],
        data=json.dumps(page_data(plan, record), separators=(",", ":")).replace("<", "\\u003c"),
        script=folder.joinpath("page.js").read_text(encoding="utf-8"),
    )
    return str(template.render(page=page))


def page_data(plan: HardwarePlan, record: dict[str, Any]) -> dict[str, Any]:
    """What the script of the page reads; modules and methods by number."""
    methods = {name: index for index, name in enumerate(plan.scores)}
    entries = record["entries"]
    variants = list(dict.fromkeys((entry["p_softmax"], entry["sums"]) for entry in entries))
    column = plan.space.resources if plan.space.resources in record["columns"] else record["columns"][0]
    return {
        "methods": [
            {"name": name, "accuracy": scored.accuracy, "robustness": scored.robustness}
            for name, scored in plan.scores.items()
        ],
        "modules": plan.grids[0].modules,
        "parallelisms": PARALLELISMS,
        "columns": [{"key": name, "name": NAMES[name]} for name in record["columns"]],
        "p_pe": sorted({entry["p_pe"] for entry in entries}),
        "variants": [{"name": f"{lanes} lanes, {sums}"} for lanes, sums in variants],
        "sets": [
            {
                "method": methods[entry["method"]],
                "p_pe": entry["p_pe"],
                "variant": variants.index((entry["p_softmax"], entry["sums"])),
                "column": name,
                "points": found["needs"],
            }
            for entry in entries
            for name, found in entry["columns"].items()
        ],
        "least": record["constraints"],
        "marked": _marked(plan, record, methods),
        "start": {
            "p_pe": plan.grids[0].p_pe,
            "fraction": plan.space.limits.fraction,
            "clock_mhz": plan.space.clock_hz / 1e6,
            "column": column,
        },
    }


def _marked(plan: HardwarePlan, record: dict[str, Any], methods: dict[str, int]) -> dict[str, Any] | None:
    marked = plan.space.marked
    if marked is None:
        return None
    modules = plan.grids[0].modules
    entry = next(entry for entry in record["entries"] if next(iter(entry["columns"].values())).get("marked"))
    columns = {
        name: {
            "cycles": found["marked"]["cycles"],
            "share": found["marked"]["needs"],
            "mha": modules.index(tuple(found["marked"]["attention"])),
            "ffn": modules.index(tuple(found["marked"]["feed_forward"])),
        }
        for name, found in entry["columns"].items()
    }
    return {"name": marked.name, "method": methods[marked.method], "columns": columns}
