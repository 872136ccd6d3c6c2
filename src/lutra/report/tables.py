"""Tables of text cells: the same ones on the report's page and in the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutra.recipes.sections import Experiment
from lutra.report.evidence import Evidence, read_run
from lutra.runs.files import RunFiles

UNKNOWN = "–"


@dataclass(frozen=True)
class Table:
    """A titled table; the first column names the row, the others are aligned to the right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


_STEP_TABLES = {
    "run": ("losses", "accuracy", "proof", "cost"),
    "evaluate": ("losses", "accuracy"),
    "simulate": ("proof",),
    "synth": ("synthesis",),
    "cost": ("cost",),
}


def summary_tables(files: RunFiles, recipe: Experiment, step: str = "run") -> list[Table]:
    """What to print after a step, or after a whole run: the tables for which there are numbers."""
    makers = {
        "accuracy": accuracy_table,
        "losses": losses_table,
        "proof": proof_table,
        "synthesis": synthesis_table,
        "cost": cost_table,
    }
    names = _STEP_TABLES.get(step, ())
    if not names:
        return []
    evidence = read_run(files, recipe)
    return [table for name in names if (table := makers[name](evidence))]


ARITHMETICS = {
    "golden": "frozen integers, as the hardware computes",
    "runtime": "frozen integers, by the compiled runtime",
    "fake_quantised": "integer blocks, the rest in floating point",
    "float": "all in floating point",
}


def accuracy_table(evidence: Evidence) -> Table | None:
    """Accuracies on the test images, of models that have some."""
    if evidence.evaluate is None or "accuracy" not in evidence.evaluate:
        return None
    found = evidence.evaluate["accuracy"]
    rows = [(label, _percent(found["ours"][key])) for key, label in ARITHMETICS.items() if key in found["ours"]]
    labels = {"mlp": "the MLP, same recipe", "none": "no MLP at all, same recipe"}
    for key, label in labels.items():
        if key in found["frozen_baselines"]:
            rows.append((f"{label}, frozen integers", _percent(found["frozen_baselines"][key])))
        if key in found["baselines"]:
            rows.append((label, _percent(found["baselines"][key])))
    return Table("Accuracy on the test images", ("model", "accuracy"), tuple(rows))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def losses_table(evidence: Evidence) -> Table | None:
    """Validation losses of the frozen model, of what it was frozen from, and of the baselines."""
    if evidence.evaluate is None:
        return None
    losses, baselines = evidence.evaluate["validation_loss"], evidence.evaluate.get("baselines", {})
    rows = [(label, number(losses.get(key), 4)) for key, label in ARITHMETICS.items() if key in losses]
    labels = {"mlp": "the MLP, same recipe", "none": "no MLP at all, same recipe"}
    frozen = evidence.evaluate.get("frozen_baselines", {})
    for key, label in labels.items():
        if key in frozen:
            rows.append((f"{label}, frozen integers", number(frozen[key], 4)))
        if key in baselines:
            rows.append((label, number(baselines[key], 4)))
    for name, iterations in evidence.evaluate.get("unfinished", {}).items():
        label = {"ours": "the model itself", "mlp": "the MLP", "none": "no MLP at all"}[name]
        rows.append((f"trained in part: {label}", f"at iteration {iterations:,}"))
    if evidence.evaluate.get("recovery") is not None:
        rows.append(
            ("recovery (0: block does nothing, 1: block replaces the MLP)", number(evidence.evaluate["recovery"], 3))
        )
    unit = "image" if evidence.recipe.kind == "vision" else "token"
    return Table(f"Validation loss, nats per {unit}", ("model", "loss"), tuple(rows))


def proof_table(evidence: Evidence) -> Table | None:
    """Per fold factor: rows compared, mismatches, and measured against predicted cycles."""
    if evidence.simulate is None:
        return None
    rows = []
    for design in evidence.simulate["designs"]:
        blocks = design["blocks"]
        measured, predicted = total(blocks, "cycles_measured"), total(blocks, "cycles_predicted")
        rows.append(
            (
                fold_label(design["fold_factor"]),
                count(len(blocks)),
                count(total(blocks, "rows")),
                count(total(blocks, "mismatches")),
                count(total(blocks, "mismatches_with_stalls")),
                count(measured),
                count(predicted),
            )
        )
    header = ("design", "blocks", "rows", "mismatches", "with stalls", "cycles measured", "predicted")
    return Table("RTL against the frozen model, every output bit", header, tuple(rows))


