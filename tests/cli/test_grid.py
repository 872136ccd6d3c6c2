"""Tables never cut a number, whatever the width; every option says what it needs to say."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fabricated_run import make_finished_run
from lutra.cli import app as frame
from lutra.cli.commands import app
from lutra.cli.grid import render
from lutra.papers.catalogue import TABLES, table
from lutra.papers.records import RECORDED, Records
from lutra.recipes.kinds import LANGUAGE, VISION, load_any_recipe
from lutra.report.tables import Table, summary_tables
from lutra.runs.claim import save_recipe
from lutra.settings import SETTINGS
from lutra.version import __version__
from tiny_training import tiny_recipe

WIDTHS = (40, *(pytest.param(width, marks=pytest.mark.slow) for width in (60, 80)), None)
CELL = st.text(st.sampled_from("ab 1,.5–µ²\u4e00"), max_size=40)


def words(table: Table) -> list[str]:
    return sorted(
        word for row in (table.header[1:], *(row[1:] for row in table.rows)) for c in row for word in c.split()
    )


def shown(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_word_of_real_tables_is_whole_and_lines_fit(tmp_path, width):
    files, recipe = make_finished_run(tmp_path / "run")
    tables = [*summary_tables(files, recipe), *summary_tables(files, recipe, "synth")]
    tables += [table(name, Records(RECORDED)).to_table() for name in TABLES]
    assert len(tables) > 8
    for each in tables:
        text = render(each, width)
        found = shown(text)
        for word in words(each):
            found.remove(word)
        for line in text.splitlines():
            assert width is None or len(line) <= width or len(line.split()) <= 2, line
        numbers = re.findall(r"\d[\d,.]*\d", " ".join(words(each)))
        assert numbers
    if width is None:
        assert len(render(tables[1], None).splitlines()) == 2 + 1 + len(tables[1].rows)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=5), st.integers(1, 120))
def test_nothing_is_lost_at_any_width(rows, width):
    each = Table("title", tuple(rows[0]), tuple(map(tuple, rows[1:])))
    found = shown(render(each, width))
    for word in words(each):
        found.remove(word)


def lutra(*arguments, **environment):
    command = [sys.executable, "-m", "lutra", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment})


def test_pipes_get_the_full_width_and_streams_without_utf_8_get_the_numbers():
    ran = lutra("table", "bmt-4", PYTHONIOENCODING="ascii", COLUMNS="")
    assert ran.returncode == 0 and ran.stdout.isascii()
    rows = [row for row in table("bmt-4", Records()).rows if row.ours is not None]
    lines = ran.stdout.decode()
    assert rows and all(f"{row.ours:.4g}" in lines for row in rows)
    assert max(map(len, lines.splitlines())) > 80


def test_the_version():
    ran = CliRunner().invoke(app, ["--version"])
    assert ran.exit_code == 0 and ran.stdout == f"lutra {__version__}\n"


def test_help_says_what_there_is():
    names = ", ".join(step.name for step in LANGUAGE.steps)
    assert names == frame.STEPS == ", ".join(step.name for step in VISION.steps)
    assert ", ".join(TABLES) == frame.TABLES
    assert ", ".join(name for name, entry in TABLES.items() if entry.experiments) == frame.FRESH_TABLES

    def help_of(*command: str) -> str:
        ran = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "500", "TERMINAL_WIDTH": "500"})
        return " ".join(ran.output.split())

    assert all(setting.name in help_of() for setting in SETTINGS)
    assert names in help_of("run") and "VALUE is TOML" in help_of("run") and "block.lut_layers.0.luts" in help_of("run")
    assert frame.TABLES in help_of("table") and frame.FRESH_TABLES in help_of("table")
    assert "default golden" in help_of("evaluate") and "LUTRA_LIBERTY" in help_of("synth")
    assert "hardware.rows" in help_of("simulate") and "hardware.fold_factors" in help_of("simulate")
    assert "exit status 1" in help_of("train") and "--set" in help_of("explore")
    assert all("--into" in help_of("results", each) for each in ("add", "list"))


def test_a_list_that_a_recipe_does_not_spell_out_can_be_changed(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text('name = "short"\n')
    changed = load_any_recipe(path, ["block.lut_layers.0.luts=2D", "hardware.fold_factors.1=8"])
    assert [layer.luts for layer in changed.block.lut_layers] == ["2D"]
    assert changed.hardware.fold_factors[1] == 8
    assert load_any_recipe(path).block.lut_layers[0].luts != "2D"


def test_an_exploration_takes_changes(tmp_path):
    from lutra.explore.space import load_space

    save_recipe(tiny_recipe("weightless"), tmp_path / "tiny.toml")
    path = tmp_path / "space.toml"
    path.write_text('name = "s"\nbase = "tiny.toml"\nseeds = [1]\n[[variant]]\nname = "a"\n')
    plan = load_space(path, ["train.iterations=5"])
    assert plan.recipe(plan.variants[0], 1, None).train.iterations == 5


def test_a_stream_that_is_no_text_is_left_alone(monkeypatch):
    from lutra.cli import commands

    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "argv", ["lutra", "--version"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert not ended.value.code
