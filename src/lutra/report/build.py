"""The report: one self-contained page made from the files of a run directory."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from mako.template import Template

from lutra.cost.layer import LEAVES_OUT
from lutra.frozen.graph import as_weightless
from lutra.recipes.language import Recipe
from lutra.recipes.sections import Experiment
from lutra.recipes.vision import VisionRecipe
from lutra.report import tables
from lutra.report.evidence import Evidence, read_run
from lutra.report.figures import BlockShape, block_picture, css_variables, training_curves
from lutra.report.machine.tables import (
    machine_cost,
    machine_cost_tables,
    machine_evidence,
    machine_points,
    machine_synth_tables,
    machine_synthesis,
    machine_tables,
    machine_verdict,
    order_of_steps,
)
from lutra.runs.files import RunFiles, write_text
from lutra.version import __version__

log = logging.getLogger("lutra.report")


@dataclass(frozen=True)
class Figure:
    """One number of the page's head."""

    label: str
    value: str
    unit: str
    tone: str = ""


@dataclass(frozen=True)
class Section:
    """One part of the page; whatever is empty is left out, and `missing` says which step has not run."""

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    missing: str = ""
    wide: str = ""
    narrow: str = ""
    caption: str = ""
    tables: tuple[tables.Table, ...] = ()
    sample: str = ""
    points: tuple[str, ...] = ()
    commands: str = ""


@dataclass(frozen=True)
class Page:
    """Everything that the template shows."""

    name: str
    kicker: str
    result: str
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    version: str = __version__
    css_light: str = field(default_factory=lambda: css_variables("light"))
    css_dark: str = field(default_factory=lambda: css_variables("dark"))


def report_run(files: RunFiles, recipe: Recipe | VisionRecipe) -> dict[str, Any]:
    """Write `report.html` from what the run's steps have written so far.

    Returns:
        `report` (path), `bytes`, and `not_run`: the parts for which there is nothing to show.
    """
    evidence = read_run(files, recipe)
    sections = (
        _learning(evidence),
        *([_sample(evidence)] if recipe.kind == "language" else []),
        *([proof_section(evidence)] if recipe.has_blocks else []),
        *_machine_sections(evidence),
        block_section(evidence),
        *([cost_section(evidence)] if recipe.has_blocks else []),
        _left_out(evidence),
        rebuild_of(evidence),
    )
    page = Page(
        name=recipe.name,
        kicker=f"{recipe.data.dataset} · seed {recipe.seed} · recipe {recipe.content_hash()}",
        result=_result(evidence),
        figures=_figures(evidence),
        warnings=run_warnings(evidence),
        sections=sections,
    )
    return write_page(files, page)


def write_page(files: RunFiles, page: Page) -> dict[str, Any]:
    """Write `report.html` and say what `report_run` says."""
    source = resources.files("lutra.report").joinpath("page.html.mako").read_text(encoding="utf-8")
    written = str(
        Template(source, default_filters=["as_html"], imports=["from lutra.escape import html as as_html"]).render(
            page=page
        )
    )
    write_text(files.report, written)
    return {
        "report": str(files.report),
        "bytes": len(written.encode()),
        "not_run": [section.key for section in page.sections if section.missing],
    }


def _result(evidence: Evidence) -> str:
    """The result in one sentence or two."""
    if evidence.evaluate is None:
        return "This run has not been evaluated yet; what its steps have written so far is below."
    losses, baselines = evidence.evaluate["validation_loss"], evidence.evaluate.get("baselines", {})
    integer = losses.get("golden", losses.get("runtime"))
    ours = losses["float"] if integer is None else integer
    text = f"Validation loss {ours:.3f}" + ("" if integer is None else ", computed in integers as the hardware does")
    names = {"mlp": "with the MLP", "none": "with no MLP at all"}
    compared = [f"{baselines[key]:.3f} {name}" for key, name in names.items() if baselines.get(key) is not None]
    if compared:
        text += f"; the same recipe reaches {' and '.join(compared)}"
    recovery = evidence.evaluate.get("recovery")
    if recovery is not None:
        text += f". The weightless block recovers {100 * recovery:.0f} % of what the MLP is worth"
    return text + ". " + verdict(evidence)


def verdict(evidence: Evidence) -> str:
    """Whether the RTL computes what the frozen model computes."""
    if evidence.simulate is None:
        return "The RTL has not been simulated." if evidence.recipe.has_blocks else ""
    mismatches, rows = evidence.simulate["mismatches"], evidence.simulate["rows"]
    if mismatches:
        return f"The RTL differs from the frozen model: {mismatches:,} mismatches in {rows:,} rows."
    cycles = "as predicted" if evidence.simulate["cycles_match"] else "not as predicted"
    return f"The RTL matches the frozen model bit for bit on {rows:,} rows, in cycles {cycles}."


