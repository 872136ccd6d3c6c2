"""What a run of a BERT's chain shows: the methods beside each other, in the terminal and as a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutra.cost.bert import flops, size_mib
from lutra.recipes.bert import BertRecipe, plan_stages
from lutra.recipes.bert_config import BertConfig
from lutra.report.bat.page import (
    accelerator_section,
    cost_section,
    cost_table,
    resources_section,
    resources_table,
    simulation_table,
)
from lutra.report.build import Figure, Page, Section, rebuild_section, write_page
from lutra.report.figures import PLOT_COLOURS, page_svg, plotting
from lutra.report.tables import UNKNOWN, Table, count, number
from lutra.runs.files import RunFiles
from lutra.runs.record import failed_steps, finished_steps
from lutra.runs.schemas.training import StageResult
from lutra.runs.typed import read_evidence, read_record

METRICS = {
    "accuracy": "accuracy",
    "f1": "F1",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "pearson_spearman": "mean of Pearson and Spearman correlation",
}


@dataclass(frozen=True)
class ChainEvidence:
    """What a run of a chain wrote; `stages` holds the results of the finished ones, in the plan's order."""

    files: RunFiles
    recipe: BertRecipe
    stages: dict[str, dict[str, Any]]
    evaluate: dict[str, Any] | None
    simulate: dict[str, Any] | None
    synth: dict[str, Any] | None
    cost: dict[str, Any] | None
    steps: dict[str, dict[str, Any]]
    failed: dict[str, str]
    """Steps that did not come to their end, with the reason."""

    @property
    def waiting(self) -> tuple[str, ...]:
        """Stages that are not finished."""
        return tuple(plan.name for plan in plan_stages(self.recipe) if plan.name not in self.stages)


def read_chain(files: RunFiles, recipe: BertRecipe) -> ChainEvidence:
    """Read the run directory of a chain.

    Raises:
        RunDirectoryError: a file that is there cannot be read.
    """
    results = {plan.name: files.stage(plan.name).result for plan in plan_stages(recipe)}
    failed = failed_steps(files)

    def written(step: str) -> dict[str, Any] | None:
        there = step not in failed and getattr(files, step).exists()
        return read_evidence(files, recipe, step) if there else None

    return ChainEvidence(
        files,
        recipe,
        {name: read_record(path, StageResult, "train") for name, path in results.items() if path.exists()},
        written("evaluate"),
        written("simulate"),
        written("synth"),
        written("cost"),
        finished_steps(files),
        failed,
    )


def summary_tables(files: RunFiles, recipe: BertRecipe, step: str = "run") -> list[Table]:
    """What to print after a step, or after a whole run."""
    evidence = read_chain(files, recipe)
    tables: list[Table | None] = [methods_table(evidence)] if step in ("run", "train", "evaluate") else []
    if step in ("run", "evaluate"):
        tables += [frozen_table(evidence), robustness_table(evidence)]
    if step in ("run", "simulate") and evidence.simulate:
        tables.append(simulation_table(evidence.simulate))
    if step in ("run", "synth") and evidence.synth:
        tables.append(resources_table(evidence.synth))
    if step in ("run", "cost") and evidence.cost:
        tables.append(cost_table(evidence.cost))
    return [table for table in tables if table]


def methods_table(evidence: ChainEvidence) -> Table:
    """One row per stage: score of its best and last weights and before training, size, and cost of a sequence."""
    names = [plan.name for plan in plan_stages(evidence.recipe)]
    rows = [(name, *_cells(evidence.stages.get(name))) for name in names]
    header = ("method", "before training", "best", "last", "size MiB", "GFLOPs (128 tokens)", "trained, min")
    return Table(f"{evidence.recipe.task}, development set, points", header, tuple(rows))


def _cells(result: dict[str, Any] | None) -> tuple[str, ...]:
    if result is None:
        return (UNKNOWN,) * 6
    config = BertConfig.model_validate(result["bert"])
    return (
        number(result["start_score"], 2),
        number(result["best_score"], 2),
        number(result["last_score"], 2),
        number(size_mib(config), 2),
        number(flops(config).total / 1e9, 3),
        number(result["seconds"] / 60, 1),
    )


