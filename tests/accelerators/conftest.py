"""Simulations of a moment, whose designs take far longer to compile than to run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lutra.hardware.bench import verilator


@pytest.fixture(scope="module")
def unoptimised() -> Iterator[None]:
    """Compiles designs without optimisation, in half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verilator, "FAST_FLAGS", verilator.SLOW_FLAGS)
        yield