def _figures(evidence: Evidence) -> tuple[Figure, ...]:
    figures = []
    if evidence.evaluate and evidence.evaluate.get("recovery") is not None:
        unit = "0 %: does nothing, 100 %: replaces it"
        figures.append(Figure("Recovery of the MLP", f"{100 * evidence.evaluate['recovery']:.0f} %", unit))
    if evidence.simulate:
        mismatches, rows = evidence.simulate["mismatches"], evidence.simulate["rows"]
        unit = f"in {rows:,} rows, all designs"
        figures.append(Figure("RTL mismatches", f"{mismatches:,}", unit, "bad" if mismatches else "good"))
    return (*figures, *cost_figures(evidence))


def run_warnings(evidence: Evidence) -> tuple[str, ...]:
    failed = (f"{name} failed: {reason}" for name, reason in evidence.failed.items() if name != "report")
    stale = (
        f"{name}.json was made from an earlier frozen model than the one in this folder; `lutra run` renews it."
        for name in sorted(evidence.stale)
    )
    return (*failed, *stale)


def not_run(evidence: Evidence, step: str) -> str:
    if step in evidence.failed:
        return f"{step} failed: {evidence.failed[step]}"
    return f"Not run yet: lutra {step} {evidence.files.root.name}"


def _learning(evidence: Evidence) -> Section:
    losses = tables.losses_table(evidence)
    return Section(
        key="learning",
        title="Learning",
        paragraphs=(
            "Three models learn from the same batches with the same recipe: ours, the same model with its MLPs, and "
            "the same model with no MLP at all. Recovery = (no-MLP loss − ours) / (no-MLP loss − MLP loss).",
        ),
        missing="" if evidence.curves else not_run(evidence, "train"),
        wide=training_curves(evidence.curves) if evidence.curves else "",
        narrow=training_curves(evidence.curves, narrow=True) if evidence.curves else "",
        caption="Loss on the whole validation set during training.",
        tables=tuple(table for table in (losses, tables.accuracy_table(evidence)) if table),
    )


def _sample(evidence: Evidence) -> Section:
    return Section(
        key="sample",
        title="What it writes",
        missing="" if evidence.sample else not_run(evidence, "evaluate"),
        sample=evidence.sample or "",
    )


def proof_section(evidence: Evidence) -> Section:
    table = tables.proof_table(evidence)
    if table is None or evidence.simulate is None:
        return Section("proof", "Hardware equals model", missing=not_run(evidence, "simulate"))
    foreign = evidence.recipe.kind == "frozen"
    rows = "the rows that came with the frozen model" if foreign else "activations of real validation data"
    return Section(
        key="proof",
        title="Hardware equals model",
        paragraphs=(
            f"{verdict(evidence)} Every design is the generated SystemVerilog, simulated by "
            f"{evidence.simulate['simulator']} on {rows}, once at full speed and once with random "
            "stalls at both ends. F is the number of bits that each output adds per cycle.",
        ),
        tables=(table,),
    )


def _machine_sections(evidence: Evidence) -> list[Section]:
    """Of the machine for the whole model, where there is one."""
    found, synthesis, cost = machine_evidence(evidence), machine_synthesis(evidence), machine_cost(evidence)
    if found is None and synthesis is None and cost is None:
        return []
    paragraphs = () if found is None else (f"{machine_verdict(found)} {order_of_steps(found)}",)
    made = (*machine_tables(found), *machine_synth_tables(synthesis), *machine_cost_tables(cost))
    points = machine_points(cost)
    return [Section("machine", "The whole model in hardware", paragraphs, tables=made, points=points)]


def block_section(evidence: Evidence) -> Section:
    title = "The block"
    if evidence.frozen is None:
        return Section("block", title, missing=not_run(evidence, "freeze"))
    if not evidence.frozen.graphs:
        return Section("block", title, paragraphs=("This model has no weightless block.",))
    shapes = [BlockShape.of(as_weightless(graph)) for graph in evidence.frozen.graphs]
    same = "all of this size" if len(set(shapes)) == 1 else "of which this is the first; the others differ in size"
    return Section(
        key="block",
        title=title,
        paragraphs=(
            "No multiplication: comparisons with thresholds give bits, lookup tables turn bits into bits, and every "
            "bit that is 1 adds a row of learned 8-bit values.",
        ),
        wide=block_picture(shapes[0]),
        narrow=block_picture(shapes[0], narrow=True),
        caption=f"The weightless block that replaces an MLP; the model has {len(shapes)}, {same}.",
    )


