"""`lutra explore`: its options, and what it does for either kind of space."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

from lutra.cli.console import print_json, print_table, working
from lutra.errors import InputError

if TYPE_CHECKING:
    from lutra.explore.space import Plan


class ExploreCommand(TyperCommand):
    """The command `explore`: `--ray` with or without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_address(args))


def with_address(arguments: list[str]) -> list[str]:
    """The arguments with `--ray auto` for a `--ray` that no address follows."""
    from lutra.explore.ray_jobs import ADDRESS

    found = []
    for place, argument in enumerate(arguments):
        found.append(argument)
        if argument == "--ray" and not any(ADDRESS.fullmatch(each) for each in arguments[place + 1 : place + 2]):
            found.append("auto")
    return found


def explore_trainings(plan: Plan, out: Path | None, jobs: int | None, **options: Any) -> dict[str, Any]:
    """Run an exploration of trainings, on a cluster with the option `ray`; the record."""
    from lutra.explore.ray_jobs import connected
    from lutra.explore.sweep import explore

    folder, ray = out or Path("runs") / plan.space.name, options.pop("ray")
    with working():
        if ray is None:
            return explore(plan, folder, jobs or os.cpu_count() or 1, **options)
        with connected(ray, folder) as cluster:
            return explore(plan, folder, jobs or cluster.cpus, **options, runner=cluster)


def explores_hardware(space: Path) -> bool:
    """Whether a space file, or the folder of an exploration, is one of hardware."""
    from lutra.explore.hardware.record import is_hardware_exploration
    from lutra.explore.hardware.space import is_hardware_space

    return is_hardware_exploration(space) if space.is_dir() else is_hardware_space(space)


def explore_hardware(space: Path, out: Path | None, as_json: bool, of_trainings: dict[str, bool]) -> None:
    """Search and print, or print again; `of_trainings` says which options were given that only trainings have.

    Raises:
        InputError: one of them was.
    """
    from lutra.explore.hardware import verbs
    from lutra.explore.hardware.tables import hardware_tables, in_words

    for option in (option for option, given in of_trainings.items() if given):
        raise InputError(f"{option}: only for explorations of trainings; {space} is a space of hardware")
    if space.is_dir():
        folder, record = space, verbs.load_hardware(space)
    else:
        with working():
            folder, record = verbs.explore_hardware(space, out)
    if as_json:
        print_json(record)
        return
    for table in hardware_tables(record):
        print_table(table)
    for sentence in in_words(record):
        print(sentence)
    print(f"page: {folder / verbs.PAGE_NAME}")
