"""Synthesised dot product units of both forms are proved exact for all operands, and the proof finds changes."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from lutra.accelerators.bat.proof import DotProduct, prove_dot_product, synthesise
from lutra.errors import MismatchError
from lutra.synth.tools.find import fpga_yosys
from netlists import flip_entry

FORMS = ("count", "pe")
SMALL = (8, 2, 2, False)
OTHERS = [(8, 1, 1, True), (8, 4, 1, True), (8, 4, 1, False), (8, 2, 2, True), (2, 4, 4, True), (3, 4, 4, False)]
"""Elements, bits of x and y, signed."""


def netlist(product, folder):
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    return synthesise(yosys, product, folder)


@pytest.mark.parametrize("sums", ["count", pytest.param("pe", marks=pytest.mark.slow)])
def test_units_are_exact_for_all_operands_and_changed_tables_are_found(tmp_path, sums):
    product = DotProduct(sums, *SMALL)
    module = netlist(product, tmp_path)
    assert prove_dot_product(module, product) == product.sum_bits
    tables = [name for name, cell in module["cells"].items() if cell["type"].startswith("LUT")]
    rng, found = np.random.default_rng(1), 0
    for name in rng.choice(tables, 6, replace=False):
        changed = copy.deepcopy(module)
        cell = changed["cells"][name]
        flip_entry(cell, int(rng.integers(2 ** int(cell["type"][3]))))
        try:
            prove_dot_product(changed, product)
        except MismatchError as error:
            assert "of the sum is wrong" in str(error)
            found += 1
    # An entry that no operands reach changes nothing.
    assert found >= 4


@pytest.mark.slow
@pytest.mark.parametrize("operands", OTHERS)
@pytest.mark.parametrize("sums", FORMS)
def test_units_are_exact_for_other_operands(tmp_path, sums, operands):
    product = DotProduct(sums, *operands)
    assert prove_dot_product(netlist(product, tmp_path), product) == product.sum_bits
