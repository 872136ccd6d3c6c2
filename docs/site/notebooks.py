"""The tutorials: run one, and show one as a page. `python docs/site/notebooks.py NAME...` runs and saves."""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
PICTURES = {"image/svg+xml": "svg", "image/png": "png"}


def execute(path: Path, folder: Path) -> Any:
    """Run a notebook in `folder`, with this Python and this tree, and return it with what it printed.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbclient
    import nbformat

    programs = folder / "programs"
    programs.mkdir()
    command = programs / "lutra"
    # A kernel asks for colours and live lines, which are no text.
    command.write_text(
        f'#!/bin/sh\nunset FORCE_COLOR CLICOLOR_FORCE\nexec "{sys.executable}" -m lutra "$@"\n', encoding="utf-8"
    )
    command.chmod(0o755)
    work = folder / "work"
    work.mkdir()
    changes = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",  # on a busy machine, the threads of small models wait for each other
        "OMP_WAIT_POLICY": "passive",
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        notebook = nbformat.read(path, as_version=4)
        client = nbclient.NotebookClient(
            notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(work)}}
        )
        client.execute()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell ran, which would be another time in every file
        if cell.cell_type == "code":
            cell.outputs = _in_order(cell.outputs, shell=cell.source.startswith("%%sh"))
    return notebook


def _in_order(outputs: list[Any], shell: bool) -> list[Any]:
    """Printed pieces as two whole texts, progress of commands first; what libraries say on stderr is left out."""
    pieces: dict[str, list[Any]] = {"stderr": [], "stdout": []}
    for output in outputs:
        if output.output_type == "stream":
            pieces[output.name].append(output)
    whole = []
    for name, found in pieces.items():
        if found and (shell or name == "stdout"):
            found[0].text = "".join(each.text for each in found)
            whole.append(found[0])
    return [*whole, *(output for output in outputs if output.output_type != "stream")]


def to_markdown(path: Path) -> tuple[str, dict[str, str | bytes]]:
    """A notebook as a page, and its pictures by file name.

    Raises:
        ValueError: a cell ended in an error, or was not run.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts, pictures = [], dict[str, str | bytes]()
    for number, cell in enumerate(cells, 1):
        source = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        if cell["execution_count"] is None:
            raise ValueError(f"{path}: cell {number} was not run")
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts.append(_output(output, f"{path.stem}_{len(pictures)}", pictures, f"{path}: cell {number}"))
    first, _, rest = "\n\n".join(part for part in parts if part).partition("\n")
    return f"{first}\n\n*This page is a notebook: [{path.name}]({path.name}).*\n{rest}\n", pictures


def _output(output: dict[str, Any], name: str, pictures: dict[str, str | bytes], place: str) -> str:
    if output["output_type"] == "error":
        raise ValueError(f"{place} ended in {output['ename']}")
    if output["output_type"] == "stream":
        return _printed(_text(output["text"]))
    for kind, suffix in PICTURES.items():
        if kind in output["data"]:
            content = _text(output["data"][kind])
            pictures[f"{name}.{suffix}"] = base64.b64decode(content) if suffix == "png" else content
            return f"![What the cell shows]({name}.{suffix})"
    return _printed(_text(output["data"]["text/plain"]))


def _printed(text: str) -> str:
    return f"```{{ .text .printed }}\n{text.rstrip()}\n```" if text.strip() else ""


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def main(names: list[str]) -> None:
    import nbformat

    for name in names:
        path = TUTORIALS / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder))
        nbformat.write(notebook, path)
        print(f"{path}: {len(notebook.cells)} cells")


if __name__ == "__main__":
    main(sys.argv[1:])
