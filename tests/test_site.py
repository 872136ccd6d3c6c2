"""The documentation site: built strictly, complete, in the reading order, and without anything from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

import lutra

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")),
    reason='the site\'s tools are not installed; pip install -c constraints.txt -e ".[docs]"',
)


class Page(HTMLParser):
    """What a page loads, links and names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.names.add(given.get("id") or "")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        elif tag in {"script", "img", "source", "iframe"} and given.get("src"):
            self.loaded.append(given["src"] or "")
        elif tag == "link" and given.get("rel") in {"stylesheet", "preconnect", "preload"}:
            self.loaded.append(given["href"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Every page by its path."""
    return {path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_the_repository_is_there(pages):
    names = {path.stem for path in ROOT.glob("docs/*.md")} - {"index"}
    names |= {f"tutorials/{path.stem}" for path in ROOT.glob("docs/tutorials/*.ipynb")}
    names |= {"index", "reading-order", "changelog", "contributing", "security", "spec", "commands", "python"}
    assert {name for name in names if f"{name}.html" not in pages} == set()


def test_nothing_is_loaded_from_elsewhere(pages):
    assert len(pages) > 30
    elsewhere = {name: [each for each in page.loaded if ":" in each] for name, page in pages.items()}
    assert {name: found for name, found in elsewhere.items() if found} == {}


def test_no_script_of_ours_fetches_anything(site, pages):
    """Material's own script knows addresses of what this site does not use; what stands in the pages is ours."""
    for name in pages:
        scripts = re.findall(r"<script[^>]*>(.*?)</script>", (site / name).read_text(encoding="utf-8"), re.DOTALL)
        assert not any("http" in script for script in scripts), name


def test_links_lead_to_pages_files_and_sections(site, pages):
    broken = set()
    for name, page in pages.items():
        for link in page.links:
            target, _, section = link.partition("#")
            if ":" in target or name == "404.html":
                continue
            path = (site / name).parent / target if target else site / name
            inside = path.resolve().relative_to(site.resolve()).as_posix()
            if not path.exists() or (section and inside in pages and section not in pages[inside].names):
                broken.add((name, link))
    assert broken == set()


def test_the_reference_has_every_public_name_and_every_command(pages):
    assert {name for name in lutra.__all__ if f"{lutra._HOMES[name]}.{name}" not in pages["python.html"].names} == set()
    commands = {match[1] for name in pages["commands.html"].names if (match := re.match(r"lutra-(\w+)", name))}
    assert {"run", "train", "convert", "plan", "table", "results", "doctor"} <= commands


def test_the_search_finds_a_page(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any("thermometer" in entry["text"].lower() for entry in index["docs"])


def test_a_link_to_nothing_is_refused(tmp_path):
    """What the other tests rest on: the build fails for it."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[two](two.md)\n")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    kept = settings[settings.index("markdown_extensions:") :]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nstrict: true\n{kept}")
    ran = subprocess.run([sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode != 0 and "two.md" in ran.stderr
