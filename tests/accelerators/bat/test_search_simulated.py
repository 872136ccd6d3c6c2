"""Points of a search, built and simulated: what the search says of a point is what its RTL does, cycle by cycle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bat_models
from frozen_berts import small_config
from lutra.accelerators.bat import bench, compiler, schedule
from lutra.accelerators.bat.config import config_for
from lutra.accelerators.bat.latency import Memory
from lutra.accelerators.bat.search import PAPER_SPACE, Method, Space, buildable, evaluate

KINDS = {"BinaryBERT": ("binary", 2, (8, 4)), "BMT": ("bmt", 2, (4, 2)), "BiT": ("bit", 1, (1,))}
SPACE = Space(
    methods=tuple(
        Method(f"{name} W1A{bits} {8 * heads}/{inner}", copies, bits, heads, inner, name != "BinaryBERT")
        for name, (_, copies, all_bits) in KINDS.items()
        for bits in all_bits
        for heads in (1, 2, 4)
        for inner in (12, 24, 48)
    ),
    p_dpu=(1, 2, 3, 4, 6, 8),
    p_quan=(2, 4, 8),
    p_vu=(2, 4, 6, 8, 10),
    p_ln=(1, 2, 3, 4),
    p_pe=16,
    p_softmax=2,
    layers=3,
    tokens=7,
    width=24,
    head_width=8,
    memory=Memory(latency=9, gap=1),
)
"""The paper's Table 3 with widths and lanes of toys: as many points."""


def drawn(seed):
    """A point that can be built: method, and numbers of both modules."""
    rng = np.random.default_rng(seed)
    method = SPACE.methods[rng.integers(len(SPACE.methods))]
    places = rng.choice(np.flatnonzero(buildable(SPACE, method)), 2)
    return method, tuple(int(place) for place in places)


def built_for(seed, layers=3):
    """Space, model and accelerator of a drawn point, and what the search says that it takes."""
    method, (first, second) = drawn(seed)
    space = replace(SPACE, methods=(method,), layers=layers)
    config = small_config(
        layers=layers,
        heads=method.heads,
        head_width=space.head_width,
        width=space.width,
        intermediate=method.intermediate,
        positions=space.tokens,
        quantisation={"method": KINDS[method.name.split()[0]][0], "activation_bits": method.bits},
    )
    settings = {"memory_latency": space.memory.latency, "memory_gap": space.memory.gap}
    accelerator = config_for(config, (space.module(first), space.module(second)), **settings)
    (result,) = evaluate(space, None)
    return config, accelerator, int(result.pair_cycles()[first, second])


def test_the_toys_have_as_many_points_as_the_paper():
    assert SPACE.points == PAPER_SPACE.points
    assert len({drawn(seed) for seed in range(20)}) == 20


@pytest.mark.parametrize("seed", range(16))
def test_a_point_takes_what_its_programs_take(seed):
    config, accelerator, predicted = built_for(seed, layers=1 + seed % 4)
    image = compiler.compile_model(bat_models.untrained(config, seed), accelerator)
    programs = compiler.compile_sentences(image, [SPACE.tokens] * 2)
    assert schedule.program_cycles(programs, accelerator) == predicted


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_point_takes_the_cycles_that_the_search_predicts(tmp_path, seed):
    """In simulation, and with every value of all layers."""
    config, accelerator, predicted = built_for(seed)
    built = bench.build(accelerator, tmp_path)
    model = bat_models.frozen(config, seed)
    group = bat_models.embedded(model, [SPACE.tokens] * 2, seed)
    image = compiler.compile_model(model, accelerator)
    with np.errstate(over="ignore"):
        (run,) = bench.simulate(built, image, [group])
        assert bat_models.problems_of("here", image, model, group, run, stalls=False) == []
    assert run.cycles == predicted
