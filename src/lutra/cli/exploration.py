"""`lutra explore` for a space of hardware."""

from __future__ import annotations

from pathlib import Path

from lutra.cli.console import print_json, print_table, working
from lutra.errors import InputError


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
