"""Frozen weightless blocks at full speed: compiled kernels that equal the golden model bit for bit.

Without a C++ compiler the golden model itself runs; one notice says so.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from pathlib import Path

import numpy as np

from lutra import native
from lutra.errors import FrozenModelError, InputError, LutraError, ToolError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.runtime.program import compile_block

INSTRUCTION_SETS = ("scalar", "avx2", "avx512")

LARGE_RESULT_BYTES = 2**20
CACHE_LINE_BYTES = 64

_log = logging.getLogger("lutra")


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None (with one notice) where they cannot be compiled."""
    sources = sorted(Path(__file__).parent.glob("*.cpp"))
    try:
        kernels = native.load_library("runtime", sources, ["-Wno-psabi", "-Wno-ignored-attributes"])
    except ToolError as error:
        _log.warning("the fast runtime is off, the golden model runs instead (same numbers, slower): %s", error)
        return None
    kernels.lutra_best_isa.restype = ctypes.c_int64
    kernels.lutra_run_block.restype = ctypes.c_int64
    kernels.lutra_run_block.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2]
    return kernels


def instruction_set(kernels: ctypes.CDLL) -> int:
    """Index into `INSTRUCTION_SETS`: the best of this processor, or the lower one that LUTRA_ISA names.

    Raises:
        InputError: LUTRA_ISA names no instruction set, or one that this processor lacks.
    """
    best: int = kernels.lutra_best_isa()
    forced = os.environ.get("LUTRA_ISA")
    available = INSTRUCTION_SETS[: best + 1]
    if forced and forced not in available:
        raise InputError(f"LUTRA_ISA={forced}: this processor runs {', '.join(available)}; set one of them or none")
    return INSTRUCTION_SETS.index(forced) if forced else best


def _aligned_empty(rows: int, columns: int) -> np.ndarray:
    """int32 (rows, columns); a large one begins at a cache line, which the kernels need to write past the caches."""
    size = 4 * rows * columns
    if size < LARGE_RESULT_BYTES:
        return np.empty((rows, columns), np.int32)
    memory = np.empty(size + CACHE_LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE_BYTES
    return memory[start : start + size].view(np.int32).reshape(rows, columns)


class BlockRuntime:
    """One weightless block. Calls may come from several threads at once; results never depend on their number.

    Attributes:
        graph: the frozen graph that is computed.
        isa: "avx512", "avx2", "scalar", or "golden" where there is no compiler.

    Raises:
        FrozenModelError: not a weightless block with int8 input and at most 32-bit output.
        InputError: see `instruction_set`.
    """

    def __init__(self, graph: Graph, threads: int = 1) -> None:
        if threads < 1:
            raise InputError(f"threads must be at least 1, got {threads}")
        self.graph = graph
        self.threads = threads
        self._block = compile_block(graph)
        self._address = ctypes.addressof(self._block)
        self._input_width, self._output_width = graph.input_width, graph.output_width
        self._checked = graph.input_type.bits < 8
        kernels = library()
        self._isa = -1 if kernels is None else instruction_set(kernels)
        self._run = None if kernels is None else kernels.lutra_run_block
        self.isa = "golden" if kernels is None else INSTRUCTION_SETS[self._isa]

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows of int8 codes (N, D) -> int32 (N, D_out), both C-contiguous; `out` is written to and returned if given.

        Raises:
            InputError: wrong dtype, shape or layout, or codes outside the input type.
        """
        if x.dtype != np.int8 or x.ndim != 2 or x.shape[1] != self._input_width or not x.flags.c_contiguous:
            raise InputError(
                f"{self.graph.name}: input must be C-contiguous int8 of shape (rows, {self._input_width}), "
                f"got {x.dtype} {x.shape}"
            )
        rows = x.shape[0]
        if out is None:
            out = _aligned_empty(rows, self._output_width)
        else:
            self._check_out(out, rows)
        if self._run is None:
            out[:] = golden.run(self.graph, x)
            return out
        if self._checked:
            self._check_range(x)
        failed = self._run(
            self._address,
            self._isa,
            x.__array_interface__["data"][0],
            out.__array_interface__["data"][0],
            rows,
            self.threads,
        )
        if failed:
            raise LutraError(f"{self.graph.name}: out of memory; run fewer threads")
        return out

    def _check_out(self, out: np.ndarray, rows: int) -> None:
        shape = (rows, self._output_width)
        if out.dtype != np.int32 or out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
            raise InputError(f"{self.graph.name}: out must be writable C-contiguous int32 of shape {shape}")

    def _check_range(self, x: np.ndarray) -> None:
        low, high = self.graph.input_type.minimum, self.graph.input_type.maximum
        if x.size and (x.min() < low or x.max() > high):
            raise InputError(f"{self.graph.name}: input must lie in [{low}, {high}], found {x.min()} to {x.max()}")


class ModelRuntime:
    """The blocks of a frozen model by name: `runtime["transformer.h.0.mlp"](x)`.

    Raises:
        FrozenModelError, InputError: see `BlockRuntime`.
    """

    def __init__(self, model: FrozenModel, threads: int = 1) -> None:
        self.blocks = {graph.name: BlockRuntime(graph, threads) for graph in model.graphs}

    def __getitem__(self, name: str) -> BlockRuntime:
        try:
            return self.blocks[name]
        except KeyError:
            raise FrozenModelError(f"no block named {name}; there are {', '.join(self.blocks)}") from None


def load_runtime(folder: Path, threads: int = 1) -> ModelRuntime:
    """The runtime of the frozen model in `folder` (the `frozen/` of a run directory).

    Raises:
        FrozenModelError: see `lutra.frozen.store.load` and `BlockRuntime`.
    """
    return ModelRuntime(store.load(folder), threads)
