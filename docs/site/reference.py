"""The reference pages: the command line from its own help, and the public names of `import lutra` from docstrings."""

from __future__ import annotations

import re
from typing import Any

from typer.main import get_command

import lutra
from lutra.cli.commands import app

PAGES = ("commands.md", "python.md")
ROOMS = {
    "recipes": "Recipes",
    "models": "Find and replace",
    "nn": "Calibrate",
    "train": "Train",
    "freeze": "Freeze",
    "evaluate": "Open a run",
    "frozen": "Store",
    "accelerators": "Hardware",
    "export": "Export",
}
"""Room of a public name -> the title of its section, in the order in which data goes."""
MODULES = ("lutra.frozen.golden", "lutra.frozen.store", "lutra.runtime.engine", "lutra.errors")
"""Modules whose public names users call with a frozen model."""


def pages() -> dict[str, str]:
    return {"commands.md": commands(), "python.md": python()}


def python() -> str:
    """Every public name, by the room that it comes from, then modules as a whole."""
    parts = [
        "# Python",
        "Every name in these sections but the last is an attribute of `lutra`, imported when it is first used.",
    ]
    homes = {name: lutra._HOMES[name] for name in lutra.__all__}
    for room, title in ROOMS.items():
        names = [name for name, home in homes.items() if home.split(".")[1] == room]
        parts += [f"## {title}", *(f"::: {homes.pop(name)}.{name}" for name in names)]
    if homes:
        raise ValueError(f"docs/site/reference.py has no section for {', '.join(homes)}")
    parts.append("## Modules")
    parts += [f"::: {module}\n    options:\n      show_root_full_path: true\n" for module in MODULES]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """Every command with its arguments and options, as `--help` explains them."""
    root: Any = get_command(app)
    parts = ["# Commands", f"{root.help} `lutra COMMAND --help` prints what stands here.", *_parameters(root)]
    for name, command in root.commands.items():
        parts += _command(f"lutra {name}", command)
    return "\n\n".join(part for part in parts if part) + "\n"


def _command(name: str, command: Any) -> list[str]:
    if hasattr(command, "commands"):
        inner = [part for child, each in command.commands.items() for part in _command(f"{name} {child}", each)]
        return [f"## `{name}`", command.help, *inner]
    usage = " ".join(_shown(each) for each in command.params if each.param_type_name == "argument")
    return [f"## `{' '.join([name, usage]).strip()}`", _plain(command.help), *_parameters(command)]


def _parameters(command: Any) -> list[str]:
    """A list of arguments and options; hidden ones and --help are left out."""
    lines = []
    for each in command.params:
        if getattr(each, "hidden", False) or each.name == "help" or not getattr(each, "help", None):
            continue
        argument = each.param_type_name == "argument"
        label = _shown(each) if argument else ", ".join(each.opts)
        default = each.default if isinstance(each.default, str | int | float) and not argument else None
        shown = "" if default is None or isinstance(default, bool) else f" Default: `{default}`."
        lines.append(f"- `{label}`: {_plain(each.help)}{shown}")
    return ["\n".join(lines)]


def _shown(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _plain(text: str) -> str:
    """Help as Markdown takes it: what stands for a name in capitals or with stars is no markup."""
    return re.sub(r"([*_<>\[\]])", r"\\\1", " ".join((text or "").split()))
