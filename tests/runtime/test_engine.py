"""The compiled runtime equals the golden model: shapes, token counts, instruction sets, threads, and no compiler."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frozen_blocks import block_graphs, random_rows
from lutra.errors import FrozenModelError, InputError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.frozen.random_block import random_block
from lutra.frozen.types import TensorType
from lutra.runtime.engine import BlockRuntime, load_runtime
from lutra.runtime.library import INSTRUCTION_SETS, few_tokens_call, library

kernels = library()
AVAILABLE = INSTRUCTION_SETS[: kernels.lutra_best_isa() + 1] if kernels else ()

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no C++ compiler here: the runtime is the golden model itself")


@pytest.fixture(params=AVAILABLE)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LUTRA_ISA", request.param)
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def rows_of(rng: np.random.Generator, graph: Graph, rows: int) -> np.ndarray:
    return random_rows(rng, graph, rows).astype(np.int8)


def assert_golden(runtime: BlockRuntime, x: np.ndarray) -> None:
    y = runtime(x)
    assert y.dtype == runtime.output_dtype
    np.testing.assert_array_equal(y, golden.run(runtime.graph, x))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=block_graphs(max_width=70), rows=st.sampled_from([1, 2, 40, 70]), seed=st.integers(0, 2**32 - 1))
def test_equals_golden_on_every_shape(isa: str, graph: Graph, rows: int, seed: int) -> None:
    runtime = BlockRuntime(graph)
    assert runtime.isa == isa
    assert_golden(runtime, rows_of(np.random.default_rng(seed), graph, rows))


@pytest.mark.parametrize("tokens", [0, 1, 63, 64, 65, 511, 513, 2049])
def test_equals_golden_on_every_token_count(isa: str, rng: np.random.Generator, tokens: int) -> None:
    graph = random_block(rng, width=33, luts=(70, 40), inputs=(6, 6), max_shift=10)
    assert_golden(BlockRuntime(graph), rows_of(rng, graph, tokens))


OUTPUT_TYPES = [
    (TensorType(True, 5), "int8"),
    (TensorType(True, 8), "int8"),
    (TensorType(False, 7), "int8"),
    (TensorType(False, 8), "uint8"),
    (TensorType(True, 9), "int16"),
    (TensorType(True, 16), "int16"),
    (TensorType(False, 9), "int16"),
    (TensorType(False, 16), "uint16"),
    (TensorType(True, 17), "int32"),
    (TensorType(False, 17), "int32"),
    (TensorType(True, 32), "int32"),
    (TensorType(False, 31), "int32"),
]


def block_with_output(rng: np.random.Generator, type_: TensorType, width: int) -> Graph:
    """Its outputs reach both ends of `type_` (if that has at most 16 bits) and what lies between."""
    graph = random_block(rng, width=20, output_width=width, luts=(80,), inputs=(6,))
    shift = np.full(width, max(0, 22 - type_.bits))  # sums and bias are about 2^10, so are the multipliers
    last = replace(graph.ops[-1], multiplier=rng.integers(2**10, 2**11, width), shift=shift, type=type_)  # type: ignore[type-var]
    return replace(graph, ops=(*graph.ops[:-1], last))


@pytest.mark.parametrize(("type_", "dtype"), OUTPUT_TYPES, ids=lambda value: str(value))
@pytest.mark.parametrize("width", [32, 45, 96])
def test_every_output_type(isa: str, rng: np.random.Generator, type_: TensorType, dtype: str, width: int) -> None:
    graph = block_with_output(rng, type_, width)
    runtime = BlockRuntime(graph)
    assert runtime.output_dtype == dtype
    for tokens in (1, 63, 64, 65, 1000):
        assert_golden(runtime, rows_of(rng, graph, tokens))
    if type_.bits <= 16:
        y = runtime(rows_of(rng, graph, 1000))
        assert y.min() == type_.minimum and y.max() == type_.maximum
        assert len(np.unique(y)) > min(2**type_.bits, 1000) / 2, "next to no output lies between the ends of the type"


@pytest.mark.parametrize(
    "type_", [TensorType(True, 8), TensorType(False, 8), TensorType(True, 16), TensorType(True, 20)]
)
# Rows that are not whole cache lines, and rows that are.
@pytest.mark.parametrize("width", [pytest.param(1, marks=pytest.mark.slow), 40, 192])
def test_large_results_of_every_width(isa: str, rng: np.random.Generator, type_: TensorType, width: int) -> None:
    graph = block_with_output(rng, type_, width)
    runtime = BlockRuntime(graph, threads=2)
    tokens = 2**20 // (width * runtime.output_dtype.itemsize) + 1
    assert_golden(runtime, rows_of(rng, graph, tokens))


def test_many_tokens_of_the_size_of_a_vision_transformer(rng: np.random.Generator) -> None:
    graph = random_block(rng, width=192, thermometer_bits=8, luts=(768, 192), inputs=(6, 6), max_shift=14)
    assert_golden(BlockRuntime(graph, threads=2), rows_of(rng, graph, 12_800))


def test_sums_beyond_16_bits(isa: str, rng: np.random.Generator) -> None:
    graph = random_block(rng, width=40, thermometer_bits=31, sum_sources=(0, 2), output_bits=32, max_shift=2)
    assert int(np.abs(graph.ops[-2].encoded).sum(axis=0).max()) > 2**16  # type: ignore[union-attr]
    assert_golden(BlockRuntime(graph), rows_of(rng, graph, 130))
    assert_golden(BlockRuntime(graph), rows_of(rng, graph, 3))


def test_wide_multipliers_and_shifts(isa: str, rng: np.random.Generator) -> None:
    for max_shift in (20, 30):
        graph = random_block(rng, width=20, output_bits=32, max_shift=max_shift)
        wide = replace(graph.ops[-1], multiplier=graph.ops[-1].multiplier.clip(2**20), shift=graph.ops[-1].shift + 20)  # type: ignore[union-attr]
        graph = replace(graph, ops=(*graph.ops[:-1], wide))
        for tokens in (2, 100):
            assert_golden(BlockRuntime(graph), rows_of(rng, graph, tokens))


@pytest.mark.parametrize("multiplier", [2**15 - 1, 2**15])  # the largest that is multiplied in 32 bits, and the next
def test_either_width_of_the_requantisation(isa: str, rng: np.random.Generator, multiplier: int) -> None:
    graph = random_block(rng, width=70, luts=(70, 300), output_bits=20)
    for shift in (0, 12, 31, 33):
        last = replace(graph.ops[-1], multiplier=np.full(70, multiplier), shift=np.full(70, shift))  # type: ignore[arg-type]
        runtime = BlockRuntime(replace(graph, ops=(*graph.ops[:-1], last)))
        assert_golden(runtime, rows_of(rng, graph, 300))


def test_threads_do_not_change_results(rng: np.random.Generator) -> None:
    graph = random_block(rng, width=50, luts=(90, 70), inputs=(6, 7))
    x = rows_of(rng, graph, 5000)
    expected = BlockRuntime(graph, threads=1)(x)
    for threads in (2, 3, 16):
        np.testing.assert_array_equal(BlockRuntime(graph, threads=threads)(x), expected)


def test_threads_without_openmp_do_not_change_results(rng: np.random.Generator, tmp_path: Path) -> None:
    graph = random_block(rng, width=50, luts=(90, 70), inputs=(6, 7))
    store.save(FrozenModel((graph,)), tmp_path)
    np.save(tmp_path / "x.npy", rows_of(rng, graph, 5000))
    script = """