def cost_figures(evidence: Evidence) -> tuple[Figure, ...]:
    """Cycles, size and energy at the smallest fold factor, the paper's design."""
    if evidence.cost is None:
        return ()
    layer = evidence.cost["layers"][0]
    fold = layer["fold_factor"]
    label = tables.fold_label(fold)
    blocks = [block for block in evidence.cost["blocks"] if block["fold_factor"] == fold]
    figures = [Figure("Cycles per token and block", tables.count(tables.mean(blocks, "cycles_per_token")), label)]
    area = tables.synthesised_blocks(evidence, fold)
    if area:
        flip_flops = tables.count(tables.mean(area, "ff"))
        figures.append(
            Figure(
                "LUTs per block", tables.count(tables.mean(area, "lut_packed")), f"packed, and {flip_flops} FF; {label}"
            )
        )
    if layer["fpga_ratio_interpolated"] is not None:
        limit = f"estimate, {label}"
        if (most := layer.get("upper_limit_ratio")) is not None:
            limit += f"; at most {most:.2f}×"
        figures.append(Figure("Energy of a layer, MLP over ours", f"{layer['fpga_ratio_interpolated']:.2f}×", limit))
    return tuple(figures)


def cost_section(evidence: Evidence) -> Section:
    made = [table for table in (tables.cost_table(evidence), tables.synthesis_table(evidence)) if table]
    basis = evidence.cost["energy_basis"] if evidence.cost else {}
    skipped = evidence.synth.get("skipped", []) if evidence.synth else []
    points = [f"{skip['target']} was not synthesised: {skip['reason']}." for skip in skipped]
    if basis:
        points += [
            f"µJ, paper's power: {basis['fpga_paper_power']}, so it is given for F = 1 only; its block is 192 wide.",
            f"µJ, from LUTs, and the energy ratio: {basis['fpga_interpolated']}.",
            "The energy ratio compares a whole layer, attention included, with its MLP and with the block.",
        ]
    return Section(
        key="cost",
        title="What it costs",
        missing="" if made else not_run(evidence, "cost"),
        tables=tuple(made),
        points=tuple(points),
    )


def _left_out(evidence: Evidence) -> Section:
    return Section(
        key="left-out",
        title="What these numbers leave out",
        points=(
            *hardware_left_out(),
            f"One training per model, seed {evidence.recipe.seed}; differences between seeds are not shown here.",
        ),
    )


def hardware_left_out() -> tuple[str, ...]:
    """What figures of size, cycles and energy leave out."""
    return (
        *(f"{part[0].upper()}{part[1:]}." for part in LEAVES_OUT),
        "LUT counts come from Yosys, not from a placed and routed design; packed counts pair two LUTs that share "
        "at most five inputs, an estimate of what a vendor tool does.",
        "Energy of the array is the paper's (QuWeiT Table 3, no DSP, vectorless estimate at 12.5 % activity); a "
        "measured figure needs the vendor's tools, for which the run directory holds the scripts.",
    )


def rebuild_of(evidence: Evidence) -> Section:
    frozen = (f"frozen model {evidence.frozen_hash[:16]}",) if evidence.frozen_hash else ()
    return rebuild_section(evidence.files, evidence.recipe, evidence.steps, *frozen)


def rebuild_section(
    files: RunFiles, recipe: Experiment, steps: dict[str, dict[str, Any]], *more_hashes: str
) -> Section:
    """Commands, hashes, versions and steps of a run."""
    root = files.root.name
    environments = [step["environment"] for step in steps.values()]
    versions = sorted({f"{name} {version}" for environment in environments for name, version in environment.items()})
    recorded = tuple((name, tables.duration(step["seconds"]), step["ended"]) for name, step in steps.items())
    hashes = [f"recipe hash {recipe.content_hash()}", f"seed {recipe.seed}", *more_hashes]
    return Section(
        key="rebuild",
        title="How to rebuild it",
        paragraphs=(
            "The run directory holds the exact recipe; the first command trains and measures everything again, the "
            "second only what has changed.",
            "; ".join([*hashes, *versions]) + ".",
        ),
        commands=f"lutra run {root}/recipe.toml --out another-folder\nlutra run {root}/recipe.toml --out {root}",
        tables=(tables.Table("Steps", ("step", "time", "ended"), recorded),) if recorded else (),
    )
