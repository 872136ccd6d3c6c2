"""A script with which a shell completes commands, options and names; printed once, so that a key starts nothing."""

from __future__ import annotations

from typing import Any, Literal

Shell = Literal["bash", "zsh"]

_STEP_OPTIONS = {"run": ("--from", "--to"), "explore": ("--to",)}
"""Options whose value is a step."""
_BASH = """_lutra() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" options="" names=""
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then options="{options}" names="{commands}"; fi
    case "$current" in -*) names="$options" ;; esac
    COMPREPLY=($(compgen -W "$names" -- "$current"))
}}
complete -o default -F _lutra lutra
"""


def script(shell: Shell, root: Any, steps: list[str], tables: list[str]) -> str:
    """What the shell has to read once; where it offers nothing of ours, it completes files.

    `root` is the group of all commands; `steps` and `tables` are the words for options and arguments that take them.
    """
    cases = []
    for name, command in root.commands.items():
        inner = getattr(command, "commands", {})
        below = [option for each in inner.values() for option in _options(each)] if inner else _options(command)
        cases.append(
            f"        {name}) options={_quoted(below)} names={_quoted(tables if name == 'table' else list(inner))}"
        )
        for option, values in _values(name, command, steps):
            cases.append(f'            case "$previous" in {option}) names={_quoted(values)} ;; esac')
        cases[-1] += " ;;"
    bash = _BASH.format(cases="\n".join(cases), options=" ".join(_options(root)), commands=" ".join(root.commands))
    return bash if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{bash}"


def _quoted(words: list[str]) -> str:
    return '"' + " ".join(dict.fromkeys(words)) + '"'


def _options(command: Any) -> list[str]:
    return [name for each in command.params for name in (*each.opts, *each.secondary_opts) if name.startswith("--")] + [
        "--help"
    ]


def _values(name: str, command: Any, steps: list[str]) -> list[tuple[str, list[str]]]:
    """Options that take one of a few words, with these words."""
    found = [(option, steps) for option in _STEP_OPTIONS.get(name, ())]
    for each in command.params:
        of_typer, of_click = getattr(each, "type_descriptor", None), getattr(each, "type", None)
        choices = getattr(of_typer, "choices", None) or getattr(of_click, "choices", None)
        if choices and each.param_type_name == "option":
            found += [(option, [str(choice) for choice in choices]) for option in each.opts]
    return found
