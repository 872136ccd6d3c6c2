"""Who may import whom: one street, and no torch in what only reads frozen models and run directories."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import lutra

PACKAGE = Path(lutra.__file__).parent
ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"
GROUND = {"errors", "settings", "version", "limits", "names", "escape", "schema", "reading", "sources", "children"}
"""Modules that import nothing else of ours but each other."""
COMMON = {*GROUND, "recipes", "runs", "native", "evaluate.recovery"}
"""What every room may import; as light as the lightest of its users."""

NN = {"kernels"}
MODELS = {"nn", *NN}
TRAIN = {"models", "data", *MODELS}
FREEZE = {"train", "frozen", "runtime", *TRAIN}
HARDWARE = {"frozen", "hardware"}
ACCELERATOR = {*HARDWARE, "synth"}
COST = {"accelerators.block", "accelerators.systolic", "accelerators.bat", "accelerators.transformer", *ACCELERATOR}
REPORT = {"cost", *COST}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "settings": set(),
    "version": set(),
    "limits": set(),
    "names": {"errors"},
    "escape": {"errors", "names"},
    "schema": {"errors", "escape", "names"},
    "reading": {"errors", "limits", "names"},
    "sources": {"errors", "names"},
    "children": set(),
    "native": GROUND,
    "recipes": GROUND,
    "runs": {*GROUND, "recipes"},
    "kernels": set(),
    "nn": NN,
    "models": MODELS,
    "data": set(),
    "train": TRAIN,
    "freeze": FREEZE,
    "evaluate": {
        "freeze",
        "accelerators.transformer",
        "accelerators.block",
        "accelerators.systolic",
        *ACCELERATOR,
        *FREEZE,
    },
    "frozen": set(),
    "export": {"frozen"},
    "runtime": {"frozen"},
    "hardware": {"frozen"},
    "synth": set(),
    "accelerators.block": ACCELERATOR,
    "accelerators.systolic": ACCELERATOR,
    "accelerators.bat": ACCELERATOR,
    "accelerators.transformer": {"accelerators.block", "accelerators.systolic", *ACCELERATOR},
    "cost": COST,
    "report": REPORT,
    "papers": {"report", *REPORT},
    "explore": {"papers", "report", *REPORT},
}
"""Which rooms each room may import beside itself and `COMMON`; an accelerator is a room of its own."""
STARTS_STEPS = {"", "__main__", "evaluate.trained", "cli"}
"""The package itself, the command line, and what opens a finished run: they may import everything when they are called,
and no room imports them."""
WITHOUT_TORCH = (
    "export",
    "frozen",
    "runtime",
    "hardware",
    "synth",
    "accelerators.block",
    "accelerators.systolic",
    "accelerators.bat",
    "accelerators.transformer",
    "cost",
    "report",
    "papers",
    "explore",
    "recipes",
    "runs",
    "native",
    *GROUND,
)


def room_of(module: str) -> str:
    """The room of a dotted module: its first part, or an accelerator's folder."""
    if module in STARTS_STEPS or module in COMMON:
        return module
    parts = module.split(".")
    if parts[0] in STARTS_STEPS:
        return parts[0]
    return ".".join(parts[:2]) if parts[0] == "accelerators" and len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class Import:
    """`importer`, a module, imports `imported`; both dotted, relative to the package when they are of ours."""

    importer: str
    imported: str
    ours: bool
    for_types: bool
    """Whether only a type checker sees it."""

    @property
    def layers(self) -> tuple[str, str]:
        return room_of(self.importer), room_of(self.imported)


def imports_of(package: Path) -> list[Import]:
    """Every import in every module of a package named lutra, wherever in the module it stands."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for_types = set(_nodes_for_types(tree))
        for node in ast.walk(tree):
            for name in _imported_names(node, package):
                ours = name.split(".")[0] == "lutra"
                relative = name.removeprefix("lutra").removeprefix(".") if ours else name
                found.append(Import(module, relative, ours, node in for_types))
    return found


def _nodes_for_types(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.body:
                yield from ast.walk(statement)


def _imported_names(node: ast.AST, package: Path) -> Iterator[str]:
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
        allowed = ALLOWED.get(importer, set()) | (set() if importer in COMMON else COMMON)
        if imported not in allowed:
            problems.append(f"{found.importer} imports lutra.{found.imported}")
    reaches_torch = modules_that_reach("torch", imports)
    problems += [f"{module} reaches torch" for module in sorted(reaches_torch) if room_of(module) in WITHOUT_TORCH]
    return problems


def modules_that_reach(library: str, imports: list[Import]) -> set[str]:
    """Our modules that import a library themselves or through others of ours."""
    reached = {found.importer for found in imports if not found.ours and found.imported.split(".")[0] == library}
    while True:
        more = {found.importer for found in imports if found.ours and found.imported in reached} - reached
        more.discard("")
        if not more:
            return reached
        reached |= more


def circle_of(arrows: dict[str, set[str]]) -> list[str]:
    """The nodes of a circle of arrows, empty where there is none."""
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def module_arrows(package: Path) -> dict[str, set[str]]:
    """Which modules of ours each module imports when it runs: what only a type checker sees is left out."""
    arrows: dict[str, set[str]] = {}
    for found in imports_of(package):
        if found.ours and not found.for_types:
            arrows.setdefault(found.importer, set()).add(found.imported)
    return arrows


@dataclass(frozen=True)
class Room:
    """A row of the documentation's table of rooms."""

    torch: bool
    names: set[str]
    """What the row says that the room may import."""


