"""No room grows until nobody knows it: lines of code of every folder's own files, and of every file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = {".py", ".cpp", ".h", ".sv", ".mako"}
LINES_PER_FOLDER = 2500
LINES_PER_FILE = 450
EXCEPTIONS: dict[str, str] = {
    "src/lutra/accelerators/bat": "configuration, compiler, latency and bench of one machine",
    "src/lutra/accelerators/bat/rtl": "one module per file, thirty of them, and all of one machine",
    "src/lutra/accelerators/transformer/rtl": "one module per file, and all of one machine",
    "src/lutra/models/convert": "one subject in sixteen files, none of which is used elsewhere",
}
"""Files and folders that are larger for a reason: path from the root of the repository -> the reason."""


def too_large(root: Path, files: list[Path]) -> list[str]:
    """Folders and files with more lines than they should have; a folder's subfolders count for themselves."""
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in files}
    folders: dict[Path, int] = {}
    for path, count in lines.items():
        folders[path.parent] = folders.get(path.parent, 0) + count
    large = [path for path, count in lines.items() if count > LINES_PER_FILE]
    large += [folder for folder, count in folders.items() if count > LINES_PER_FOLDER]
    return sorted(path.relative_to(root).as_posix() for path in large)


def test_no_folder_and_no_file_is_too_large():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a clone: git lists no files")
    files = [ROOT / name for name in listed.stdout.splitlines()]
    code = [path for path in files if path.suffix in CODE and path.is_file()]
    assert len(code) > 200
    assert too_large(ROOT, code) == sorted(EXCEPTIONS)


def test_the_check_counts_files_and_folders(tmp_path):
    (tmp_path / "room" / "inner").mkdir(parents=True)
    files = [tmp_path / "room" / f"{number}.py" for number in range(6)]
    for path in files:
        path.write_text("line\n" * LINES_PER_FILE)
    inner = tmp_path / "room" / "inner" / "part.sv"
    inner.write_text("line\n" * (LINES_PER_FILE + 1))
    assert too_large(tmp_path, [*files[:5], inner]) == ["room/inner/part.sv"]
    assert too_large(tmp_path, [*files, inner]) == ["room", "room/inner/part.sv"]
