"""What the tests of synthesis share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lutra.synth.asic import Asic
from lutra.synth.tools import fpga_yosys, native_yosys, opensta


@pytest.fixture
def standard_cells() -> Callable[[bool], Asic]:
    """The flow to standard cells at 1 GHz, by whether clocks are gated."""
    path = os.environ.get("LUTRA_LIBERTY")
    if not path:
        pytest.skip("LUTRA_LIBERTY does not name a Liberty file of standard cells")
    front, mapper, sta = fpga_yosys(), native_yosys(), opensta()
    if front is None or mapper is None or sta is None:
        pytest.skip("a native Yosys, a Yosys from 0.40 and OpenSTA are not all installed")
    return lambda gated: Asic(front, mapper, sta, Path(path), 1e9, gated)
