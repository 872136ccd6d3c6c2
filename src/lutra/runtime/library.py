"""The compiled kernels of the runtime and the instruction set that they use."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lutra import settings
from lutra.errors import ToolError
from lutra.native import library as native
from lutra.native.isa import REFERENCE, chosen_isa

if TYPE_CHECKING:  # setup.py loads this file where NumPy is not installed
    import numpy as np

INSTRUCTION_SETS = ("scalar", "avx2", "avx512", "amx")

LIBRARIES = {"runtime": (sorted(Path(__file__).parent.glob("**/*.cpp")), ["-Wno-psabi", "-Wno-ignored-attributes"])}
"""Sources and flags of every library, by name."""

_log = logging.getLogger("lutra")


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None (with one notice) where they cannot be compiled."""
    try:
        kernels = native.load_library("runtime", *LIBRARIES["runtime"])
    except ToolError as error:
        _log.warning("the fast runtime is off, the golden model runs instead (same numbers, slower): %s", error)
        return None
    kernels.lutra_best_isa.restype = ctypes.c_int64
    kernels.lutra_run_block.restype = ctypes.c_int64
    kernels.lutra_run_block.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2]
    kernels.lutra_run_linear.restype = ctypes.c_int64
    kernels.lutra_run_linear.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 2, ctypes.c_int64]
    kernels.lutra_whole_cache_bytes.restype = ctypes.c_int64
    kernels.lutra_whole_cache_bytes.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    kernels.lutra_whole_run.restype = ctypes.c_int64
    kernels.lutra_whole_run.argtypes = [
        ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p,
        *[ctypes.c_int64] * 3,
    ]  # fmt: skip
    kernels.lutra_bert_run.restype = ctypes.c_int64
    kernels.lutra_bert_run.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 2, ctypes.c_int64]
    return kernels


@functools.cache
def few_tokens_call() -> Callable[[int, int, np.ndarray, np.ndarray, int], int] | None:
    """`run_few`, which takes array objects and keeps the GIL; None where this Python cannot do that."""
    kernels = library()
    if kernels is None or not kernels.lutra_has_buffers():
        return None
    make = ctypes.PyDLL(kernels._name).lutra_few_function
    make.restype = ctypes.py_object
    call: Callable[[int, int, np.ndarray, np.ndarray, int], int] = make()
    return call


def compiled() -> tuple[ctypes.CDLL, str] | None:
    """The compiled kernels and the instruction set that they use; None where the golden model runs instead.

    Raises:
        InputError: LUTRA_ISA names no instruction set, or one that this processor lacks.
    """
    kernels = None if settings.ISA.text == REFERENCE else library()
    if kernels is None:
        return None
    return kernels, chosen_isa(INSTRUCTION_SETS[: kernels.lutra_best_isa() + 1])
