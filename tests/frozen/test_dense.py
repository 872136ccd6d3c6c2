"""Products and ShiftGELU as frozen operations: word for word as in spec.md, and wrong ones are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.errors import FrozenModelError
from lutra.frozen import golden
from lutra.frozen.dense import quantise_mlp
from lutra.frozen.graph import Graph
from lutra.frozen.ops import MatMul, ShiftGelu, product_range
from lutra.frozen.shift import largest_unit
from lutra.frozen.types import TensorType

INT8 = TensorType(True, 8, 0.03)


def exponential_by_hand(d, unit, shift):
    p = max(d + (d >> 1) - (d >> 4), -shift * unit)
    q = -p // unit
    return ((p + unit * q + 2 * unit) * 2 ** (shift - q)) // 2


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=9), st.integers(1, 23), st.data())
def test_shift_gelu_follows_the_specification(row, shift, data):
    unit = data.draw(st.integers(1, min(largest_unit(shift), 5000)))
    largest = max(0, *row)
    rest = exponential_by_hand(-largest, unit, shift)
    numerators = [exponential_by_hand(x - largest, unit, shift) for x in row]
    expected = [x * ((e * ((2**31 - 1) // (e + rest))) >> 24) for x, e in zip(row, numerators, strict=True)]
    graph = Graph("g", "x", INT8, len(row), (ShiftGelu(("x",), "y", len(row), unit, shift),))
    graph.check()
    assert golden.run(graph, np.array([row])).tolist() == [expected]
    assert graph.output_type == TensorType(True, 15, 0.03 / 128)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_matmul_and_the_range_of_its_sums(inputs, outputs, seed):
    rng = np.random.default_rng(seed)
    op = MatMul(("x",), "y", rng.integers(-128, 128, (inputs, outputs)), rng.integers(-(2**20), 2**20, outputs))
    graph = Graph("g", "x", INT8, inputs, (op,))
    graph.check()
    x = rng.integers(-128, 128, (4, inputs))
    expected = [
        [int(op.bias[p]) + sum(int(row[k]) * int(op.weights[k, p]) for k in range(inputs)) for p in range(outputs)]
        for row in x
    ]
    y = golden.run(graph, x)
    assert y.tolist() == expected
    low, high = product_range(op, INT8)
    assert low <= y.min() <= y.max() <= high
    assert graph.output_type.minimum <= low and high <= graph.output_type.maximum


@pytest.fixture
def graph():
    rng = np.random.default_rng(0)
    return quantise_mlp("mlp", rng.normal(size=(20, 6)), rng.normal(size=(24, 6)) / 2, rng.normal(size=(6, 24)))


@pytest.mark.parametrize(
    ("position", "change", "message"),
    [
        (0, {"weights": np.full((6, 24), 128)}, r"weights must lie in \[-128, 127\]"),
        (0, {"weights": np.zeros((5, 24), int)}, r"weights must have shape \(6, 24\)"),
        (0, {"bias": np.full(24, 2**31 - 1)}, "weights and bias overflow"),
        (2, {"width": 23}, "width must be 24"),
        (2, {"shift": 24}, r"shift must lie in \[1, 23\]"),
        (2, {"unit": 128}, r"unit must lie in \[1, 127\]"),
        (2, {"inputs": ("sums",)}, "inputs must be int8"),
    ],
)
def test_wrong_operations_are_named(graph, position, change, message):
    ops = list(graph.ops)
    ops[position] = replace(ops[position], **({"shift": 23} if "unit" in change else {}), **change)
    with pytest.raises(FrozenModelError, match=f"mlp, operation {position}: .*{message}"):
        replace(graph, ops=tuple(ops)).check()


def test_a_quantised_mlp_means_what_the_real_one_computes():
    rng = np.random.default_rng(1)
    x, first, second = rng.normal(size=(200, 32)), rng.normal(size=(128, 32)) / 6, rng.normal(size=(32, 128)) / 11
    biases = rng.normal(size=128) / 2, rng.normal(size=32)
    hidden = x @ first.T + biases[0]
    real = hidden / (1 + np.exp(-1.702 * hidden)) @ second.T + biases[1]
    frozen = quantise_mlp("mlp", x, first, second, *biases)
    ours = golden.dequantise(golden.run(frozen, golden.quantise(x, frozen.input_type)), frozen.output_type)
    assert np.sqrt(((ours - real) ** 2).mean()) < 0.1 * real.std()