def synthesis_table(evidence: Evidence) -> Table | None:
    """Per target and fold factor: what all blocks together take."""
    if evidence.synth is None:
        return None
    rows = []
    for target in evidence.synth["targets"]:
        blocks = target["blocks"]
        rows.append(
            (
                f"{target['target']}, {fold_label(target['fold_factor'])}",
                count(len(blocks)),
                *(count(total(blocks, key)) for key in ("lut_raw", "lut_packed", "ff")),
                number(total(blocks, "area_mm2"), 4),
                number(min((b["slack_ns"] for b in blocks if b.get("slack_ns") is not None), default=None), 2),
                milliwatts(blocks),
                proof_verdict(blocks),
                target["tool"],
            )
        )
    header = ("target", "blocks", "LUT raw", "LUT packed", "FF", "area mm²", "slack ns", "mW", "tables proved", "tool")
    return Table("Synthesis, all blocks together", header, tuple(rows))


def milliwatts(blocks: list[dict[str, Any]]) -> str:
    """Power of all blocks at work, from measured switching, and in brackets with the papers' activity on every net."""
    measured = [(block.get("power_measured") or {}).get("total_w") for block in blocks]
    known = [watts for watts in measured if watts is not None]
    uniform = total(blocks, "power_w")
    assumed = UNKNOWN if uniform is None else f"({1e3 * uniform:.1f})"
    return f"{1e3 * sum(known):.1f} {assumed}" if blocks and len(known) == len(blocks) else assumed


def proof_verdict(blocks: list[dict[str, Any]]) -> str:
    """How many blocks' netlists were proved to hold the trained tables; what differs is said."""
    verdicts = [block["proof"]["holds"] for block in blocks if block.get("proof")]
    if not verdicts:
        return UNKNOWN
    if False in verdicts:
        return f"DIFFER in {verdicts.count(False)}"
    return f"{verdicts.count(True)} of {len(verdicts)}"


def cost_table(evidence: Evidence) -> Table | None:
    """One layer's block at each fold factor beside the MLP that it replaces on a systolic array; means over layers."""
    if evidence.cost is None:
        return None
    cost, tokens = evidence.cost, evidence.cost["model"]["sequence_tokens"]
    ratios = {layer["fold_factor"]: layer for layer in cost["layers"]}
    rows: list[tuple[str, ...]] = []
    for fold in ratios:
        blocks = [block for block in cost["blocks"] if block["fold_factor"] == fold]
        area = synthesised_blocks(evidence, fold)
        # The paper's power is that of its block at F = 1; more adders draw more.
        paper_power = mean(blocks, "fpga_energy_paper_power_j") if fold == 1 else None
        rows.append(
            (
                f"block, {fold_label(fold)}",
                count(mean(blocks, "cycles_per_token")),
                count(mean(blocks, "latency_cycles")),
                count(mean(blocks, "cycles_per_sequence")),
                count(mean(area, "lut_packed")),
                count(mean(area, "ff")),
                microjoules(paper_power),
                microjoules(mean(blocks, "fpga_energy_interpolated_j")),
                number(ratios[fold]["fpga_ratio_interpolated"], 2),
            )
        )
    if cost["dense_layer"] is not None:
        rows.append(_dense_row(cost["dense_layer"], tokens))
    header = (
        "design",
        "cycles per token",
        "latency",
        f"cycles per {tokens} tokens",
        "LUT packed",
        "FF",
        "µJ, paper's power",
        "µJ, from LUTs",
        "energy ratio",
    )
    beside = " beside the MLP on a systolic array" if cost["dense_layer"] is not None else ", beside nothing"
    return Table(f"One layer: the block{beside}", header, tuple(rows))


