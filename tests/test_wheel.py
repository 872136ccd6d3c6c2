"""A wheel that is built where there is a compiler works where there is none, and where there is no source tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from lutra.native import library as native
from lutra.papers.catalogue import table
from lutra.papers.records import RECORDED, Records

ROOT = Path(__file__).parents[1]
USE = """
from lutra.kernels.cpu import library as training
from lutra.runtime import library as inference
assert training.library() is not None and inference.library() is not None
assert training.native.PREBUILT.is_relative_to({installed!r})
"""
TINY = (
    *("model.layers=1", "model.width=16", "model.context=16", "block.thermometer_bits=2", "block.groups=2"),
    *("block.lut_layers.0.luts=12", "train.iterations=6", "train.batch=4", "train.evaluate_every=6"),
    *("train.evaluate_batch=1024", "hardware.fold_factors=[1]", "hardware.rows=32"),
)
"""Changes of the demo with which it takes seconds."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not native.compiler_available(), reason="no C++ compiler here"),
]


def build_wheel(folder: Path, **environment: str) -> Path:
    """Build a wheel in `folder`, from a copy of the source tree."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run(
        [sys.executable, "-c", build], cwd=source, env=os.environ | environment, check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh virtual environment with a wheel in it; what that depends on stays where it is.

    The wheel brings no compiled kernels: all of them take minutes, and those that are needed come from the cache.
    """
    if find_spec("pip") is None:
        pytest.skip("pip is not installed")
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"), CXX="none")
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    site.joinpath("dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


def run(program: Path, *arguments: object, cwd: Path) -> str:
    """What a program prints that knows nothing of the source tree."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run([program, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_wheel_brings_its_libraries(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)  # for every instruction set: minutes
    assert "-py3-none-" in wheel.name and "-any" not in wheel.name
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    environment = os.environ | {"PYTHONPATH": str(installed), "CXX": "none", "LUTRA_CACHE": str(tmp_path / "cache")}
    subprocess.run(
        [sys.executable, "-c", USE.format(installed=str(installed))], cwd=tmp_path, env=environment, check=True
    )
    assert not (tmp_path / "cache").exists()


def test_a_wheel_prints_the_same_tables_as_the_source_tree(fresh: Path, tmp_path: Path) -> None:
    found = run(fresh / "python", "-c", "import lutra; print(lutra.__file__)", cwd=tmp_path)
    assert Path(found.strip()).is_relative_to(fresh.parent)
    for name in ("quweit-3", "quweit-4", "bmt-4"):
        printed = json.loads(run(fresh / "lutra", "table", name, "--json", cwd=tmp_path))
        here = table(name, Records(RECORDED)).to_json()
        assert printed == json.loads(json.dumps(here))
        assert any(row["ours"] is not None for row in printed["rows"])


def test_a_wheel_runs_the_demo_from_training_to_the_report(fresh: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "recipes" / "demo.toml", tmp_path)
    changes = [argument for change in TINY for argument in ("--set", change)]
    printed = json.loads(run(fresh / "lutra", "run", "demo.toml", *changes, "--json", cwd=tmp_path))
    assert all(step["finished"] for step in printed["steps"].values())
    simulated = json.loads((tmp_path / "runs" / "demo" / "simulate.json").read_text())
    assert simulated["mismatches"] == 0 and simulated["cycles_match"]
    machine = json.loads((tmp_path / "runs" / "demo" / "machine.json").read_text())
    assert machine["mismatches"] == 0 and machine["cycles_match"] and len(machine["tokens"]) == 16
    assert (tmp_path / "runs" / "demo" / "report.html").stat().st_size > 10_000
