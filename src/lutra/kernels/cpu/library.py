"""Loads the C++ kernels and mirrors the structures of `block.h`."""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lutra import settings
from lutra.errors import ToolError
from lutra.native import library as native
from lutra.native.isa import REFERENCE, chosen_isa

if TYPE_CHECKING:  # setup.py loads this file where PyTorch is not installed
    from torch import Tensor

log = logging.getLogger("lutra")

SOURCES = (
    *("forward.cpp", "mapping.cpp", "scores.cpp", "backward.cpp", "optimiser.cpp", "squared_error.cpp"),
    *("attention/attention.cpp", "attention/attention_amx.cpp"),
    *("quantise/learned_step.cpp", "quantise/weights.cpp"),
)
ISA_FLAGS = {
    "scalar": [],
    "avx2": ["-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mpopcnt"],
    "avx512": [
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bitalg"),
        *("-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mpopcnt"),
    ],
}
INSTRUCTION_SETS = (*ISA_FLAGS, "amx")
"""The plainest first. AMX is used by attention alone, in the library of AVX-512."""
CALLED_WITH_A_STRUCTURE = (
    *("lutra_attention_forward", "lutra_attention_backward"),
    *("lutra_learned_step_forward", "lutra_learned_step_backward", "lutra_few_bit_weight"),
    "lutra_squared_error_backward",
)
"""Functions of one pointer that return nothing."""
_FOLDER = Path(__file__).parent
LIBRARIES = {
    "isa": ([_FOLDER / "isa.cpp"], []),
    # -Wno-psabi: only inlined functions take vectors
    **{f"kernels-{i}": ([_FOLDER / s for s in SOURCES], [*flags, "-Wno-psabi"]) for i, flags in ISA_FLAGS.items()},
}
"""Sources and flags of every library, by name."""
_pointer = ctypes.c_void_p


class Layer(ctypes.Structure):
    """`lutra::Layer` of block.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("luts", "inputs", "below", "choices")),
        ("temperature", ctypes.c_float),
        *((name, _pointer) for name in ("tables", "connections", "scores", "candidates", "grad_tables", "grad_scores")),
    )


class Block(ctypes.Structure):
    """`lutra::Block` of block.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "features", "thermometer_bits", "threshold_rows", "outputs")),
        *((name, ctypes.c_int64) for name in ("layer_count", "groups", "threads")),
        ("layers", ctypes.POINTER(Layer)),
        ("sources", ctypes.c_uint64),
        *((name, ctypes.c_int32) for name in ("gradient", "normalised", "want_grad_x", "want_grad_thresholds")),
        ("centre", ctypes.c_float),
        *((name, _pointer) for name in ("thresholds", "window", "inverse_scale", "integer_thresholds", "requantise")),
        *((name, _pointer) for name in ("encoded", "bias", "x", "grad_y", "codes", "ranks", "y")),
        *((name, _pointer) for name in ("grad_x", "grad_thresholds", "grad_encoded", "grad_bias")),
    )


class Slice(ctypes.Structure):
    """`lutra::Slice` of optimiser.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "columns", "stride")),
        *((name, _pointer) for name in ("parameter", "grad", "mean", "square")),
        *((name, ctypes.c_float) for name in ("decay", "keep_square", "take_mean", "take_square")),
        *((name, ctypes.c_float) for name in ("root_correction", "epsilon", "step_size", "limit")),
    )


def pointer(tensor: Tensor | None) -> int | None:
    """Address of a tensor's data; None for no tensor."""
    return None if tensor is None else tensor.data_ptr()


def library() -> ctypes.CDLL | None:
    """The kernels for this machine, or None (with one warning) where they cannot be compiled.

    `LUTRA_ISA` forces an instruction set (scalar, avx2, avx512, amx) or plain PyTorch (reference).

    Raises:
        InputError: `LUTRA_ISA` is not one of these, or this machine lacks it.
    """
    if settings.ISA.text == REFERENCE or not supported_isas():
        return None
    isa = chosen_isa(supported_isas())
    return _library("avx512" if isa == "amx" else isa)


def uses_amx() -> bool:
    """Whether kernels may use AMX. Needs `library()`."""
    return chosen_isa(supported_isas()) == "amx"


@functools.cache
def supported_isas() -> tuple[str, ...]:
    """The instruction sets that this machine can run, best last; empty where kernels cannot be compiled."""
    try:
        best = int(native.load_library("isa", *LIBRARIES["isa"]).lutra_best_isa())
    except ToolError as error:
        log.warning("training runs in plain PyTorch, many times slower: %s", error)
        return ()
    return INSTRUCTION_SETS[: best + 1]


@functools.cache
def _library(isa: str) -> ctypes.CDLL | None:
    try:
        loaded = native.load_library(f"kernels-{isa}", *LIBRARIES[f"kernels-{isa}"])
    except ToolError as error:
        log.warning("training runs in plain PyTorch, many times slower: %s", error)
        return None
    for name in ("lutra_forward", "lutra_backward"):
        getattr(loaded, name).argtypes = [ctypes.POINTER(Block)]
        getattr(loaded, name).restype = ctypes.c_int64
    integer = ctypes.c_int64
    loaded.lutra_column_argmax.argtypes = [_pointer, integer, integer, _pointer, integer]
    loaded.lutra_column_argmax.restype = None
    for name in CALLED_WITH_A_STRUCTURE:
        getattr(loaded, name).argtypes = [_pointer]
        getattr(loaded, name).restype = None
    loaded.lutra_squared_error.argtypes = [_pointer]
    loaded.lutra_squared_error.restype = ctypes.c_double
    types = (_pointer, _pointer, integer, integer, ctypes.c_int32, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_float)
    loaded.lutra_dropout.argtypes = [*types, integer]
    loaded.lutra_dropout.restype = None
    loaded.lutra_gradient_norm.argtypes = [ctypes.POINTER(Slice), integer, integer]
    loaded.lutra_gradient_norm.restype = ctypes.c_double
    loaded.lutra_adamw.argtypes = [ctypes.POINTER(Slice), integer, ctypes.c_float, integer]
    loaded.lutra_adamw.restype = None
    return loaded
