"""The command line: parse, call one function, print.

Results go to stdout (with `--json` nothing but JSON), progress and errors to stderr. Exit status: 0 done, 1 the work
failed, 2 wrong input, 130 interrupted. What needs time to import is imported by the command that needs it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lutra.cli.console import command, print_json, print_table, working
from lutra.errors import InputError, LutraError, MismatchError

if TYPE_CHECKING:
    from lutra.recipes.sections import Experiment
    from lutra.runs.files import RunFiles

app = typer.Typer(
    help="Transformers without multipliers, from PyTorch to verified hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
results_app = typer.Typer(help="The record of measured results.", no_args_is_help=True)
app.add_typer(results_app, name="results")

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
MaxMinutesOption = Annotated[
    float | None, typer.Option(min=0, help="Stop training after this time; the same command goes on.")
]


def main() -> None:
    """Entry point of the command `lutra`."""
    app(prog_name="lutra")


def _run_step(root: Path, name: str, as_json: bool, **options: Any) -> None:
    """Run one step and print its result, then the tables that it changed."""
    from lutra.runs.steps import load_run, run_step

    files, recipe = load_run(root)
    with working():
        result = run_step(files, recipe, name, **options)
    if as_json:
        print_json(result)
    else:
        _print_summary(files, recipe, name)
    _check_simulation(name, result)


def _print_summary(files: RunFiles, recipe: Experiment, step: str = "run") -> None:
    """The tables that a step, or a whole run, has numbers for."""
    from lutra.recipes.kinds import kind_of

    kind = kind_of(recipe)
    for table in kind.call(kind.tables, files, recipe, step):
        print_table(table)


def _check_simulation(name: str, result: dict[str, Any]) -> None:
    """A mismatch must fail the command even when the step only recorded it."""
    if name == "simulate" and (result.get("mismatches") or result.get("cycles_match") is False):
        raise MismatchError("simulate: the RTL differs from the frozen model or from the schedule; see simulate.json")


@command(app)
def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (TOML).", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Run directory; default runs/NAME.", show_default=False)] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="Run this step and those after it.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="STEP", help="Last step to run.")] = None,
    max_minutes: MaxMinutesOption = None,
    as_json: JsonOption = False,
) -> None:
    """The main job: train, baselines, freeze, evaluate, rtl, simulate, synth, cost, report (of a BERT: train,
    freeze, evaluate, rtl, simulate, report).

    Steps that are up to date are skipped, so the same command resumes.
    """
    from lutra.recipes.kinds import load_any_recipe
    from lutra.runs.steps import open_run, run_steps

    loaded = load_any_recipe(recipe, set_)
    files = open_run(loaded, out or Path("runs") / loaded.name)
    with working():
        steps = run_steps(files, loaded, first=from_, last=to, max_minutes=max_minutes)
    if as_json:
        from lutra.report.record import summarise

        print_json({"run": str(files.root), "steps": steps, "summary": summarise(files, loaded)})
    else:
        _print_summary(files, loaded)
        if files.report.exists():
            print(f"report: {files.report}")
    _check_simulation("simulate", steps.get("simulate", {}))


@command(app)
def train(root: RunArgument, max_minutes: MaxMinutesOption = None, as_json: JsonOption = False) -> None:
    """Train the model of a run, or go on with its training."""
    _run_step(root, "train", as_json, max_minutes=max_minutes)


@command(app)
def evaluate(
    root: RunArgument,
    engine: Annotated[
        Literal["golden", "runtime"] | None, typer.Option(help="What computes the frozen blocks.", show_default=False)
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Of a BERT: also its robustness to noise on the embeddings.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Loss on the whole validation set: float, fake-quantised and frozen, beside the baselines; scores of a BERT."""
    _run_step(root, "evaluate", as_json, engine=engine, robustness=robustness or None)


@command(app)
def freeze(root: RunArgument, as_json: JsonOption = False) -> None:
    """Turn the trained blocks into integers and store real input rows for the simulation."""
    _run_step(root, "freeze", as_json)


@command(app)
def rtl(root: RunArgument, as_json: JsonOption = False) -> None:
    """Write SystemVerilog, test bench and scripts for the frozen blocks, or the accelerator of a frozen BERT."""
    _run_step(root, "rtl", as_json)


