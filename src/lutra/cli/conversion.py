"""Commands on models of others: what a conversion would replace, and the conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lutra.cli.app import JsonOption, MaxMinutesOption, SetOption, app
from lutra.cli.console import check_simulation, command, print_json, print_summary, working
from lutra.errors import InputError


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
    set_: SetOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="STEP",
            help="Last step to run: plan, fit, heal, baselines, freeze, evaluate, rtl, simulate, synth, cost, report.",
            show_default=False,
        ),
    ] = None,
    max_minutes: MaxMinutesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Convert an existing model: plan, fit, heal, baselines, freeze, evaluate, rtl, simulate, synth; resumable."""
    from lutra.names import file_name_of
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
        name = file_name_of(Path(model).name, "model")
        source = str(Path(model).resolve()) if Path(model).exists() else model
        tree: dict[str, Any] = {"name": name, "source": {"model": source}, "data": {"text": str(data.resolve())}}
        for each in set_ or []:
            apply_override(tree, each, ConvertRecipe)
        recipe = validate(ConvertRecipe, tree, "lutra convert")
    files = open_run(recipe, out or Path("runs") / recipe.name)
    with working():
        steps = run_steps(files, recipe, last=to, max_minutes=max_minutes)
    if as_json:
        from lutra.report.record import summarise

        print_json({"run": str(files.root), "steps": steps, "summary": summarise(files, recipe)})
    else:
        print_summary(files, recipe)
    check_simulation("simulate", steps.get("simulate", {}))
