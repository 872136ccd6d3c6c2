"""What MkDocs asks while it builds the site: which pages there are, in which order, and where their links lead.

Pages are the Markdown files of the repository, wherever they lie, and the notebooks of docs/tutorials. A link to any
other file or folder of the repository leads to a page that shows it, so that the site needs no other place. The
navigation is the reading order of docs/index.md: its sections, and the pages that they link, each where it is linked
first without naming one of its sections. A link that leads nowhere is left as it is; MkDocs then refuses to build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import notebooks
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
PAGES = {
    "README.md": "index.md",
    "docs/index.md": "reading-order.md",
    "src/lutra/frozen/spec.md": "spec.md",
    "src/lutra/accelerators/bat/isa.md": "isa.md",
    "results/README.md": "results.md",
    **{f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")},
}
"""Pages from outside of docs, and the one whose name the first page takes: path in the repository -> in the site."""
LANGUAGES = {".py": "python", ".toml": "toml", ".cff": "yaml", ".sv": "systemverilog", ".h": "cpp", ".cpp": "cpp"}
STYLE = "site.css"

_origins: dict[str, str] = {}
"""Path of a page in the site -> what it is made from, a path in the repository."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation."""
    config.nav = [
        {"Lutra": "index.md"},
        {"Reading order": "reading-order.md"},
        *({title: list(pages)} for title, pages in reading_order().items() if pages),
        {"Reference": list(reference.PAGES)},
    ]
    return config


def reading_order() -> dict[str, list[str]]:
    """Section of docs/index.md -> its pages, by their paths in the site."""
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    seen = {"index.md", "reading-order.md"}
    order: dict[str, list[str]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        order[title] = []
        for target, anchor in LINK.findall(body):
            page = page_of(posixpath.normpath(posixpath.join("docs", target)))
            if page and not anchor and not page.startswith("source/") and page.endswith(".md") and page not in seen:
                seen.add(page)
                order[title].append(page)
    return order


def page_of(path: str) -> str | None:
    """Where the site has a file or folder of the repository; None where the repository has none."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("../") or not (ROOT / path).exists():
        return None
    if path.startswith("docs/"):
        inside = path.removeprefix("docs/")
        if inside.endswith(".ipynb"):
            return inside.removesuffix(".ipynb") + ".md"
        if not inside.endswith(".py"):
            return inside
    return f"source/{path}/index.md" if (ROOT / path).is_dir() else f"source/{path}.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that are not Markdown files of docs."""
    _origins.clear()
    for file in list(files):
        if file.src_uri == "index.md":
            files.remove(file)
        elif file.src_uri.endswith(".md"):
            _origins[file.src_uri] = f"docs/{file.src_uri}"
    for path, page in PAGES.items():
        _add(files, config, page, (ROOT / path).read_text(encoding="utf-8"), path)
    for path in sorted(ROOT.glob("docs/tutorials/*.ipynb")):
        page = f"tutorials/{path.stem}.md"
        text, pictures = notebooks.to_markdown(path)
        _add(files, config, page, text, f"docs/tutorials/{path.name}")
        for name, content in pictures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    for page, text in reference.pages().items():
        _add(files, config, page, text, f"docs/{page}")
    files.append(File.generated(config, STYLE, abs_src_path=str(Path(__file__).with_name("style.css"))))
    for path in sorted(_shown()):
        _add(files, config, page_of(path) or "", _show(path), path)
    return files


def _add(files: Files, config: MkDocsConfig, page: str, text: str, origin: str) -> None:
    _origins[page] = origin
    files.append(File.generated(config, page, content=text))


def _shown() -> set[str]:
    """Files and folders of the repository that a page links and that are no pages themselves."""
    found = set()
    for origin in _origins.values():
        if origin.endswith((".md", ".ipynb")) and (ROOT / origin).is_file():
            for target, _ in LINK.findall((ROOT / origin).read_text(encoding="utf-8")):
                path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
                if (page_of(path) or "").startswith("source/"):
                    found.add(path)
    for folder in [path for path in found if (ROOT / path).is_dir()]:
        found |= {file.relative_to(ROOT).as_posix() for file in _listed(folder)}
    return found


def _listed(folder: str) -> list[Path]:
    """The text files below a folder."""
    below = (path for path in (ROOT / folder).rglob("*") if path.suffix in LANGUAGES or path.suffix == ".md")
    return sorted(path for path in below if "__pycache__" not in path.parts and path.is_file())


def _show(path: str) -> str:
    """A page that shows a file, or lists what is in a folder."""
    place = ROOT / path
    if place.is_dir():
        names = [file.relative_to(place).as_posix() for file in _listed(path)]
        return f"# {path}/\n\n" + "".join(f"- [{name}]({name})\n" for name in names)
    text = place.read_text(encoding="utf-8")
    fence = "`" * 8
    return f"# {path}\n\n{fence}{LANGUAGES.get(place.suffix, 'text')}\n{text}\n{fence}\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links as the site has them."""
    here = page.file.src_uri
    origin = _origins[here]
    folder = origin if (ROOT / origin).is_dir() else posixpath.dirname(origin)

    def moved(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[1]))
        found = None if path == origin else page_of(path)
        if found is None:
            return match[0]
        return posixpath.relpath(found, posixpath.dirname(here) or ".") + (match[2] or "")

    shows_a_file = here.startswith("source/") and (ROOT / origin).is_file()
    return markdown if shows_a_file else LINK.sub(moved, markdown)
