"""The command line: parse, call one function, print.

Results go to stdout (with `--json` nothing but JSON), progress and errors to stderr. Exit status: 0 done, 1 the work
failed, 2 wrong input, 130 interrupted. What needs time to import is imported by the command that needs it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lutra.cli.app import STEPS, JsonOption, MaxMinutesOption, RunArgument, SetOption, app
from lutra.cli.console import check_simulation, command, fold_factor, print_json, print_summary, print_table, working
from lutra.cli.exploration import ExploreCommand, explore_hardware, explore_trainings, explores_hardware
from lutra.errors import InputError, LutraError


def main() -> None:
    """Entry point of the command `lutra`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # where the terminal has no such character
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
        print_summary(files, recipe, name)
    check_simulation(name, result)


@command(app)
def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (TOML).", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Run directory; default runs/NAME.", show_default=False)] = None,
    set_: SetOption = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="STEP", help=f"Run this step and those after it: {STEPS}.", show_default=False),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="STEP", help="Last step to run, one of the same.", show_default=False)
    ] = None,
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
        print_summary(files, loaded)
        if files.report.exists():
            print(f"report: {files.report}")
    check_simulation("simulate", steps.get("simulate", {}))


@command(app)
def train(root: RunArgument, max_minutes: MaxMinutesOption = None, as_json: JsonOption = False) -> None:
    """Train the model of a run, or go on with its training."""
    _run_step(root, "train", as_json, max_minutes=max_minutes)


@command(app)
def evaluate(
    root: RunArgument,
    engine: Annotated[
        Literal["golden", "runtime"] | None,
        typer.Option(help="What computes the frozen model; default golden.", show_default=False),
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
    """Write SystemVerilog, test bench and scripts for the frozen blocks, or the accelerator of a frozen BERT.

    RUN may also be a folder that holds nothing but frozen/, as `lutra.save_frozen` writes it.
    """
    _run_step(root, "rtl", as_json)


@command(app)
def simulate(
    root: RunArgument,
    fold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="F",
            help='Fold factor, an integer or "all"; repeatable; default the recipe\'s hardware.fold_factors.',
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="Input rows per block; default the recipe's hardware.rows.", show_default=False),
    ] = None,
    sentences: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of a BERT: sentences; default the recipe's accelerator.sentences.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate the RTL on real rows or sentences and compare every bit with the frozen model."""
    folds = [fold_factor(text) for text in fold] if fold else None
    _run_step(root, "simulate", as_json, fold_factors=folds, rows=rows, sentences=sentences)


@command(app)
def synth(
    root: RunArgument,
    liberty: Annotated[
        Path | None,
        typer.Option(
            help="Cell library (.lib) for ASIC area, timing and power; default the one that LUTRA_LIBERTY names.",
            show_default=False,
        ),
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
    engine: Annotated[
        Literal["torch", "golden", "runtime", "rtl"],
        typer.Option(help="What computes the model; rtl simulates its hardware, the whole of it."),
    ] = "golden",
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


@command(app, kind=ExploreCommand)
def explore(
    space: Annotated[
        Path,
        typer.Argument(metavar="SPACE", help="A space (TOML), or the folder of an exploration.", show_default=False),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/NAME.", show_default=False)] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at the same time; default one per core.", show_default=False)
    ] = None,
    set_: SetOption = None,
    to: Annotated[
        str, typer.Option(metavar="STEP", help=f"Last step of every run, from evaluate on: {STEPS}.")
    ] = "evaluate",
    max_minutes: MaxMinutesOption = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:PORT]",
            help="Run on the Ray cluster whose head is there; without an address, that of this machine or a new one.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run many variants of a recipe, or search millions of hardware points; a folder prints its table again."""
    if explores_hardware(space):
        given = {"--jobs": jobs is not None, "--to": to != "evaluate", "--max-minutes": max_minutes is not None}
        given |= {"--ray": ray is not None}
        return explore_hardware(space, out, as_json, given)
    from lutra.explore.space import load_space
    from lutra.explore.sweep import load_exploration
    from lutra.explore.table import exploration_tables, failures
    from lutra.recipes.kinds import LANGUAGE

    names = [step.name for step in LANGUAGE.steps]
    possible = names[names.index("evaluate") :]
    if to not in possible:
        raise InputError(f"--to {to}: an exploration needs the losses; the steps are {', '.join(possible)}")
    if space.is_dir():
        for option in (name for name, value in (("--set", set_), ("--ray", ray)) if value):
            raise InputError(f"{option}: only with a space; the folder of an exploration is shown as it is")
        record, failed = load_exploration(space), []
    else:
        plan = load_space(space, set_)
        record = explore_trainings(plan, out, jobs, last_step=to, max_minutes=max_minutes, ray=ray)
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


from lutra.cli import conversion, products, records  # noqa: E402, F401 - their commands come after these