def _dense_row(dense: dict[str, Any], tokens: int) -> tuple[str, ...]:
    array, mlp = dense["systolic_array_size"], dense["mlp"]
    return (
        f"MLP, {array} × {array} array",
        count(mlp["steady_cycles"] / tokens),
        UNKNOWN,
        count(mlp["steady_cycles"]),
        UNKNOWN,
        UNKNOWN,
        microjoules(mlp["fpga_energy_j"]),
        UNKNOWN,
        "1.00",
    )


def synthesised_blocks(evidence: Evidence, fold_factor: int | str) -> list[dict[str, Any]]:
    """The blocks that were synthesised for the FPGA at a fold factor; none when they were not."""
    targets = evidence.synth["targets"] if evidence.synth else []
    found = [target for target in targets if (target["target"], target["fold_factor"]) == ("xcup", fold_factor)]
    return list(found[-1]["blocks"]) if found else []


def doctor_table(found: dict[str, Any]) -> Table:
    """The state of every tool."""
    rows = [
        (tool["name"], tool["version"] or "missing", "needed" if tool["needed"] else "optional")
        for tool in found["tools"]
    ]
    return Table("Tools", ("tool", "version", "for `lutra run`"), tuple(rows))


def settings_table(found: dict[str, Any]) -> Table:
    """The environment variables that Lutra reads."""
    rows = [
        (each["name"], each["value"] or "not set", each["decides"], each["without_it"]) for each in found["settings"]
    ]
    return Table("Environment variables", ("variable", "value", "decides", "when not set"), tuple(rows))


def vision_results_table(entries: list[dict[str, Any]]) -> Table:
    """Recorded results of vision models, one line each."""
    rows = []
    for entry in entries:
        evaluate = entry.get("evaluate") or {}
        found = evaluate.get("accuracy", {})
        parts = found.get("ours", {}), found.get("frozen_baselines", {})
        frozen = parts[0].get(evaluate.get("engine"))
        accuracies = (parts[0].get("float"), frozen, parts[1].get("mlp"), parts[1].get("none"))
        rows.append(
            (
                entry["recipe"]["name"],
                str(entry["recipe"]["seed"]),
                *("-" if accuracy is None else _percent(accuracy) for accuracy in accuracies),
                number(evaluate.get("recovery"), 3),
                entry["recorded"],
            )
        )
    header = ("recipe", "seed", "float", "frozen", "MLP frozen", "no MLP frozen", "recovery", "recorded")
    return Table("Recorded results (accuracy)", header, tuple(rows))


def results_table(entries: list[dict[str, Any]]) -> Table:
    """Recorded results of language models, one line each."""
    rows = []
    for entry in entries:
        evaluate = entry.get("evaluate") or {}
        losses, baselines = evaluate.get("validation_loss", {}), evaluate.get("baselines", {})
        rows.append(
            (
                entry["recipe"]["name"],
                str(entry["recipe"]["seed"]),
                number(losses.get("golden"), 4),
                number(baselines.get("mlp"), 4),
                number(baselines.get("none"), 4),
                number(evaluate.get("recovery"), 3),
                entry["recorded"],
            )
        )
    header = ("recipe", "seed", "frozen", "MLP", "no MLP", "recovery", "recorded")
    return Table("Recorded results (validation loss)", header, tuple(rows))


def fold_label(fold_factor: int | str) -> str:
    """A fold factor as people write it."""
    return f"F = {fold_factor}"


def total(blocks: list[dict[str, Any]], key: str) -> float | None:
    """Sum of a figure over blocks; None when there is none, or a block does not have it."""
    values = [block.get(key) for block in blocks]
    return None if not values or None in values else sum(value for value in values if value is not None)


def mean(blocks: list[dict[str, Any]], key: str) -> float | None:
    """Mean of a figure over blocks; None when there is none, or a block does not have it."""
    summed = total(blocks, key)
    return None if summed is None else summed / len(blocks)


def microjoules(energy_j: float | None) -> str:
    """An energy in microjoules, three significant digits."""
    return UNKNOWN if energy_j is None else f"{1e6 * energy_j:.3g}"


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int) -> str:
    """A number with a fixed count of decimals."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
