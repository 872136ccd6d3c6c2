"""The command line's frame: the commands register themselves with `app`; options that several of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lutra.settings import SETTINGS
from lutra.version import __version__

STEPS = "train, baselines, freeze, evaluate, rtl, simulate, synth, cost, report"
"""Of the longest kinds of runs; a test compares."""
TABLES = (
    "quweit-1, quweit-fig1, quweit-2, quweit-3, quweit-4, quweit-4-model, quweit-4-machine, bmt-4, bmt-5, bmt-6, "
    "bmt-6-modules, bmt-fig10, bmt-fig11, bmt-fig12"
)
FRESH_TABLES = "quweit-3, quweit-4, quweit-4-machine, bmt-6, bmt-6-modules, bmt-fig10, bmt-fig11"

app = typer.Typer(
    help="Transformers without multipliers, from PyTorch to verified hardware.",
    epilog="Environment variables: " + "; ".join(f"{each.name}: {each.decides}" for each in SETTINGS) + ".",
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
    float | None,
    typer.Option(
        min=0,
        help="Stop training after this time, with a checkpoint and exit status 1; the same command goes on.",
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the recipe; repeatable. KEY is a path such as train.iterations, in lists with numbers "
        "from 0 as in block.lut_layers.0.luts; VALUE is TOML, a bare word is text.",
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lutra {__version__}")
        raise typer.Exit


def _print_completion(context: typer.Context, shell: Literal["bash", "zsh"] | None) -> None:
    if shell:
        from lutra.cli.completion import script

        print(script(shell, context.find_root().command, STEPS.split(", "), TABLES.split(", ")), end="")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    completion: Annotated[
        Literal["bash", "zsh"] | None,
        typer.Option(
            "--print-completion",
            callback=_print_completion,
            is_eager=True,
            help="Print what completes this command in a shell; the shell reads it once.",
            show_default=False,
        ),
    ] = None,
) -> None:
    pass