def results_table(entries: list[dict[str, Any]]) -> Table:
    """Recorded results of chains, one line per method."""
    rows = [
        (
            f"{entry['task']}, {name}",
            str(entry["recipe"]["seed"]),
            number(method["score"], 2),
            number(method["size_mib"], 2),
            entry["checkpoint"]["name"],
            entry["recorded"],
        )
        for entry in entries
        for name, method in entry["methods"].items()
    ]
    return Table("Recorded results (points)", ("method", "seed", "score", "size MiB", "from", "recorded"), tuple(rows))


def frozen_table(evidence: ChainEvidence) -> Table | None:
    """What the golden model makes of the development set, beside the float model that each method was frozen from."""
    if evidence.evaluate is None:
        return None
    metric, split = evidence.evaluate["metric"], evidence.evaluate["dev_split"]
    rows = []
    for name, method in evidence.evaluate["methods"].items():
        if golden := method.get("golden"):
            differing = golden["classes_unlike_float"]
            rows.append(
                (
                    name,
                    number(method["dev"][split][metric], 2),
                    number(golden["metrics"][metric], 2),
                    UNKNOWN if differing is None else count(differing),
                    number(golden["median_logit_difference"], 3),
                    number(golden["file_bytes"] / 2**20, 2),
                )
            )
    header = ("method", "trained", "frozen", "classes that differ", "median logit difference", "on disk MiB")
    return Table("Frozen: packed weights and binary16, golden model", header, tuple(rows)) if rows else None


def robustness_table(evidence: ChainEvidence) -> Table | None:
    """R of every method, where it was measured."""
    methods = evidence.evaluate["methods"] if evidence.evaluate else {}
    rows = []
    for name, method in methods.items():
        if measured := method.get("robustness"):
            ratio, noisy = measured["ratio"], measured["noisy"]
            text = ratio if isinstance(ratio, str) else number(ratio, 1)
            rows.append((name, number(measured["clean"], 2), number(sum(noisy) / len(noisy), 2), text))
    header = ("method", "clean", "mean with noise", "R")
    return Table("Robustness to noise of a tenth on the embeddings", header, tuple(rows)) if rows else None


def report_bert(files: RunFiles, recipe: BertRecipe) -> dict[str, Any]:
    """Write `report.html` from what the run's steps have written so far.

    Returns:
        As `lutra.report.build.report_run`.
    """
    evidence = read_chain(files, recipe)
    robustness = robustness_table(evidence)
    page = Page(
        name=recipe.name,
        kicker=f"{recipe.task} · {recipe.checkpoint} · seed {recipe.seed} · recipe {recipe.content_hash()}",
        result=_result(evidence),
        figures=_figures(evidence),
        warnings=_warnings(evidence),
        sections=(
            _methods(evidence),
            Section("frozen", "Frozen", tables=(frozen,))
            if (frozen := frozen_table(evidence))
            else Section("frozen", "Frozen", missing=_not_evaluated(evidence)),
            Section("robustness", "Robustness", tables=(robustness,))
            if robustness
            else Section("robustness", "Robustness", missing=_not_evaluated(evidence, " --robustness")),
            accelerator_section(evidence.simulate, files.root.name),
            cost_section(evidence.cost, _not_run(evidence, "cost")),
            resources_section(evidence.synth, _not_run(evidence, "synth")),
            _left_out(evidence),
            rebuild_section(files, recipe, evidence.steps),
        ),
    )
    return write_page(files, page)


def _not_run(evidence: ChainEvidence, step: str) -> str:
    if step in evidence.failed:
        return f"{step} failed: {evidence.failed[step]}"
    return f"Nothing to show: lutra {step} {evidence.files.root.name} has not run, or no method fits the accelerator"


def _not_evaluated(evidence: ChainEvidence, option: str = "") -> str:
    if "evaluate" in evidence.failed:
        return f"evaluate failed: {evidence.failed['evaluate']}"
    return f"Not run: lutra evaluate {evidence.files.root.name}{option}"


def _warnings(evidence: ChainEvidence) -> tuple[str, ...]:
    failed = (f"{name} failed: {reason}" for name, reason in evidence.failed.items() if name != "report")
    waiting = (f"Not trained to the end yet: {', '.join(evidence.waiting)}.",) if evidence.waiting else ()
    return (*failed, *waiting)