import ctypes, sys
from pathlib import Path
import numpy as np
from lutra.frozen import golden
from lutra.runtime.engine import load_runtime
folder = Path(sys.argv[1])
(block,) = load_runtime(folder, threads=3).blocks.values()
x = np.load(folder / "x.npy")
np.testing.assert_array_equal(block(x), golden.run(block.graph, x))
assert not hasattr(ctypes.CDLL(None), "GOMP_parallel"), "this process has OpenMP"
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_concurrent_calls(isa: str, rng: np.random.Generator) -> None:
    runtimes = [BlockRuntime(random_block(rng, width=width)) for width in (12, 90)]
    inputs = [(runtime, rows_of(rng, runtime.graph, rows)) for runtime in runtimes for rows in (1, 100, 1500)] * 4
    expected = [golden.run(runtime.graph, x) for runtime, x in inputs]
    with ThreadPoolExecutor(6) as pool:
        for y, wanted in zip(pool.map(lambda pair: pair[0](pair[1]), inputs), expected, strict=True):
            np.testing.assert_array_equal(y, wanted)


def test_writes_into_out(rng: np.random.Generator) -> None:
    for bits, dtype in ((8, "int8"), (16, "int16"), (20, "int32")):
        runtime = BlockRuntime(random_block(rng, width=192, luts=(192,), inputs=(6,), output_bits=bits))
        x = rows_of(rng, runtime.graph, 6000)
        memory = np.zeros(6000 * 192 + 65, dtype)
        to_line = -memory.ctypes.data % 64 // memory.itemsize
        for start in (to_line, to_line + 1):  # aligned to a cache line or not
            out = memory[start : start + x.size].reshape(x.shape)
            assert runtime(x, out) is out
            np.testing.assert_array_equal(out, golden.run(runtime.graph, x))
            assert not memory[:start].any() and not memory[start + x.size :].any(), "written beside out"
            memory[:] = 0


