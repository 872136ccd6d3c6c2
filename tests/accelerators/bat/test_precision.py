"""The engine at any precision is NumPy's product in the schedule's cycles, and one that is not is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lutra.accelerators.bat import precision
from lutra.accelerators.bat.config import PAPER_MHA, ModuleConfig
from lutra.accelerators.bat.precision import Precision, engine_design, run_engine, simulate_engine
from lutra.errors import MismatchError
from lutra.papers.bmt.figures import engine_cycles
from lutra.papers.bmt.precisions import PRECISIONS, PRODUCT, simulated
from lutra.papers.records import RECORDED, Records

MODULE = ModuleConfig(p_dpu=2, p_quan=8, p_vu=4, p_ln=4, p_pe=8)
SMALL = Precision(rows=3, inputs=21, outputs=5, weight_bits=2, activation_bits=4)


def test_sums_and_cycles_and_what_is_wrong_is_said(tmp_path, monkeypatch):
    run = simulate_engine(SMALL, MODULE, tmp_path, seed=1)
    assert (run.cycles, run.values) == (3 * 3 * 3 * 2 + 5, 2 * 3 * 5)
    interface = precision._interface(SMALL, MODULE)
    bench = precision.jobs.JobBench(tmp_path / "testbench", interface)
    planes = precision.layout.weight_planes
    monkeypatch.setattr(precision.layout, "weight_planes", lambda *given: planes(*given) ^ 1)
    with pytest.raises(MismatchError, match=r"engine, W2A4, without stalls: row 0, output 0: RTL -?\d+, NumPy -?\d+"):
        run_engine(bench, SMALL, MODULE, seed=1)
    monkeypatch.undo()
    monkeypatch.setattr(precision.products, "linear", late(precision.products.linear))
    with pytest.raises(MismatchError, match="engine, W2A4: 59 cycles in simulation, 60 by the schedule"):
        run_engine(bench, SMALL, MODULE, seed=1)


def late(linear):
    """Products that say a cycle more than they take."""

    class Late(precision.Product):
        @property
        def cycles(self):
            return super().cycles + 1

    return lambda *given: Late(**vars(linear(*given)))


def test_every_precision_is_recorded_and_takes_the_schedules_cycles():
    runs = simulated(Records(RECORDED))
    assert runs.keys() == set(PRECISIONS)
    for each, (cycles, values) in runs.items():
        assert cycles == engine_cycles(*each)
        assert values == 2 * PRODUCT["rows"] * PRODUCT["outputs"]


@pytest.mark.slow
def test_a_recorded_precision_again(tmp_path):
    run = simulate_engine(Precision(**PRODUCT, weight_bits=2, activation_bits=2), PAPER_MHA, tmp_path, seed=3)
    assert run.cycles == engine_cycles(2, 2)


def test_sums_are_as_long_as_the_longest():
    assert Precision(**PRODUCT, weight_bits=8, activation_bits=8).sum_bits == (768 * 128 * 128).bit_length() + 1
    one = engine_design(SMALL, MODULE)
    assert one.content_hash != engine_design(replace(SMALL, weight_bits=4), MODULE).content_hash
