"""Whole frozen transformers at full speed: compiled kernels that equal the golden model bit for bit.

Without a C++ compiler `whole_runtime` takes the golden model itself; one notice says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lutra.errors import InputError, LutraError
from lutra.frozen import golden
from lutra.frozen.graph import Graph
from lutra.frozen.ops import Embedding, Past
from lutra.frozen.types import IntArray
from lutra.runtime.library import INSTRUCTION_SETS, compiled
from lutra.runtime.threads import checked_threads
from lutra.runtime.whole.layout import WholeLayout

WORTH_A_THREAD = 500_000
"""Nanoseconds of work for each thread, or more: for less, waking others takes longer than what they do."""


class WholeRuntime:
    """A whole program. Calls may come from several threads at once; results never depend on their number.

    Of `threads`, a call takes as many as its work is worth.

    Attributes:
        isa: "amx", "avx512", "avx2" or "scalar".
        context: how many tokens a sequence can have; None where sequences come whole.

    Raises:
        FrozenModelError: an operation that the kernels do not have.
        InputError: see `compiled`; LutraError: there are no compiled kernels (see `whole_runtime`).
    """

    def __init__(self, program: Graph, threads: int = 1) -> None:
        self.program, self.threads = program, checked_threads(threads)
        self._layout = WholeLayout(program)
        found = compiled()
        if found is None:
            raise LutraError("no compiled kernels; whole_runtime takes the golden model then")
        self._kernels, self.isa = found
        self._isa, self._worth_a_thread = INSTRUCTION_SETS.index(self.isa), WORTH_A_THREAD
        first = program.ops[0]
        self._largest = len(first.tokens) - 1 if isinstance(first, Embedding) else program.input_type.maximum
        self._output_width, self._output_rows = program.output_width, program.values()[program.output].rows
        self.context = program.context

    def run(self, rows: IntArray) -> IntArray:
        """Whole sequences (B, T, width) of the program's input -> (B, T or fixed rows, width) of its output.

        Raises:
            InputError: wrong shape or dtype, values outside the input type, sequences beyond the context.
        """
        return self._call(rows, 0, None, 0)

    def session(self) -> WholeSession:
        """Sequences that grow."""
        return WholeSession(self)

    def __reduce__(self) -> tuple[type[WholeRuntime], tuple[Graph, int]]:
        return WholeRuntime, (self.program, self.threads)  # a copy lays its own memory out

    def _call(self, rows: IntArray, past: int, cache: np.ndarray | None, capacity: int) -> IntArray:
        program = self.program
        self._check(rows, past)
        x = np.ascontiguousarray(rows, self._layout.input_dtype)
        sequences, tokens = x.shape[:2]
        shape = (sequences, self._output_rows or tokens, self._output_width)
        out = np.empty(shape, self._layout.output_dtype)
        failed = self._kernels.lutra_whole_run(
            self._layout.address,
            self._isa,
            x.ctypes.data,
            out.ctypes.data,
            sequences,
            tokens,
            past,
            None if cache is None else cache.ctypes.data,
            capacity,
            self.threads,
            self._worth_a_thread,
        )
        if failed:
            raise LutraError(f"{program.name}: out of memory; run fewer threads or sequences")
        return out

    def _check(self, rows: IntArray, past: int) -> None:
        program = self.program
        width, fixed = program.input_width, program.input_rows
        fits = rows.ndim == 3 and rows.shape[2] == width and fixed in (None, rows.shape[1]) and rows.shape[1] > 0
        if not fits or not np.issubdtype(rows.dtype, np.integer):
            shape = f"(sequences, {fixed or 'tokens'}, {width})"
            raise InputError(f"{program.name}: input must be integers of shape {shape}, got {rows.dtype} {rows.shape}")
        if rows.size and (rows.min() < 0 or rows.max() > self._largest):
            found = f"found {rows.min()} to {rows.max()}"
            raise InputError(f"{program.name}: input must lie in [0, {self._largest}], {found}")
        context = self.context
        if fixed is None and context is not None and past + rows.shape[1] > context:
            raise InputError(f"{past + rows.shape[1]} tokens are more than the model's context of {context}")


class WholeSession:
    """Sequences that grow: every call takes the next tokens of each and gives the output's rows of these.

    Keys and values of earlier tokens are kept as the kernels read them.
    """

    def __init__(self, runtime: WholeRuntime) -> None:
        context = runtime.context
        if context is None:
            raise InputError(f"{runtime.program.name}: takes whole sequences; call run")
        self._runtime, self._context = runtime, context
        self._past = 0
        self._cache: np.ndarray | None = None
        self._sequences = 0

    def __call__(self, rows: IntArray) -> IntArray:
        """(B, T, width) -> (B, T, width of the output).

        Raises:
            InputError: see `WholeRuntime.run`; or another number of sequences than before.
        """
        runtime = self._runtime
        if self._cache is None:
            self._sequences = len(rows)
            bytes_ = runtime._kernels.lutra_whole_cache_bytes(runtime._layout.address, self._sequences, self._context)
            self._cache = _aligned(np.zeros(bytes_, np.uint8))
        if len(rows) != self._sequences:
            raise InputError(f"{len(rows)} sequences, but {self._sequences} were begun; start another session")
        out = runtime._call(rows, self._past, self._cache, self._context)
        self._past += rows.shape[1]
        return out

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._cache is not None:
            self._cache = _aligned(self._cache)  # of its own, where the kernels can read it


def _aligned(values: np.ndarray) -> np.ndarray:
    """A copy of bytes at an address that is a multiple of 64."""
    memory = np.empty(values.size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + values.size]
    copy[:] = values
    return copy


class GoldenWhole:
    """The golden model in the place of the kernels."""

    isa = "golden"

    def __init__(self, program: Graph) -> None:
        self.program = program

    def run(self, rows: IntArray) -> IntArray:
        return golden.run(self.program, rows)

    def session(self) -> GoldenSession:
        return GoldenSession(self.program)


class GoldenSession:
    """Sequences that grow, by the golden model."""

    def __init__(self, program: Graph) -> None:
        self._program, self._past = program, Past()

    def __call__(self, rows: IntArray) -> IntArray:
        return golden.run(self._program, rows, past=self._past)


def whole_runtime(program: Graph, threads: int = 1) -> WholeRuntime | GoldenWhole:
    """The kernels for a program, or the golden model where there is no compiler.

    Raises:
        FrozenModelError, InputError: see `WholeRuntime`.
    """
    return GoldenWhole(program) if compiled() is None else WholeRuntime(program, threads)
