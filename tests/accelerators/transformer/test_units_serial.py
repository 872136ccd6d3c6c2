"""Root and reciprocal of the transformer's vector units: every bit, every cycle, and faults in each."""

from __future__ import annotations

import numpy as np
import pytest

import transformer_units
from lutra.accelerators.transformer.units import RECIPROCAL_CYCLES, ROOT_CYCLES
from lutra.frozen.arithmetic import isqrt, recip
from transformer_units import RECIPROCAL, RECIPROCAL_BITS, ROOT, SERIAL_FAULTS, serial_variants

pytestmark = pytest.mark.usefixtures("unoptimised")

LARGEST = 2**52 - 1


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return transformer_units.build_serial(tmp_path_factory.mktemp("serial"))


def around(values):
    """Values, and those beside them that a root or a reciprocal may get wrong."""
    return np.concatenate([values - 1, values, values + 1])


def wrong_roots(bench, values, variant=0):
    cycles, roots, _, stray = bench.run(ROOT, variant, values)
    return np.count_nonzero(roots != isqrt(values)) + np.count_nonzero(cycles != ROOT_CYCLES) + stray


def wrong_reciprocals(bench, values, variant=0):
    cycles, factors, exponents, stray = bench.run(RECIPROCAL, variant, values)
    factor, exponent = recip(values)
    wrong = (factors != factor) | (exponents != exponent) | (cycles != RECIPROCAL_CYCLES)
    return np.count_nonzero(wrong) + stray


def some_roots(rng, count):
    squares = np.concatenate([rng.integers(1, 2**26, count) ** 2, (1 << np.arange(26)) ** 2])
    return np.concatenate([around(squares), rng.integers(0, LARGEST, count), np.arange(256), [0, LARGEST]])


def test_roots_are_rounded_down(bench):
    assert wrong_roots(bench, some_roots(np.random.default_rng(1), 3000)) == 0


@pytest.mark.slow
def test_every_root_of_20_bits_and_every_square(bench):
    assert wrong_roots(bench, np.arange(2**20)) == 0
    squares = np.arange(1, 2**26, 97, dtype=np.int64) ** 2
    assert wrong_roots(bench, around(squares)) == 0


def test_the_reciprocal_of_every_sum_of_exponentials(bench):
    assert wrong_reciprocals(bench, np.arange(1, 2**17), RECIPROCAL_BITS.index(17)) == 0


@pytest.mark.parametrize("variant", range(len(RECIPROCAL_BITS)), ids=[f"{bits} bits" for bits in RECIPROCAL_BITS])
def test_reciprocals_of_all_widths(bench, variant):
    bits = RECIPROCAL_BITS[variant]
    values = np.concatenate([around(1 << np.arange(bits)), np.random.default_rng(2).integers(1, 2**bits, 2000)])
    assert wrong_reciprocals(bench, values[(values > 0) & (values < 2**bits)], variant) == 0


@pytest.mark.parametrize("module", SERIAL_FAULTS)
def test_faults_are_found(bench, module):
    rng = np.random.default_rng(3)
    values = (
        some_roots(rng, 50) if module == ROOT else np.concatenate([1 << np.arange(26), rng.integers(1, 2**26, 200)])
    )
    wrong = wrong_roots if module == ROOT else wrong_reciprocals
    first = len(serial_variants(module)) - len(SERIAL_FAULTS[module])
    missed = [fault for index, fault in enumerate(SERIAL_FAULTS[module]) if not wrong(bench, values, first + index)]
    assert missed == []
