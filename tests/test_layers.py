"""Who may import whom: one street, and no torch in what only reads frozen models and run directories."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import lutra

PACKAGE = Path(lutra.__file__).parent
COMMON = {"errors", "limits", "names", "escape", "schema", "files", "recipe", "recipe_bert", "bert_config", "native"}
COMMON |= {"environment", "groups", "recovery"}
"""Small modules that every layer may import; they stay as light as the lightest of their users."""

NN, FROZEN = {"kernels"}, {"frozen"}
MODELS = {"nn", *NN}
TRAIN = {"models", "convert", "data", *MODELS}
RTL = {"rtl", "hardware", *FROZEN}
COST = {"simulate", "synth", *RTL}
ALLOWED: dict[str, set[str]] = {
    "kernels": set(),
    "nn": NN,
    "models": MODELS,
    "convert": {"models", *MODELS},
    "data": set(),
    "train": TRAIN,
    "freeze": {"train", "runtime", *TRAIN, *FROZEN},
    "freeze_bert": {"models", *MODELS, *FROZEN},
    "freeze_chain": {"freeze_bert", *TRAIN, *FROZEN, "train"},
    "frozen": set(),
    "runtime": FROZEN,
    "hardware": FROZEN,
    "rtl": {"hardware", *FROZEN},
    "simulate": RTL,
    "synth": {"simulate", *RTL},
    "cost": COST,
    "explore": {"cost", "report", *COST},
    "report": {"cost", *COST},
    "record": {"cost", "report"},
    "paper_tables": {"cost", "report"},
    "console": {"report"},
    "doctor": {"simulate", "synth"},
    **dict.fromkeys(COMMON, COMMON),
}
STARTS_STEPS = {"", "__main__", "run", "cli", "trained"}
"""The package itself, and what starts the steps: they may import everything, and no layer imports them."""
WITHOUT_TORCH = ("frozen", "hardware", "rtl", "simulate", "synth", "cost", "explore", "report", "runtime", "record")


@dataclass(frozen=True)
class Import:
    """`importer`, a module, imports `imported`; both dotted, relative to the package when they are of ours."""

    importer: str
    imported: str
    ours: bool

    @property
    def layers(self) -> tuple[str, str]:
        return self.importer.split(".")[0], self.imported.split(".")[0]


def imports_of(package: Path) -> list[Import]:
    """Every import in every module of a package named lutra, wherever in the module it stands."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for name in _imported_names(ast.parse(path.read_text(encoding="utf-8"), str(path)), package):
            ours = name.split(".")[0] == "lutra"
            found.append(Import(module, name.removeprefix("lutra").removeprefix(".") if ours else name, ours))
    return found


def _imported_names(tree: ast.AST, package: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            source = node.module or ""
            for alias in node.names:
                inner = package.joinpath(*source.split(".")[1:], alias.name)
                is_module = source.split(".")[0] == "lutra" and (inner.is_dir() or inner.with_suffix(".py").exists())
                yield f"{source}.{alias.name}" if is_module else source


def wrong_imports(package: Path) -> list[str]:
    """What breaks the street, one line each."""
    imports = imports_of(package)
    problems = []
    for found in imports:
        importer, imported = found.layers
        if not found.ours or importer in STARTS_STEPS or imported == importer:
            continue
        if imported == "":
            continue
        if imported not in ALLOWED.get(importer, set()) | COMMON:
            problems.append(f"{found.importer} imports lutra.{found.imported}")
    reaches_torch = _modules_that_reach("torch", imports)
    problems += [f"{module} reaches torch" for module in sorted(reaches_torch) if module.split(".")[0] in WITHOUT_TORCH]
    return problems


def _modules_that_reach(library: str, imports: list[Import]) -> set[str]:
    """Our modules that import a library themselves or through others of ours."""
    reached = {found.importer for found in imports if not found.ours and found.imported.split(".")[0] == library}
    while True:
        more = {found.importer for found in imports if found.ours and found.imported in reached} - reached
        more.discard("")
        if not more:
            return reached
        reached |= more


def test_everybody_imports_along_the_street():
    assert wrong_imports(PACKAGE) == []


def test_every_module_has_a_place_in_the_street():
    layers = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert layers - {"__init__"} <= ALLOWED.keys() | STARTS_STEPS


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("rtl/emit.py", "import torch", "rtl.emit reaches torch"),
        ("rtl/emit.py", "def late():\n    from torch import nn", "rtl.emit reaches torch"),
        ("frozen/ops.py", "from lutra.nn import lut", "frozen.ops imports lutra.nn.lut"),
        ("cost/model.py", "from lutra import native", "cost.model reaches torch"),
        ("nn/lut.py", "from lutra.train.loop import train_run", "nn.lut imports lutra.train.loop"),
        ("report/build.py", "from lutra.run import STEPS", "report.build imports lutra.run"),
        ("report/build.py", "import lutra.cli", "report.build imports lutra.cli"),
        ("data/text.py", "from lutra import models", "data.text imports lutra.models"),
    ],
)
def test_the_check_finds_a_wrong_import(tmp_path, module, source, problem):
    files = {
        "native.py": "import torch" if "native" in source else "",
        "nn/lut.py": "import torch",
        "rtl/emit.py": "from lutra.frozen import ops",
        "frozen/ops.py": "",
        "models/gpt.py": "from lutra.nn.lut import Lut",
        "train/loop.py": "from lutra.models import gpt",
        module: source,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert problem in wrong_imports(tmp_path)


def test_the_check_accepts_a_right_tree(tmp_path):
    for name, text in {
        "nn/lut.py": "import torch\nfrom lutra.errors import InputError",
        "rtl/emit.py": "import numpy\nfrom lutra.frozen import ops\nfrom lutra import __version__",
        "cli.py": "def train():\n    from lutra.nn.lut import Lut",
    }.items():
        tmp_path.joinpath(name).parent.mkdir(exist_ok=True)
        tmp_path.joinpath(name).write_text(text)
    assert wrong_imports(tmp_path) == []


def test_torch_is_not_loaded_by_what_does_not_need_it():
    modules = [
        f"lutra.{'.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('.__init__')}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in (*WITHOUT_TORCH, *COMMON, "run", "cli", "doctor")
    ]
    assert "lutra.frozen.golden" in modules
    source = "\n".join(f"import {name}" for name in modules) + "\nimport sys\nassert 'torch' not in sys.modules"
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
