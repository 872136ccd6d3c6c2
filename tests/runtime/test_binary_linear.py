"""1-bit linear layers: equal to NumPy to the last bit for every width of activations, and one bit per weight."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lutra.errors import InputError
from lutra.runtime.binary_linear import BinaryLinear
from lutra.runtime.library import INSTRUCTION_SETS, library

kernels = library()
AVAILABLE = INSTRUCTION_SETS[: kernels.lutra_best_isa() + 1] if kernels else ()

needs_kernels = pytest.mark.skipif(not AVAILABLE, reason="no C++ compiler here: the runtime is NumPy itself")


def random_layer(rng: np.random.Generator, inputs: int, outputs: int, bits: int, signed: bool) -> BinaryLinear:
    weights = rng.choice([-1, 1], (inputs, outputs))
    scales, offsets = rng.normal(size=(2, outputs))
    layer = BinaryLinear(weights, bits, signed, 4 / 2**bits, float(rng.normal()), scales, offsets)
    np.testing.assert_array_equal(layer.weights(), weights)
    return layer


@needs_kernels
@pytest.mark.parametrize("isa", AVAILABLE)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    inputs=st.one_of(st.integers(1, 40), st.sampled_from([768, 780, 1541])),
    outputs=st.one_of(st.integers(1, 70), st.sampled_from([256, 300])),
    tokens=st.sampled_from([0, 1, 2, 33, 64]),
    bits=st.integers(1, 8),
    signed=st.booleans(),
)
def test_equals_numpy(
    monkeypatch: pytest.MonkeyPatch,
    isa: str,
    seed: int,
    inputs: int,
    outputs: int,
    tokens: int,
    bits: int,
    signed: bool,
) -> None:
    monkeypatch.setenv("LUTRA_ISA", isa)
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, inputs, outputs, bits, signed)
    assert layer.isa == isa
    x = rng.normal(0, 3, (tokens, inputs)).astype(np.float32)
    np.testing.assert_array_equal(layer(x), layer.reference(x))


def test_reference_is_the_plain_product() -> None:
    weights = np.array([[1, -1], [-1, -1], [1, 1]])
    layer = BinaryLinear(weights, bits=4, signed=True, scale=0.5)
    x = np.array([[0.25, -100.0, 1.2], [100.0, 0.0, -0.26]], np.float32)
    # 0.25 / 0.5 = 0.5 rounds up to 1; the codes are [[1, -8, 2], [7, 0, -1]].
    np.testing.assert_array_equal(layer(x), 0.5 * np.array([[11, 9], [6, -8]], np.float32))


@needs_kernels
def test_the_largest_sums_do_not_overflow() -> None:
    for bits in (1, 2, 4, 8):
        layer = BinaryLinear(np.ones((6000, 3)), bits, signed=False, scale=1.0)
        x = np.full((3, 6000), 2.0**bits, np.float32)
        np.testing.assert_array_equal(layer(x), np.full((3, 3), 6000 * (2**bits - 1), np.float32))


@needs_kernels
def test_one_bit_per_weight() -> None:
    layer = BinaryLinear(np.ones((768, 768)), 4, True, 1.0)
    assert layer._packed.nbytes == 768 * 768 // 8


@needs_kernels
def test_concurrent_calls() -> None:
    rng = np.random.default_rng(0)
    layer = random_layer(rng, 300, 200, 4, True)
    inputs = [rng.normal(size=(rows, 300)).astype(np.float32) for rows in (1, 40, 100) * 6]
    with ThreadPoolExecutor(4) as pool:
        for x, y in zip(inputs, pool.map(layer, inputs), strict=True):
            np.testing.assert_array_equal(y, layer.reference(x))


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    library.cache_clear()
    try:
        layer = random_layer(np.random.default_rng(1), 30, 20, 4, True)
        assert layer.isa == "numpy"
        x = np.ones((2, 30), np.float32)
        np.testing.assert_array_equal(layer(x), layer.reference(x))
    finally:
        library.cache_clear()


def test_wrong_input() -> None:
    weights = np.ones((4, 3))
    for wrong in (np.zeros((4, 3)), np.ones(4), np.full((2, 2), 2)):
        with pytest.raises(InputError, match="matrix of"):
            BinaryLinear(wrong, 4, True, 1.0)
    with pytest.raises(InputError, match="bits must lie"):
        BinaryLinear(weights, 9, True, 1.0)
    with pytest.raises(InputError, match="column factors"):
        BinaryLinear(weights, 4, True, 1.0, column_scale=np.ones(4))
    with pytest.raises(InputError, match="float32"):
        BinaryLinear(weights, 4, True, 1.0)(np.ones((1, 4)))