def documented_rooms(text: str) -> dict[str, Room]:
    """The table of rooms in docs/architecture.md."""
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| (yes|no) \| ([^|]*) ?\|$", text, re.MULTILINE)
    return {room: Room(torch == "yes", set(re.findall(r"`([\w.]+)`", cell))) for room, torch, cell in rows}


def with_what_follows(room: str, rooms: dict[str, Room]) -> set[str]:
    """What a room may import: the rooms of its row, and what these may."""
    return {found for name in rooms[room].names for found in (name, *with_what_follows(name, rooms))}


def test_everybody_imports_along_the_street():
    assert wrong_imports(PACKAGE) == []


def test_no_import_runs_in_a_circle():
    rooms = {room: allowed | (set() if room in COMMON else COMMON) for room, allowed in ALLOWED.items()}
    assert circle_of(rooms) == []
    assert circle_of(module_arrows(PACKAGE)) == []


def test_the_check_finds_a_circle_and_knows_imports_for_types(tmp_path):
    (tmp_path / "a.py").write_text("from lutra import b")
    (tmp_path / "b.py").write_text("def late():\n    from lutra.a import x")
    assert set(circle_of(module_arrows(tmp_path))) == {"a", "b"}
    (tmp_path / "b.py").write_text("if TYPE_CHECKING:\n    from lutra.a import x\nelse:\n    import json")
    assert circle_of(module_arrows(tmp_path)) == []


def test_the_documentation_tells_the_same_rooms():
    text = ARCHITECTURE.read_text(encoding="utf-8")
    rooms = documented_rooms(text)
    assert set(rooms) == set(ALLOWED)
    assert {room: with_what_follows(room, rooms) for room in rooms} == ALLOWED
    assert {room for room, row in rooms.items() if not row.torch} == set(WITHOUT_TORCH)
    for paragraph, names in (("the ground", COMMON), ("the roof", STARTS_STEPS - {"", "__main__"})):
        (subjects,) = re.findall(rf"^(`(?:.|\n(?!\n))+`) are {paragraph}:", text, re.MULTILINE)
        assert set(re.findall(r"`([\w.]+)`", subjects)) == names


def test_every_module_has_a_place_in_the_street():
    modules = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")}
    rooms = {room_of(".".join(path.parts).removesuffix(".__init__").removesuffix("__init__")) for path in modules}
    assert rooms - {"accelerators", "evaluate.recovery"} <= ALLOWED.keys() | STARTS_STEPS


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("synth/emit.py", "import torch", "synth.emit reaches torch"),
        (
            "accelerators/block/emit.py",
            "def late():\n    from torch import nn",
            "accelerators.block.emit reaches torch",
        ),
        ("frozen/ops.py", "from lutra.nn import lut", "frozen.ops imports lutra.nn.lut"),
        ("cost/model.py", "from lutra.native.library import library", "cost.model reaches torch"),
        ("nn/lut.py", "from lutra.train.loop import train_run", "nn.lut imports lutra.train.loop"),
        ("runs/files.py", "from lutra.frozen import ops", "runs.files imports lutra.frozen.ops"),
        ("report/build.py", "import lutra.cli.commands", "report.build imports lutra.cli.commands"),
        ("data/text.py", "from lutra import models", "data.text imports lutra.models"),
    ],
)
def test_the_check_finds_a_wrong_import(tmp_path, module, source, problem):
    files = {
        "native/library.py": "import torch" if "native" in source else "",
        "nn/lut.py": "import torch",
        "accelerators/block/emit.py": "from lutra.frozen import ops",
        "frozen/ops.py": "",
        "models/gpt.py": "from lutra.nn.lut import Lut",
        "train/loop.py": "from lutra.models import gpt",
        module: source,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert problem in wrong_imports(tmp_path)


def test_the_check_accepts_a_right_tree(tmp_path):
    for name, text in {
        "nn/lut.py": "import torch\nfrom lutra.errors import InputError",
        "accelerators/block/emit.py": "import numpy\nfrom lutra.frozen import ops\nfrom lutra import __version__",
        "evaluate/trained.py": "def train():\n    from lutra.nn.lut import Lut",
    }.items():
        tmp_path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(name).write_text(text)
    assert wrong_imports(tmp_path) == []


def test_torch_is_not_loaded_by_what_does_not_need_it():
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py")))
    dotted = (".".join(path.parts) for path in paths)
    names = (name.removesuffix("__init__").removesuffix(".") for name in dotted)
    modules = [f"lutra.{name}" for name in names if room_of(name) in (*WITHOUT_TORCH, "cli")]
    assert "lutra.frozen.golden" in modules
    source = "\n".join(f"import {name}" for name in modules) + "\nimport sys\nassert 'torch' not in sys.modules"
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
