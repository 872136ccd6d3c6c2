"""Where compiled code is kept: without a home, with ~, with an empty variable, and never where others can write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lutra.errors import ToolError
from lutra.hardware.bench import verilator
from lutra.native import library as native

SOURCE = 'extern "C" __attribute__((visibility("default"))) int answer() { return 42; }\n'


def cache_of(**environment: str | None) -> subprocess.CompletedProcess:
    """What a fresh process, of a user whom no table knows, takes as the folder."""
    code = (
        "import pathlib, logging\nlogging.basicConfig()\n"
        "import os, pwd\ndef unknown(uid): raise KeyError(uid)\npwd.getpwuid = unknown\n"
        "from lutra.native.library import cache_folder\nprint(cache_folder())\n"
    )
    given = {**os.environ, **{name: value for name, value in environment.items() if value is not None}}
    for name, value in environment.items():
        if value is None:
            given.pop(name, None)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=given)


def test_without_a_home(tmp_path):
    ran = cache_of(HOME=None, LUTRA_CACHE=str(tmp_path))
    assert ran.stdout.strip() == str(tmp_path) and not ran.stderr
    ran = cache_of(HOME=None, LUTRA_CACHE=None, TMPDIR=str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).parent == tmp_path and "set LUTRA_CACHE to keep it" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_tilde_and_an_empty_variable(tmp_path):
    assert cache_of(HOME=str(tmp_path), LUTRA_CACHE="~/c").stdout.strip() == str(tmp_path / "c")
    assert cache_of(HOME=str(tmp_path), LUTRA_CACHE="").stdout.strip() == str(tmp_path / ".cache" / "lutra")


def test_nothing_is_loaded_from_where_others_can_write(tmp_path, monkeypatch):
    source, cache = tmp_path / "answer.cpp", tmp_path / "cache"
    source.write_text(SOURCE)
    monkeypatch.setenv("LUTRA_CACHE", str(cache))
    assert native.load_library("answer", [source], []).answer() == 42
    (library,) = cache.glob("*.so")
    for path in (library, cache):
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        with pytest.raises(ToolError, match="others may write to it"):
            native.load_library("answer", [source], [])
        path.chmod(mode)
    if os.getuid() == 0:
        os.chown(library, 12345, 12345)
        with pytest.raises(ToolError, match="belongs to another user"):
            native.load_library("answer", [source], [])


def test_a_runtime_with_a_piece_missing_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("LUTRA_CACHE", str(tmp_path))
    monkeypatch.setattr(verilator, "_compile", lambda sources, folder, *_: [made(folder, each) for each in sources])

    def made(folder: Path, source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        target.write_text("object")
        return target

    def run(command: list[str]) -> SimpleNamespace:
        if "-o" in command:
            Path(command[-1]).write_text("header")
        return SimpleNamespace(stdout="g++", stderr="", returncode=0)

    monkeypatch.setattr(verilator.children, "run", run)
    objects, headers = verilator._runtime(False)
    for piece in (objects[0], verilator._compiled_header(next(iter(headers.values())))):
        piece.unlink()
        verilator._runtime(False)
        assert piece.is_file()
