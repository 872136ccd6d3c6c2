"""Frozen weightless blocks at full speed: compiled kernels that equal the golden model bit for bit.

Without a C++ compiler the golden model itself runs; one notice says so.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from lutra.errors import FrozenModelError, InputError, LutraError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.runtime.library import INSTRUCTION_SETS, compiled, few_tokens_call
from lutra.runtime.program import compile_block
from lutra.runtime.results import empty_result, result_dtype
from lutra.runtime.threads import checked_threads

FEW_TOKENS = 16


class BlockRuntime:
    """One weightless block. Calls may come from several threads at once; results never depend on their number.

    Attributes:
        graph: the frozen graph that is computed.
        output_dtype: dtype of the results, the narrowest of int8, uint8, int16, uint16 and int32 that holds the graph's
            output type.
        isa: "amx" and "avx512" (the same here), "avx2", "scalar", or "golden" where there is no compiler.

    Raises:
        FrozenModelError: not a weightless block with int8 input and at most 32-bit output.
        InputError: see `compiled`.
    """

    def __init__(self, graph: Graph, threads: int = 1) -> None:
        self.graph = graph
        self.threads = checked_threads(threads)
        self._block = compile_block(graph)
        self.output_dtype = result_dtype(graph)
        self._address = ctypes.addressof(self._block)
        self._input_width, self._output_width = graph.input_width, graph.output_width
        self._checked = graph.input_type.bits < 8
        kernels, self.isa = compiled() or (None, "golden")
        self._isa = -1 if kernels is None else INSTRUCTION_SETS.index(self.isa)
        self._run = None if kernels is None else kernels.lutra_run_block
        self._run_few = None if kernels is None else few_tokens_call()

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows of int8 codes (N, D) -> `output_dtype` (N, D_out), both C-contiguous.

        `out`, where given, is written to and returned. Sums of results need a wider dtype: NumPy keeps theirs.

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
            out = empty_result(rows, self._output_width, self.output_dtype)
        else:
            self._check_out(out, rows)
        if self._run is None:
            out[:] = golden.run(self.graph, x)
            return out
        if self._checked:
            self._check_range(x)
        if rows <= FEW_TOKENS and self._run_few:
            failed = self._run_few(self._address, self._isa, x, out, rows)
        else:
            source, target = x.__array_interface__["data"][0], out.__array_interface__["data"][0]
            failed = self._run(self._address, self._isa, source, target, rows, self.threads)
        if failed:
            raise LutraError(f"{self.graph.name}: out of memory; run fewer threads")
        return out

    def __reduce__(self) -> tuple[type[BlockRuntime], tuple[Graph, int]]:
        return BlockRuntime, (self.graph, self.threads)  # a copy lays its own memory out

    def _check_out(self, out: np.ndarray, rows: int) -> None:
        shape = (rows, self._output_width)
        if out.dtype != self.output_dtype or out.shape != shape or not out.flags.carray:
            raise InputError(
                f"{self.graph.name}: out must be writable, aligned, C-contiguous {self.output_dtype} of shape {shape}, "
                f"got {out.dtype} {out.shape}"
            )

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
