"""Memory of large results: given back when the last view of a result is gone, and taken for the next one.

Fresh memory would come from the system page by page, filled with zeros: that can take as long as the block itself.
"""

from __future__ import annotations

import numpy as np

from lutra.errors import FrozenModelError
from lutra.frozen.graph import Graph

LARGE_BYTES = 2**20
KEPT_BYTES = 2**27
"""At most so much memory waits for its next use, in the whole process."""
CACHE_LINE_BYTES = 64
DTYPES = tuple(np.dtype(name) for name in ("int8", "uint8", "int16", "uint16", "int32"))
"""What a result can be, the narrowest first."""

_waiting: list[np.ndarray] = []


class _Lease:
    """The owner of a result's memory as NumPy sees it."""

    def __init__(self, memory: np.ndarray, rows: int, columns: int, dtype: np.dtype) -> None:
        self._memory = memory
        start = memory.ctypes.data + -memory.ctypes.data % CACHE_LINE_BYTES
        self.__array_interface__ = {
            "version": 3,
            "typestr": dtype.str,
            "shape": (rows, columns),
            "data": (start, False),
        }

    def __del__(self) -> None:
        _waiting.append(self._memory)
        while sum(memory.size for memory in _waiting) > KEPT_BYTES:
            del _waiting[:1]  # not pop: another thread may have taken the last one


def result_dtype(graph: Graph) -> np.dtype:
    """The narrowest of `DTYPES` that holds every value of the graph's output type.

    Raises:
        FrozenModelError: none does.
    """
    type_ = graph.output_type
    for dtype in DTYPES:
        held = np.iinfo(dtype)
        if held.min <= type_.minimum and type_.maximum <= held.max:
            return dtype
    raise FrozenModelError(f"{graph.name}: the runtime gives at most int32 output, this block has {type_}")


def empty_result(rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
    """(rows, columns), contents undefined; a large one begins at a cache line, to be written past the caches."""
    size = dtype.itemsize * rows * columns
    if size < LARGE_BYTES:
        return np.empty((rows, columns), dtype)
    return np.asarray(_Lease(_memory_of(size + CACHE_LINE_BYTES), rows, columns, dtype))


def _memory_of(size: int) -> np.ndarray:
    """Memory of `size` bytes or not much more. Other threads may take and give back meanwhile."""
    for _ in range(len(_waiting)):
        try:
            memory = _waiting.pop(0)
        except IndexError:
            break
        if size <= memory.size <= 2 * size:
            return memory
        _waiting.append(memory)
    return np.empty(size, np.uint8)
