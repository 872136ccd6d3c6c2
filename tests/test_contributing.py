"""What CONTRIBUTING.md asks of whoever adds something: a forgotten part is found here."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import lutra
from lutra import papers
from lutra.frozen.ops import OPERATIONS
from lutra.papers.catalogue import TABLES
from lutra.recipes.kinds import KINDS, load_function
from lutra.recipes.sections import read_toml

ROOT = Path(__file__).parents[1]
PACKAGE = Path(lutra.__file__).parent
MODULES = sorted([*PACKAGE.glob("hardware/lib/*.sv"), *PACKAGE.glob("accelerators/*/rtl/*.sv")])


@pytest.mark.parametrize("kind", OPERATIONS)
def test_every_operation_is_specified_and_tested(kind):
    spec = (PACKAGE / "frozen" / "spec.md").read_text(encoding="utf-8")
    assert re.search(rf"^(\||#+) `{kind}`", spec, re.MULTILINE), "spec.md has no row of it"
    makers = [*ROOT.glob("tests/frozen/**/*.py"), *ROOT.glob("tests/support/*.py"), *PACKAGE.glob("frozen/random_*.py")]
    made = re.compile(rf"\b{OPERATIONS[kind].__name__}\(")
    assert any(made.search(path.read_text(encoding="utf-8")) for path in makers), "no test of tests/frozen makes one"


def test_every_accelerator_has_modules_and_tests():
    rooms = {path.parent.name for path in PACKAGE.glob("accelerators/*/__init__.py")}
    assert rooms == {path.parent.parent.name for path in MODULES} - {"hardware"}
    assert rooms == {path.parent.name for path in ROOT.glob("tests/accelerators/*/test_*.py")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_file_of_systemverilog_holds_the_module_of_its_name_with_its_timing(path):
    text = path.read_text(encoding="utf-8")
    header = text[: re.search(r"^module ", text, re.MULTILINE).start()]
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [path.stem]
    assert re.search(r"^// Timing: ", header, re.MULTILINE)


@pytest.mark.parametrize("name", KINDS)
def test_all_that_a_kind_names_is_there(name):
    kind = KINDS[name]
    assert kind.recipe.kind == name
    for position, step in enumerate(kind.steps):
        inspect.signature(load_function(step.function)).bind("files", "recipe")
        assert set(step.reads) <= {before.name for before in kind.steps[:position]}
    for function in (kind.tables, kind.summarise, kind.require_complete, kind.results_table, kind.generate):
        assert function is None or callable(load_function(function))
    recipes = [read_toml(path) for path in (ROOT / "recipes").rglob("*.toml")]
    assert name in {tree.get("kind", "language") for tree in recipes}, "no recipe of this kind comes with Lutra"


def tables_of_the_papers() -> set[str]:
    """Every public function of `lutra.papers` from records to a table, by its dotted name."""
    found = set()
    for each in pkgutil.walk_packages(papers.__path__, f"{papers.__name__}."):
        module = importlib.import_module(each.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            types = list(inspect.get_annotations(function).values())
            if function.__module__ == module.__name__ and types == ["Records", "PaperTable"] and name[0] != "_":
                found.add(f"{module.__name__}.{name}")
    return found


def test_every_table_is_in_the_catalogue_and_listed():
    assert tables_of_the_papers() == {f"{each.build.__module__}.{each.build.__name__}" for each in TABLES.values()}
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [name for name in TABLES if f"`{name}`" not in index] == []
