"""Where measured results lie that tables print: those that come with Lutra, and a user's own in front of them."""

from __future__ import annotations

from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"
"""The records that come with Lutra, written by `lutra results add` and `lutra table NAME --fresh`."""


class Records:
    """Folders of records by kind (`synth`, `explore`, `bert`); a file hides its namesakes in later folders."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def files(self, kind: str) -> list[Path]:
        """Every record of a kind, sorted by file name."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in (folder / kind).glob("*.json"):
                found.setdefault(path.name, path)
        return [found[name] for name in sorted(found)]

    def file(self, kind: str, name: str) -> Path | None:
        """The record called `name`, None where there is none."""
        return next((path for path in self.files(kind) if path.stem == name), None)
