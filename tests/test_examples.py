"""The examples run as they are, and what they print is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lutra.hardware.bench import verilator
from lutra.native import library as native

EXAMPLES = Path(__file__).parents[1] / "examples"


def printed(script: str, folder: Path, *before: str) -> str:
    """What a script prints; `before` runs first in the same process."""
    source = f"import runpy, sys; sys.argv[1:] = [{str(folder)!r}]; {'; '.join(before)}"
    ran = subprocess.run(
        [sys.executable, "-c", f"{source}\nrunpy.run_path({str(EXAMPLES / script)!r}, run_name='__main__')"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow  # `make tutorials` runs it
@pytest.mark.skipif(not native.compiler_available(), reason="no C++ compiler here")
def test_a_block_of_a_model_of_ones_own_to_rtl_and_the_frozen_model_on_the_cpu(tmp_path):
    text = printed("block_to_rtl.py", tmp_path)
    untrained, trained = map(float, re.findall(r"([\d.]+) (?:untrained|trained)", text))
    assert untrained > 1 and trained < 0.2
    assert "simulated: 256 rows" in text and "0 outputs differ, 0 when" in text
    (measured, predicted) = re.findall(r"(\d+) cycles, (\d+) predicted", text)[0]
    assert measured == predicted
    names = (tmp_path / "rtl" / "filelist.f").read_text().split()
    assert verilator.lint([tmp_path / "rtl" / name for name in names], "block_0") == ""
    text = printed("frozen_on_cpu.py", tmp_path / "frozen", "sys.modules['torch'] = None")
    assert "mlp: 24 to 24 features, int16" in text
    assert "0 of 98,304 outputs differ" in text
