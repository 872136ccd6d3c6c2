"""Commands on what was measured: the papers' tables, the record, what of a run can be trusted, what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutra.cli.app import FRESH_TABLES, TABLES, JsonOption, RunArgument, app, results_app
from lutra.cli.console import command, print_json, print_table, working
from lutra.errors import InputError, LutraError
from lutra.escape import visible

RecordOption = Annotated[
    Path, typer.Option("--into", "--record", "--from", help="Folder of the record, the same for add and list.")
]


@command(app)
def table(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"A table of the papers: {TABLES}.", show_default=False)],
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
        bool,
        typer.Option(
            "--fresh", help=f"Run the syntheses or simulations behind the table again; resumable. Of {FRESH_TABLES}."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of your own records: --fresh writes there, by default to ./results, and the table takes them "
            "before those that come with Lutra.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Syntheses or simulations at the same time, with --fresh.")] = 1,
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
        print_table(content.to_table())
        for note in content.notes:
            print(f"- {visible(note)}")


@command(app)
def verify(
    root: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run directory, an IP core, or a folder with a frozen model.", show_default=False
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """What can be trusted of a run or a frozen model from somebody else; nothing of it is run."""
    from lutra.report.trust.verify import table as findings_table
    from lutra.report.trust.verify import verify as look_at

    with working():
        findings = look_at(root)
    if as_json:
        print_json({"path": str(root), "findings": [each.to_json() for each in findings]})
    else:
        print_table(findings_table(findings))
    wrong = [each for each in findings if each.verdict == "FAILS"]
    if wrong:
        raise LutraError(
            f"{root}: {len(wrong)} of {len(findings)} checks fail, the first: {wrong[0].subject}: {wrong[0].what}"
        )


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
    into: RecordOption = Path("results"),
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
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            "--record",
            "--from",
            help="Folder of the record; default ./results where there is one, and what comes with Lutra.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Every recorded result, one line each."""
    from lutra.papers.records import RECORDED
    from lutra.recipes.kinds import KINDS
    from lutra.report.record import list_results

    own = Path("results")
    folders = [into] if into else [*([own] if own.is_dir() else []), RECORDED]
    found = [list_results(folder) for folder in folders]
    recorded = {name: [entry for each in found for entry in each[name]] for name in KINDS}
    if as_json:
        print_json([entry for entries in recorded.values() for entry in entries])
        return
    for name, entries in recorded.items():
        if entries:
            kind = KINDS[name]
            print_table(kind.call(kind.results_table, entries))