def test_an_out_that_does_not_fit_is_an_error(rng: np.random.Generator) -> None:
    runtime = BlockRuntime(random_block(rng, width=12))
    x = rows_of(rng, runtime.graph, 4)
    misplaced = np.zeros(4 * 12 * 2 + 1, np.int8)[1:].view(np.int16).reshape(4, 12)
    read_only = np.zeros((4, 12), np.int16)
    read_only.flags.writeable = False
    wrong = [np.zeros((4, 11), np.int16), np.zeros((4, 12), np.int32), np.zeros((12, 4), np.int16).T]
    for out in (*wrong, misplaced, read_only):
        with pytest.raises(InputError, match=r"out must be writable, aligned, C-contiguous int16 of shape \(4, 12\)"):
            runtime(x, out)


def test_a_large_result_keeps_its_memory_while_any_view_of_it_lives(rng: np.random.Generator) -> None:
    runtime = BlockRuntime(random_block(rng, width=192, luts=(192,), inputs=(6,)))
    x = rows_of(rng, runtime.graph, 4000)
    result = runtime(x)
    view, expected, address = result[1:, ::2], result[1:, ::2].copy(), result.ctypes.data
    del result
    others = [runtime(np.roll(x, shift, axis=0)) for shift in (1, 2)]
    np.testing.assert_array_equal(view, expected)
    assert address not in [other.ctypes.data for other in others]
    del view
    assert runtime(x).ctypes.data == address, "memory that nobody reads any more was not used again"


def test_wrong_input(rng: np.random.Generator) -> None:
    graph = random_block(rng, width=12)
    for wrong in (np.zeros((2, 13), np.int8), np.zeros((2, 12)), np.zeros(12, np.int8), np.zeros((12, 2), np.int8).T):
        with pytest.raises(InputError, match="C-contiguous int8"):
            BlockRuntime(graph)(wrong)
    narrow = replace(graph, input_type=TensorType(True, 7))
    with pytest.raises(InputError, match=r"must lie in \[-64, 63\]"):
        BlockRuntime(narrow)(np.full((1, 12), 64, np.int8))
    with pytest.raises(FrozenModelError, match="int8 input"):
        BlockRuntime(replace(graph, input_type=TensorType(False, 8)))
    with pytest.raises(FrozenModelError, match="at most int32 output"):
        BlockRuntime(block_with_output(rng, TensorType(False, 32), 12))


def test_an_unknown_instruction_set_is_an_error(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTRA_ISA", "altivec")
    with pytest.raises(InputError, match="LUTRA_ISA=altivec"):
        BlockRuntime(random_block(rng))


def test_loads_a_frozen_model(rng: np.random.Generator, tmp_path: Path) -> None:
    graphs = tuple(random_block(rng, width=width, name=f"layer.{width}") for width in (8, 16))
    store.save(FrozenModel(graphs), tmp_path)
    runtime = load_runtime(tmp_path)
    for graph in graphs:
        assert_golden(runtime[graph.name], rows_of(rng, graph, 65))
    with pytest.raises(FrozenModelError, match="no block named layer"):
        runtime["layer.9"]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CXX", "no-such-compiler")
    library.cache_clear()
    few_tokens_call.cache_clear()
    yield
    library.cache_clear()
    few_tokens_call.cache_clear()


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_golden_model_runs(rng: np.random.Generator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lutra"):
        runtimes = [BlockRuntime(random_block(rng)) for _ in range(2)]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "the fast runtime is off, the golden model runs instead (same numbers, slower)"
    ]
    for runtime in (*runtimes, BlockRuntime(block_with_output(rng, TensorType(False, 8), 20))):
        assert runtime.isa == "golden"
        assert_golden(runtime, rows_of(rng, runtime.graph, 65))
