"""What the commands share: an error is one line and an exit status, progress goes to stderr, results to stdout."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

import typer
from typer.core import TyperCommand

from lutra import children, settings
from lutra.errors import InputError, LutraError, MismatchError
from lutra.escape import visible

if TYPE_CHECKING:
    from lutra.recipes.sections import Experiment
    from lutra.report.tables import Table
    from lutra.runs.files import RunFiles

P = ParamSpec("P")


def command(
    group: typer.Typer, name: str | None = None, kind: type[TyperCommand] | None = None
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command, of a `kind` of its own, whose errors become one line on stderr and an exit status."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                with children.ending_cleanly():
                    function(*args, **kwargs)
            except LutraError as error:
                _fail(str(error), error.exit_status)
            except KeyboardInterrupt:
                _fail("interrupted; the same command goes on where it stopped", 130)
            except (typer.Exit, BrokenPipeError):
                raise
            except Exception as error:
                if settings.DEBUG.text:
                    traceback.print_exc()
                _fail(f"{type(error).__name__}: {error} (unexpected; LUTRA_DEBUG=1 shows where)", 1)

        return group.command(name, cls=kind)(guarded)

    return register


def _fail(message: str, status: int) -> None:
    print("lutra: " + visible(" ".join(message.split())), file=sys.stderr)
    raise typer.Exit(status)


class _Visible(logging.Formatter):
    """Messages hold names and words from files and tools; none of them gets hold of the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n\t")


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Send progress to stderr; stdout is for results, whatever a step or a tool in it prints."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Visible("%(message)s"))
    logger = logging.getLogger("lutra")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.removeHandler(handler)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, allow_nan=False))


def print_table(table: Table) -> None:
    from lutra.cli.grid import output_width, render

    print(render(table, output_width()))


def print_summary(files: RunFiles, recipe: Experiment, step: str = "run") -> None:
    """The tables that a step, or a whole run, has numbers for."""
    from lutra.recipes.kinds import kind_of

    kind = kind_of(recipe)
    for table in kind.call(kind.tables, files, recipe, step):
        print_table(table)


def check_simulation(name: str, result: dict[str, Any]) -> None:
    """A mismatch must fail the command even when the step only recorded it."""
    if name == "simulate" and (result.get("mismatches") or result.get("cycles_match") is False):
        raise MismatchError("simulate: the RTL differs from the frozen model or from the schedule; see simulate.json")


def fold_factor(text: str) -> int | Literal["all"]:
    """The fold factor that an option --fold names."""
    if text == "all":
        return "all"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise InputError(f'--fold {text}: write an integer from 1, or "all"')
