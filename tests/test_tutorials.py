"""The tutorials run as they are, and what stands below their cells is what they print."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lutra.native import library as native

INSTALL = 'pip install -c constraints.txt -e ".[docs]"'
nbformat = pytest.importorskip("nbformat", reason=INSTALL)
pytest.importorskip("nbclient", reason=INSTALL)
pytest.importorskip("ipykernel", reason=INSTALL)

SITE = Path(__file__).parents[1] / "docs" / "site"
NOTEBOOKS = sorted(SITE.parent.glob("tutorials/*.ipynb"))


def notebooks_module() -> ModuleType:
    """docs/site/notebooks.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("notebooks", SITE / "notebooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(notebook: Any) -> list[str]:
    """What each cell has printed on stdout, or is worth. Figures, which another processor may round to others, and
    hashes are left out, and spaces and rules, whose number follows from theirs.
    """
    texts = []
    for cell in notebook.cells:
        outputs = [] if cell.cell_type == "markdown" else cell.outputs
        text = "".join(
            output.text if output.output_type == "stream" else output.data.get("text/plain", "")
            for output in outputs
            if output.get("name") != "stderr"
        )
        text = re.sub(r"\b[0-9a-f]{16,64}\b", "#", text)
        texts.append(re.sub(r"[-−]?\d[\d.,]*(e-?\d+)?", "#", re.sub(r"[\s─]+", " ", text)))
    return texts


@pytest.mark.slow
@pytest.mark.skipif(not native.compiler_available(), reason="no C++ compiler here")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_prints_what_it_shows(path, tmp_path):
    ran = notebooks_module().execute(path, tmp_path)
    assert printed(ran) == printed(nbformat.read(path, as_version=4))


def test_there_are_four_and_each_is_a_page():
    assert len(NOTEBOOKS) == 4
    for path in NOTEBOOKS:
        text, _ = notebooks_module().to_markdown(path)
        assert text.startswith("# ") and f"[{path.name}]({path.name})" in text and "```python" in text


def test_a_cell_that_failed_or_was_not_run_makes_no_page(tmp_path):
    cell = nbformat.v4.new_code_cell("1 / 0")
    path = tmp_path / "x.ipynb"
    error = nbformat.v4.new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])
    for count, outputs, words in ((None, [], "was not run"), (1, [error], "ended in ZeroDivisionError")):
        cell.execution_count, cell.outputs = count, outputs
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
        with pytest.raises(ValueError, match=words):
            notebooks_module().to_markdown(path)
