"""What the tests of synthesis share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import fpga_yosys, native_yosys, opensta
from small_cells import small_library


@pytest.fixture(scope="session")
def liberty(tmp_path_factory) -> Path:
    """The standard cells that LUTRA_LIBERTY names, or the small ones of these tests."""
    if path := os.environ.get("LUTRA_LIBERTY"):
        return Path(path)
    path = tmp_path_factory.mktemp("cells") / "small.lib"
    path.write_text(small_library())
    return path


@pytest.fixture
def standard_cells(liberty) -> Callable[[bool], Asic]:
    """The flow to standard cells at 1 GHz, by whether clocks are gated."""
    front, mapper, sta = fpga_yosys(), native_yosys(), opensta()
    if front is None or mapper is None or sta is None:
        pytest.skip("a native Yosys, a Yosys from 0.40 and OpenSTA are not all installed")
    return lambda gated: Asic(front, mapper, sta, liberty, 1e9, gated)
