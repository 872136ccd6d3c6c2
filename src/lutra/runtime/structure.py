"""The C structures that the compiled kernels read, made from lists of names."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

_POINTER, _FLOAT, _DOUBLE = "* ", "float ", "double "


def structure(name: str, *specification: str | tuple[str, type[ctypes.Structure]]) -> type[ctypes.Structure]:
    """A structure of int64 unless a field is called "* field", "float field" or "double field", or is a structure."""
    fields: list[tuple[str, Any]] = []
    for field in specification:
        if isinstance(field, tuple):
            fields.append(field)
        elif field.startswith(_POINTER):
            fields.append((field.removeprefix(_POINTER), ctypes.c_void_p))
        elif field.startswith(_FLOAT):
            fields.append((field.removeprefix(_FLOAT), ctypes.c_float))
        elif field.startswith(_DOUBLE):
            fields.append((field.removeprefix(_DOUBLE), ctypes.c_double))
        else:
            fields.append((field, ctypes.c_int64))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


def pad(array: np.ndarray, axis: int, multiple: int) -> np.ndarray:
    """`array` with zeros behind it, up to a multiple of so many along an axis."""
    missing = -array.shape[axis] % multiple
    return np.pad(array, [(0, missing if dim == axis % array.ndim else 0) for dim in range(array.ndim)])
