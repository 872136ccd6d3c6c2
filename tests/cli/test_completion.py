"""What the shells offer: the printed script, run by the shell that reads it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from lutra.cli.commands import app
from lutra.papers.catalogue import TABLES

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")


def script(shell: str) -> str:
    printed = CliRunner().invoke(app, ["--print-completion", shell])
    assert printed.exit_code == 0
    return printed.stdout


def offered(*words: str) -> list[str]:
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    press = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _lutra"
    source = f"{script('bash')}\n{press}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    ran = subprocess.run(["bash", "-u", "-c", source], capture_output=True, text=True)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr
    return ran.stdout.split()


def test_bash_completes_commands_options_and_names():
    assert offered("lutra", "sim") == ["simulate"]
    assert {"run", "train", "explore", "table", "results"} <= set(offered("lutra", ""))
    assert set(offered("lutra", "--")) == {"--version", "--print-completion", "--help"}
    assert offered("lutra", "run", "r.toml", "--o") == ["--out"]
    assert offered("lutra", "results", "") == ["add", "list"]
    assert set(offered("lutra", "table", "")) == set(TABLES)
    assert offered("lutra", "run", "r.toml", "--from", "sy") == ["synth"]
    assert {"torch", "golden", "runtime"} <= set(offered("lutra", "generate", "runs/a", "--engine", ""))


def test_where_nothing_of_ours_fits_files_are_left_to_the_shell():
    assert offered("lutra", "run", "") == []
    assert "complete -o default -F _lutra lutra" in script("bash")


def test_the_script_for_zsh_is_that_of_bash_in_its_emulation():
    head, _, rest = script("zsh").partition("\n")
    assert "bashcompinit" in head and rest == script("bash")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_zsh_reads_its_script():
    source = f"autoload -U compinit; compinit -u\n{script('zsh')}"
    ran = subprocess.run(["zsh", "-f", "-c", source], capture_output=True)
    assert ran.returncode == 0 and not ran.stderr


def test_another_shell_is_refused():
    assert CliRunner().invoke(app, ["--print-completion", "tcsh"]).exit_code == 2