@command(app)
def simulate(
    root: RunArgument,
    fold: Annotated[
        list[str] | None, typer.Option(metavar="F", help='Fold factor, an integer or "all"; repeatable.')
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Input rows per block.", show_default=False)] = None,
    sentences: Annotated[int | None, typer.Option(min=1, help="Of a BERT: sentences.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate the RTL on real rows or sentences and compare every bit with the frozen model."""
    folds = [_fold_factor(text) for text in fold] if fold else None
    _run_step(root, "simulate", as_json, fold_factors=folds, rows=rows, sentences=sentences)


def _fold_factor(text: str) -> int | str:
    if text == "all" or (text.isdecimal() and int(text) > 0):
        return text if text == "all" else int(text)
    raise InputError(f'--fold {text}: write an integer from 1, or "all"')


@command(app)
def synth(
    root: RunArgument,
    liberty: Annotated[
        Path | None, typer.Option(help="Cell library (.lib) for ASIC area, timing and power.", show_default=False)
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Synthesise again what was synthesised before.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Blocks synthesised at the same time; default one per core.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Count LUTs and flip-flops; with a cell library also area, slack and power."""
    if liberty is not None and not liberty.is_file():
        raise InputError(f"--liberty {liberty}: no such file")
    _run_step(root, "synth", as_json, liberty=liberty, fresh=fresh, jobs=jobs)


@command(app)
def cost(root: RunArgument, as_json: JsonOption = False) -> None:
    """Cycles and energy per token and per sequence, beside an MLP on a systolic array."""
    _run_step(root, "cost", as_json)


@command(app)
def report(root: RunArgument, as_json: JsonOption = False) -> None:
    """Write report.html, one self-contained page."""
    _run_step(root, "report", as_json)
    if not as_json:
        from lutra.runs.files import RunFiles

        print(f"report: {RunFiles(root).report}")


@command(app)
def generate(
    root: RunArgument,
    prompt: Annotated[str, typer.Option(help="Text to go on from.", show_default=False)],
    characters: Annotated[int, typer.Option(min=1, help="Characters to write.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest character.")] = 0.8,
    engine: Annotated[Literal["torch", "golden", "runtime"], typer.Option(help="What computes the blocks.")] = "golden",
    as_json: JsonOption = False,
) -> None:
    """Text from the trained language model."""
    from lutra.recipes.kinds import kind_of
    from lutra.runs.steps import load_run

    files, recipe = load_run(root)
    kind = kind_of(recipe)
    if kind.generate is None:
        raise InputError(f"{root}: a run of kind {recipe.kind}; only a language model writes text")
    with working():
        text = kind.call(kind.generate, files, recipe, prompt, characters, seed, temperature, engine)
    if as_json:
        print_json({"prompt": prompt, "text": text, "engine": engine, "seed": seed, "temperature": temperature})
    else:
        print(text)


@command(app)
def explore(
    space: Annotated[
        Path,
        typer.Argument(metavar="SPACE", help="A space (TOML), or the folder of an exploration.", show_default=False),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/NAME.", show_default=False)] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at the same time; default one per core.", show_default=False)
    ] = None,
    to: Annotated[str, typer.Option(metavar="STEP", help="Last step of every run.")] = "evaluate",
    max_minutes: MaxMinutesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run many variants of a recipe, or search millions of hardware points; a folder prints its table again."""
    from lutra.cli.exploration import explore_hardware, explores_hardware

    if explores_hardware(space):
        given = {"--jobs": jobs is not None, "--to": to != "evaluate", "--max-minutes": max_minutes is not None}
        return explore_hardware(space, out, as_json, given)
    from lutra.explore.space import load_space
    from lutra.explore.sweep import explore as explore_space
    from lutra.explore.sweep import load_exploration
    from lutra.explore.table import exploration_tables, failures
    from lutra.recipes.kinds import LANGUAGE

    names = [step.name for step in LANGUAGE.steps]
    possible = names[names.index("evaluate") :]
    if to not in possible:
        raise InputError(f"--to {to}: an exploration needs the losses; the steps are {', '.join(possible)}")
    if space.is_dir():
        record, failed = load_exploration(space), []
    else:
        plan = load_space(space)
        with working():
            folder, parallel = out or Path("runs") / plan.space.name, jobs or os.cpu_count() or 1
            record = explore_space(plan, folder, parallel, to, max_minutes=max_minutes)
        failed = failures(record)
    if as_json:
        print_json(record)
    else:
        for content in exploration_tables(record):
            print_table(content)
    if failed:
        first = failed[0]
        raise LutraError(
            f"{len(failed)} of {len(record['runs']) + len(record['baselines'])} runs failed, the first {first['run']}: "
            f"{first['error']}; the same command tries them again"
        )


@command(app)
def table(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A table of the papers.", show_default=False)],
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown for a document.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="quweit-1 for your model: its Hugging Face config.json.", show_default=False),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Sequence length with --config; default its longest.", show_default=False)
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw a figure of the papers into this SVG file.", show_default=False)
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run the syntheses behind the table again; resumable.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of your own records: --fresh writes there, by default to ./results, and the table takes them "
            "before those that come with Lutra.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Syntheses at the same time.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """A table of the papers: the paper's value, ours, and a remark."""
    from lutra.papers.verbs import draw_table, recorded_table, synthesise_again, workload_table

    if tokens is not None and config is None:
        raise InputError("--tokens: only with --config, whose sequence it shortens")
    if config is not None and (fresh or out):
        raise InputError(
            "--config: the table of a model's workload rests on no synthesis; leave --fresh and --out away"
        )
    if figure is not None:
        draw_table(name, figure, out)
    if fresh:
        out = out or Path("results")
        with working():
            for path in synthesise_again(name, out, jobs):
                print(f"recorded: {path}")
    content = recorded_table(name, out) if config is None else workload_table(name, config, tokens)
    if as_json:
        print_json(content.to_json())
    elif markdown:
        print(content.to_markdown())
    else:
        import rich
        from rich.markdown import Markdown

        rich.print(Markdown(content.to_markdown()))


@command(app)
def doctor(as_json: JsonOption = False) -> None:
    """What is installed, in which version, and what each missing tool costs you."""
    from lutra.cli.doctor import diagnose

    found = diagnose()
    if as_json:
        print_json(found)
    else:
        from lutra.report.tables import doctor_table, settings_table

        print_table(doctor_table(found))
        print_table(settings_table(found))
        for tool in found["tools"]:
            if not tool["version"]:
                print(f"Without {tool['name']}: {tool['without_it']}. Install: {tool['install']}")
    if not found["main_job_runs"]:
        missing = [tool["name"] for tool in found["tools"] if tool["needed"] and not tool["version"]]
        raise LutraError(f"`lutra run` cannot work without {', '.join(missing)}")


@command(results_app, "add")
def results_add(
    root: RunArgument,
    into: Annotated[Path, typer.Option(help="Folder of the record.")] = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Add what a run or an exploration measured to the record: one JSON file per recipe or space."""
    from lutra.report.record import EXPLORATION_FILE, add_exploration, add_result
    from lutra.runs.steps import load_run

    if (root / EXPLORATION_FILE).exists():
        path = add_exploration(root, into)
        print_json({"file": str(path)}) if as_json else print(f"{path}: exploration recorded")
        return
    files, recipe = load_run(root)
    path, entry = add_result(files, recipe, into)
    if as_json:
        print_json({"file": str(path), **entry})
    else:
        print(f"{path}: seed {recipe.seed} recorded")


@command(results_app, "list")
def results_list(
    of: Annotated[Path, typer.Option("--from", help="Folder of the record.")] = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Every recorded result, one line each."""
    from lutra.recipes.kinds import KINDS
    from lutra.report.record import list_results

    recorded = list_results(of)
    if as_json:
        print_json([entry for entries in recorded.values() for entry in entries])
        return
    for name, entries in recorded.items():
        if entries:
            kind = KINDS[name]
            print_table(kind.call(kind.results_table, entries))


@command(app)
def plan(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A hub name or folder of Hugging Face, timm:NAME, or package.module:function.",
            show_default=False,
        ),
    ],
    tokens: Annotated[int, typer.Option(min=2, help="Tokens per row of the example.")] = 16,
    include: Annotated[
        list[str] | None, typer.Option(help="Convert this path too (or re:EXPRESSION); repeatable.", show_default=False)
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave this path alone (or re:EXPRESSION); repeatable.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a conversion of a model would replace, what not and why, and the share of weights that would stay dense."""
    from lutra.models.convert.find import find_mlps
    from lutra.models.sources import load_structure

    with working():
        loaded, (args, kwargs) = load_structure(model, tokens)
        found = find_mlps(loaded, *args, include=include or (), exclude=exclude or (), strict=False, **kwargs)
    print_json(found.to_json()) if as_json else print(found)


@command(app)
def convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A Hugging Face text model, or a recipe of kind convert.", show_default=False
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Text to heal on, one per line; not with a recipe.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; default runs/NAME.", show_default=False)] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="STEP", help="Last step to run.")] = None,
    max_minutes: MaxMinutesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Convert an existing model: plan, fit, heal, baselines, freeze, evaluate, rtl, simulate, synth; resumable."""
    from lutra.recipes.convert import ConvertRecipe
    from lutra.recipes.kinds import load_any_recipe
    from lutra.recipes.sections import apply_override, validate
    from lutra.runs.steps import open_run, run_steps

    if model.endswith(".toml"):
        if data is not None:
            raise InputError("--data: a recipe names its text itself; change it with --set data.text=FILE")
        recipe = load_any_recipe(Path(model), set_)
        if not isinstance(recipe, ConvertRecipe):
            raise InputError(f"{model}: a recipe of kind {recipe.kind}; use `lutra run`")
    else:
        if data is None:
            raise InputError("--data FILE: text to heal on, one text per line")
        name = "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(model).name).strip("-._") or "model"
        source = str(Path(model).resolve()) if Path(model).exists() else model
        tree: dict[str, Any] = {"name": name, "source": {"model": source}, "data": {"text": str(data.resolve())}}
        for each in set_ or []:
            apply_override(tree, each)
        recipe = validate(ConvertRecipe, tree, "lutra convert")
    files = open_run(recipe, out or Path("runs") / recipe.name)
    with working():
        steps = run_steps(files, recipe, last=to, max_minutes=max_minutes)
    if as_json:
        from lutra.report.record import summarise

        print_json({"run": str(files.root), "steps": steps, "summary": summarise(files, recipe)})
    else:
        _print_summary(files, recipe)
    _check_simulation("simulate", steps.get("simulate", {}))
