"""Linear layers with weights +1 and -1 at one bit each, activations of 1 to 8 bits (BMT's layers after training)."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar

import numpy as np

from lutra.errors import InputError, LutraError
from lutra.runtime.library import INSTRUCTION_SETS, compiled
from lutra.runtime.structure import pad

WEIGHTS_PER_GROUP = 6
PANEL = 256
# Byte b of the expanded addresses of 64 columns belongs to column COLUMN_OF_BYTE[b] (see linear.h).
COLUMN_OF_BYTE = np.array([(b // 8 % 2) * 32 + b // 16 * 8 + b % 8 for b in range(64)])


class _Linear(ctypes.Structure):
    """`struct Linear` of linear.h."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_int64) for name in ("inputs", "outputs", "groups", "bits", "lowest_code")],
        *[(name, ctypes.c_void_p) for name in ("weights", "weight_sum")],
        *[(name, ctypes.c_float) for name in ("scale_inverse", "offset")],
        *[(name, ctypes.c_void_p) for name in ("column_scale", "column_offset")],
    ]


class BinaryLinear:
    """`y = (codes(x) @ weights) * column_scale + column_offset`, integers exact, every float step rounded to float32.

    codes(x) = clip(floor((x - offset) * (1 / scale) + 0.5)) into signed or unsigned `bits`. Calls may come from several
    threads at once.

    Args:
        weights: (K, N) of +1 and -1; kept at one bit each.
        bits: of an activation, 1 to 8; a signed 1-bit activation is -1 or 0.
        column_scale: (N,), by default `scale`; column_offset: (N,), by default 0.

    Raises:
        InputError: weights other than +1 and -1, wrong shapes, bits or scale; see also `compiled`.
    """

    def __init__(
        self,
        weights: np.ndarray,
        bits: int,
        signed: bool,
        scale: float,
        offset: float = 0.0,
        column_scale: np.ndarray | None = None,
        column_offset: np.ndarray | None = None,
    ) -> None:
        if weights.ndim != 2 or weights.size == 0 or not (np.abs(weights) == 1).all():
            raise InputError(f"weights must be a matrix of +1 and -1, got shape {weights.shape}")
        if not 1 <= bits <= 8 or not np.float32(scale) > 0:
            raise InputError(f"bits must lie in [1, 8] and scale be positive, got {bits} and {scale}")
        self.inputs, self.outputs = weights.shape
        self.low = -(2 ** (bits - 1)) if signed else 0
        self.high = self.low + 2**bits - 1
        self._scale = scale
        self._inverse, self._offset = np.float32(1) / np.float32(scale), np.float32(offset)
        self._column_scale = _per_column(column_scale, self.outputs, scale)
        self._column_offset = _per_column(column_offset, self.outputs, 0.0)
        self._weight_sum = pad(weights.astype(np.int32).sum(axis=0, dtype=np.int32), 0, PANEL)
        self._packed = _pack(weights > 0)
        self._layer = _Linear(
            inputs=self.inputs,
            outputs=self.outputs,
            groups=len(self._packed),
            bits=bits,
            lowest_code=self.low,
            weights=self._packed.ctypes.data,
            weight_sum=self._weight_sum.ctypes.data,
            scale_inverse=float(self._inverse),
            offset=float(self._offset),
            column_scale=self._column_scale.ctypes.data,
            column_offset=self._column_offset.ctypes.data,
        )
        self._address = ctypes.addressof(self._layer)
        kernels, self.isa = compiled() or (None, "numpy")
        self._isa = 0 if kernels is None else INSTRUCTION_SETS.index(self.isa)
        self._run = None if kernels is None else kernels.lutra_run_linear

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 (M, K), C-contiguous and finite -> float32 (M, N).

        Raises:
            InputError: wrong dtype, shape or layout.
        """
        if x.dtype != np.float32 or x.ndim != 2 or x.shape[1] != self.inputs or not x.flags.c_contiguous:
            raise InputError(f"input must be C-contiguous float32 (rows, {self.inputs}), got {x.dtype} {x.shape}")
        if self._run is None:
            return self.reference(x)
        y = np.empty((len(x), self.outputs), np.float32)
        source, target = x.__array_interface__["data"][0], y.__array_interface__["data"][0]
        if self._run(self._address, self._isa, source, target, len(x)):
            raise LutraError("binary linear layer: out of memory; run fewer threads")
        return y

    def __reduce__(self) -> tuple[type[BinaryLinear], tuple[Any, ...]]:
        """A copy lays its own memory out."""
        bits, signed = int(self._layer.bits), self.low < 0
        columns = self._column_scale[: self.outputs], self._column_offset[: self.outputs]
        return BinaryLinear, (self.weights(), bits, signed, self._scale, float(self._offset), *columns)

    def codes(self, x: np.ndarray) -> np.ndarray:
        """The integers that float32 activations are rounded to, int64."""
        scaled = (x - self._offset) * self._inverse + np.float32(0.5)
        codes: np.ndarray = np.clip(np.floor(scaled), self.low, self.high).astype(np.int64)
        return codes

    def weights(self) -> np.ndarray:
        """(K, N) int64 of +1 and -1, from the packed bits."""
        return 2 * _unpack(self._packed)[: self.inputs, : self.outputs] - 1

    def reference(self, x: np.ndarray) -> np.ndarray:
        """The definition in NumPy: equal to `__call__` to the last bit."""
        # Sums of at most 2^31 in float64 are exact, and BLAS makes the product fast.
        sums = self.codes(x).astype(np.float64) @ self.weights().astype(np.float64)
        scale, offset = self._column_scale[: self.outputs], self._column_offset[: self.outputs]
        y: np.ndarray = sums.astype(np.int32).astype(np.float32) * scale + offset
        return y


def _per_column(values: np.ndarray | None, outputs: int, default: float) -> np.ndarray:
    given = np.full(outputs, default, np.float32) if values is None else np.asarray(values, np.float32)
    if given.shape != (outputs,):
        raise InputError(f"column factors must have shape ({outputs},), got {given.shape}")
    return np.ascontiguousarray(pad(given, 0, PANEL))


def _pack(positive: np.ndarray) -> np.ndarray:
    """Boolean (K, N) -> (groups, N / 64, 48) uint8: six bits of 64 columns each; an even number of groups."""
    padded = pad(pad(positive, 0, 2 * WEIGHTS_PER_GROUP), 1, PANEL)
    bits = padded.reshape(-1, WEIGHTS_PER_GROUP, padded.shape[1] // 64, 64)  # (groups, 6, blocks, 64)
    ordered = bits[..., COLUMN_OF_BYTE].transpose(0, 2, 3, 1)  # (groups, blocks, 64, 6)
    return np.packbits(ordered.reshape(*ordered.shape[:2], -1), axis=2, bitorder="little")


def _unpack(packed: np.ndarray) -> np.ndarray:
    """The inverse of `_pack`, padded, int64."""
    groups, blocks, _ = packed.shape
    ordered = np.unpackbits(packed, axis=2, bitorder="little").reshape(groups, blocks, 64, WEIGHTS_PER_GROUP)
    bits = np.empty_like(ordered)
    bits[:, :, COLUMN_OF_BYTE] = ordered
    return bits.transpose(0, 3, 1, 2).reshape(groups * WEIGHTS_PER_GROUP, blocks * 64).astype(np.int64)
