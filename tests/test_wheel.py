"""A wheel that is built where there is a compiler works where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lutra.native import library as native

ROOT = Path(__file__).parents[1]
USE = """
from lutra.kernels.cpu import library as training
from lutra.runtime import library as inference
assert training.library() is not None and inference.library() is not None
assert training.native.PREBUILT.is_relative_to({installed!r})
"""


@pytest.mark.slow  # compiles the kernels for every instruction set
@pytest.mark.skipif(not native.compiler_available(), reason="no C++ compiler here")
def test_a_wheel_brings_its_libraries(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    source, installed = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-py3-none-" in wheel.name and "-any" not in wheel.name
    zipfile.ZipFile(wheel).extractall(installed)
    environment = os.environ | {"PYTHONPATH": str(installed), "CXX": "none", "LUTRA_CACHE": str(tmp_path / "cache")}
    subprocess.run(
        [sys.executable, "-c", USE.format(installed=str(installed))], cwd=tmp_path, env=environment, check=True
    )
    assert not (tmp_path / "cache").exists()
