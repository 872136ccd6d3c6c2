"""The documentation names what is there: files, links, sections, environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lutra
from lutra.papers.records import RECORDED
from lutra.settings import SETTINGS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/*.md")])
PACKAGE = Path(lutra.__file__).parent
SOURCES = sorted(
    path
    for folder in (PACKAGE, ROOT / "benchmarks", ROOT / "docs", ROOT / "examples", ROOT / "recipes", ROOT / "spaces")
    for path in folder.rglob("*")
    if path.suffix in {".py", ".toml", ".mako", ".sv", ".cpp", ".h"}
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w/.<])((?:src|tests|docs|benchmarks|recipes|spaces|examples|results)/[\w./*-]*\w)")
"""A path from the root of the repository, as texts name it."""
FILE = re.compile(r"`((?:[\w-]+/)+\w+\.(?:py|sv|mako|h|cpp|md|toml))`")
"""A file of code that a text names, from the root of the repository or of the package."""
MODULE = re.compile(r"\blutra(?:\.(?!(?:json|safetensors)\b)[a-z_]\w*)+")
MADE = {"results/synth"}
"""Named, but made by a command."""


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if ":" in target:
            continue
        name, _, section = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (section and section not in sections(path)):
            yield target


def stale_paths(text: str) -> Iterator[str]:
    """Paths where nothing is; upper case stands for any name, and `src/lutra` may be left out in front."""
    for path in {*PATH.findall(text), *FILE.findall(text)}:
        there = list(ROOT.glob(path)) or list(PACKAGE.glob(path))
        if not there and not re.search(r"[A-Z]{3}", path) and path not in MADE:
            yield path


def stale_modules(text: str) -> Iterator[str]:
    """Dotted names below `lutra` whose first parts are no module, and no name of the package."""
    for name in MODULE.findall(text):
        place, package = ROOT / "src", name.split(".")
        for depth, part in enumerate(package):
            place = place / part
            if not place.is_dir():
                if not place.with_suffix(".py").exists() and not (depth == 1 and part in dir(lutra)):
                    yield name
                break


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_paths_are_there(page):
    text = page.read_text(encoding="utf-8")
    assert [*broken_links(page), *stale_paths(text), *stale_modules(text)] == []


def test_paths_and_modules_in_the_code_are_there():
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in SOURCES}
    stale = {name: [*stale_paths(text), *stale_modules(text)] for name, text in texts.items()}
    assert {name: found for name, found in stale.items() if found} == {}


def test_the_check_finds_what_is_stale(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One title\n[a](#one-title) [b](#two) [c](nowhere.md) [d](page.md#one-title) [e](https://x.org)\n"
    )
    assert list(broken_links(page)) == ["#two", "nowhere.md"]
    paths = "docs/index.md, `tests/rtl/test_emit.py`, runs/docs/x.md, docs/NAME.md, `frozen/golden.py`, `rtl/emit.py`"
    assert set(stale_paths(paths)) == {"tests/rtl/test_emit.py", "rtl/emit.py"}
    text = "lutra.load, lutra.frozen.golden.run, `lutra.rtl.emit`, lutra.frozen.half.x"
    assert list(stale_modules(text)) == ["lutra.rtl.emit", "lutra.frozen.half.x"]


def test_every_environment_variable_is_documented():
    text = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert rows == [(each.name, each.decides, each.without_it) for each in SETTINGS]


def test_environment_variables_of_ours_are_read_in_settings_alone():
    read = re.compile(r"(?:environ(?:\.get\(|\[)|getenv\()\s*[\"'](\w+)(?![\"']\]\s*=[^=])\b")
    found = {name for path in PACKAGE.rglob("*.py") for name in read.findall(path.read_text(encoding="utf-8"))}
    assert found == {"TRITON_INTERPRET", "PATH"}  # Triton's own, and everybody's


def test_every_record_is_described():
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    records = [path.relative_to(RECORDED).as_posix() for path in RECORDED.rglob("*.json")]
    records += [path.name for path in (ROOT / "results" / "benchmarks").glob("*.json")]
    assert len(records) > 20
    assert [name for name in records if f"`{name}`" not in text] == []


def test_every_page_is_in_the_reading_order():
    linked = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    names = {target.partition("#")[0] for target in linked}
    assert {path.name for path in ROOT.glob("docs/*.md")} - names == {"index.md"}
