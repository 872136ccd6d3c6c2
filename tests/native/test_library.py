"""Compiling and caching of C++ libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

import lutra
from lutra.errors import ToolError
from lutra.native import library as native

SOURCE = '#include "answer.h"\nextern "C" __attribute__((visibility("default"))) int answer() { return ANSWER; }\n'

needs_compiler = pytest.mark.skipif(not native.compiler_available(), reason="no C++ compiler here")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUTRA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "answer.h").write_text("#define ANSWER 42\n")
    (tmp_path / "answer.cpp").write_text(SOURCE)
    return tmp_path / "answer.cpp"


@needs_compiler
def test_compiles_once_and_again_after_a_change(source: Path) -> None:
    assert native.load_library("answer", [source], []).answer() == 42
    (first,) = native.cache_folder().iterdir()
    compiled_at = first.stat().st_mtime_ns
    assert native.load_library("answer", [source], []).answer() == 42
    assert first.stat().st_mtime_ns == compiled_at
    (source.parent / "answer.h").write_text("#define ANSWER 43\n")
    assert native.load_library("answer", [source], []).answer() == 43
    assert len(list(native.cache_folder().iterdir())) == 2


@needs_compiler
def test_a_broken_source_is_one_error_and_leaves_nothing(source: Path) -> None:
    source.write_text("int answer( {\n")
    with pytest.raises(ToolError, match="compiling failed"):
        native.load_library("answer", [source], [])
    assert list(native.cache_folder().iterdir()) == []


def test_without_a_compiler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not native.compiler_available()
    with pytest.raises(ToolError, match="no C\\+\\+ compiler"):
        native.load_library("answer", [source], [])


@needs_compiler
def test_a_prebuilt_library_needs_no_compiler_until_its_source_changes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.prebuild("answer", [source], [], tmp_path / "prebuilt")
    monkeypatch.setattr(native, "PREBUILT", tmp_path / "prebuilt")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert native.load_library("answer", [source], []).answer() == 42
    assert not native.cache_folder().exists()
    (source.parent / "answer.h").write_text("#define ANSWER 43\n")
    with pytest.raises(ToolError, match="no C\\+\\+ compiler"):
        native.load_library("answer", [source], [])


@needs_compiler
def test_a_prebuilt_library_that_does_not_load_is_compiled_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.prebuild("answer", [source], [], tmp_path / "prebuilt")
    monkeypatch.setattr(native, "PREBUILT", tmp_path / "prebuilt")
    (prebuilt,) = native.PREBUILT.iterdir()
    prebuilt.write_bytes(b"for another machine")
    assert native.load_library("answer", [source], []).answer() == 42


@pytest.mark.parametrize("file", ["kernels/cpu/library.py", "runtime/library.py"])
def test_what_the_wheel_is_built_from_needs_nothing_that_is_installed(file: str) -> None:
    """pip builds a wheel where setuptools alone is installed."""
    source = Path(lutra.__file__).parents[1]
    code = f"import runpy, sys; sys.path.insert(0, {str(source)!r})\n"
    code += f"print(sorted(runpy.run_path({str(source / 'lutra' / file)!r})['LIBRARIES']))"
    bare = [sys.executable, "-I", "-S", "-c", code]
    ran = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() != "[]"