def _final(evidence: ChainEvidence) -> tuple[str, dict[str, Any]] | None:
    """The last method of the recipe that is finished."""
    return next(
        ((name, evidence.stages[name]) for name in reversed(evidence.recipe.methods) if name in evidence.stages), None
    )


def _result(evidence: ChainEvidence) -> str:
    final = _final(evidence)
    if final is None:
        return "No stage of this run is finished yet."
    name, result = final
    metric = METRICS[result["metric"]]
    text = f"{name} reaches {result['best_score']:.1f} points of {metric} on {evidence.recipe.task}"
    full = evidence.stages.get("full")
    if full is None or name == "full":
        return f"{text}."
    ours, float_size = (size_mib(BertConfig.model_validate(each["bert"])) for each in (result, full))
    return f"{text} in {ours:.1f} MiB; the float model reaches {full['best_score']:.1f} in {float_size:.1f} MiB."


def _figures(evidence: ChainEvidence) -> tuple[Figure, ...]:
    final = _final(evidence)
    if final is None:
        return ()
    name, result = final
    config = BertConfig.model_validate(result["bert"])
    return (
        Figure(name, number(result["best_score"], 1), METRICS[result["metric"]]),
        Figure("Size", number(size_mib(config), 1), "MiB, all parts counted"),
        Figure("FLOPs", number(flops(config).total / 1e9, 2), "G for 128 tokens, m × n bits count m n / 64"),
    )


def _methods(evidence: ChainEvidence) -> Section:
    drawn = bool(evidence.stages)
    examples = (evidence.evaluate or {}).get("dev_examples", {})
    sizes = "; ".join(f"{split}: {count(number_of)} examples" for split, number_of in examples.items())
    return Section(
        key="methods",
        title="The methods",
        paragraphs=(
            "Every stage starts from the best weights of the one before it. A split model computes before training "
            "what the ternary one computes, so its first column is the ternary model's best.",
        ),
        missing="" if drawn else f"Not run yet: lutra train {evidence.files.root.name}",
        wide=methods_picture(evidence) if drawn else "",
        narrow=methods_picture(evidence, narrow=True) if drawn else "",
        caption="Score on the development set: circle before training, bar's end after it (best weights). " + sizes,
        tables=(methods_table(evidence),) if drawn else (),
    )


def methods_picture(evidence: ChainEvidence, narrow: bool = False) -> str:
    """Scores of the stages, one bar each from the score before training to the best one."""
    stages = evidence.stages
    with plotting(f"lutra-methods-{narrow}"):
        from matplotlib import pyplot

        size = (4.0, 0.6 + 0.34 * len(stages)) if narrow else (8.0, 0.6 + 0.3 * len(stages))
        figure, axes = pyplot.subplots(figsize=size, layout="constrained")
        axes.grid(axis="x")
        axes.set_xlabel(f"{METRICS[next(iter(stages.values()))['metric']]} (points)")
        for place, result in enumerate(stages.values()):
            quantised = BertConfig.model_validate(result["bert"]).quantisation.method != "full"
            colour = PLOT_COLOURS["ours" if quantised else "mlp"]
            begin, end = result["start_score"], result["best_score"]
            axes.plot([begin, end], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
            axes.plot([begin], [place], "o", color=colour, markersize=5, markerfacecolor="none")
            axes.annotate(
                f"{end:.1f}",
                (max(begin, end), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=colour,
                annotation_clip=False,
            )
        axes.set_yticks(range(len(stages)), list(stages))
        axes.invert_yaxis()
        axes.spines["left"].set_visible(False)
        ends = ", ".join(f"{name} {result['best_score']:.1f}" for name, result in stages.items())
        return page_svg(figure, f"Best scores on the development set: {ends}")


def _left_out(evidence: ChainEvidence) -> Section:
    return Section(
        key="left-out",
        title="What these numbers leave out",
        points=(
            "The best weights are chosen on the same development set that the scores are of, as in the papers.",
            f"One training per method, seed {evidence.recipe.seed}; differences between seeds are not shown here.",
            f"The float model is {evidence.recipe.checkpoint}; the papers start from bert-base-uncased.",
            "FLOPs count linear layers and attention products only, a product of m by n bits as m n / 64; softmax, "
            "layer norms and quantisers come on top.",
        ),
    )
