"""Tools on PATH: one that does not answer is passed over with a notice; CXX is read as a shell reads it."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lutra.native import library as native
from lutra.synth.tools import find


def program(folder: Path, name: str, says: str, status: int) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {shlex.quote(says)}\nexit {status}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / name) for name in ("first", "second")))
    return tmp_path


def test_a_broken_yosys_is_passed_over_with_a_notice(path, caplog):
    program(path / "first", "yosys", "not found: libtcl.so", 127)
    program(path / "second", "yosys", "Yosys 0.53 (git)", 0)
    with caplog.at_level(logging.WARNING, "lutra"):
        found = find.native_yosys()
    assert found == find.Tool((str(path / "second" / "yosys"),), "Yosys 0.53")
    assert "status 127, not found: libtcl.so" in caplog.text and "passed over" in caplog.text


def test_no_yosys_that_answers(path, monkeypatch):
    program(path / "first", "yosys", "hello", 0)
    monkeypatch.setattr(find, "_YOWASP_COMMAND", (sys.executable, "-c", "import sys; sys.exit(3)"))
    assert find.native_yosys() is None and find.fpga_yosys() is None


def test_a_packaged_tool_is_started_first_by_one_process_alone(path, monkeypatch):
    here = path / "somebody is here"
    once = f"import os, time; os.mkdir({str(here)!r}); time.sleep(0.3); os.rmdir({str(here)!r}); print('Yosys 0.70')"
    ask = f"from lutra.synth.tools import find; find._YOWASP_COMMAND = {(sys.executable, '-c', once)!r}; "
    ask += "print(find.fpga_yosys().name)"
    monkeypatch.setenv("LUTRA_CACHE", str(path / "cache"))
    asked = [subprocess.Popen([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in asked] == ["Yosys 0.70\n"] * 3


def test_a_compiler_with_arguments(path, monkeypatch):
    program(path / "first", "g++", "g++ 13", 0)
    monkeypatch.setenv("CXX", "g++ -m64 '-DA=b c'")
    assert native.compiler() == (str(path / "first" / "g++"), "-m64", "-DA=b c")
    monkeypatch.setenv("CXX", " ")
    assert native.compiler() == (str(path / "first" / "g++"),)
    monkeypatch.setenv("CXX", "g++ 'open")
    assert native.compiler() is None
