"""How a sequence begins: tokens or pixels become rows of the residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lutra.errors import InputError
from lutra.frozen.arithmetic import clamp
from lutra.frozen.ops.base import Operation, Past, refuse_past
from lutra.frozen.types import IntArray, TensorType, Value

PIXEL_OFFSET = 128
"""What is subtracted from a pixel in [0, 255], so that it fits int8."""


@dataclass(frozen=True, eq=False)
class Embedding(Operation):
    """`y = clamp(tokens[t] + positions[p])`, for token number t at position p of its sequence."""

    kind: ClassVar[str] = "embedding"
    stored: ClassVar[dict[str, str]] = {"tokens": "int16", "positions": "int16"}
    positional: ClassVar[bool] = True
    tokens: IntArray  # (V, D)
    positions: IntArray  # (context, D)
    type: TensorType

    @property
    def context(self) -> int:
        """How many tokens a sequence can have."""
        return len(self.positions)

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        numbers = x.width == 1 and not x.type.signed and x.rows is None
        self.require(numbers, where, "inputs", "must be one token number for each token")
        self.require_type(self.type, where, 16)
        self.require(self.tokens.ndim == 2 and self.tokens.size, where, "tokens", "must be a matrix")
        enough = len(self.tokens) - 1 <= x.type.maximum
        self.require(enough, where, "tokens", f"has {len(self.tokens)} rows, more than {x.type} can name")
        width = self.tokens.shape[1]
        fitting = self.positions.ndim == 2 and self.positions.shape[1] == width
        self.require(fitting, where, "positions", f"must have {width} columns")
        self.require_range(where, "tokens", self.type.minimum, self.type.maximum)
        self.require_range(where, "positions", self.type.minimum, self.type.maximum)

    def result(self, inputs: list[Value]) -> Value:
        return Value(self.type, self.tokens.shape[1], context=self.context)

    def meaning_at(self, past: Past, *inputs: IntArray) -> IntArray:
        """Raises InputError for an unknown token or a sequence beyond the context."""
        numbers = inputs[0][:, :, 0]  # (B, T)
        if numbers.size and numbers.max() >= len(self.tokens):
            raise InputError(f"token {numbers.max()} is unknown; the model knows 0 to {len(self.tokens) - 1}")
        end = past.tokens + numbers.shape[1]
        if end > self.context:
            raise InputError(f"{end} tokens are more than the model's context of {self.context}")
        return clamp(self.tokens[numbers] + self.positions[past.tokens : end], self.type)


@dataclass(frozen=True, eq=False)
class Patches(Operation):
    """Square patches of an image as rows of `pixel - 128`.

    The image comes as one row of channels for each pixel, line by line. Patch (r, c) is row `r * columns + c`, and
    holds channel k of its pixel (i, j) at `(k * patch + i) * patch + j`, where a convolution's weights have it.
    """

    kind: ClassVar[str] = "patches"
    positional: ClassVar[bool] = True
    height: int  # of the image, in pixels
    width: int
    patch: int  # pixels to a side

    @property
    def count(self) -> int:
        return (self.height // self.patch) * (self.width // self.patch)

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        for name in ("height", "width", "patch"):
            self.require_scalar(where, name, 1, 2**16)
        pixels = self.height * self.width
        self.require(not x.type.signed and x.type.bits == 8, where, "inputs", "must be uint8")
        self.require(x.rows == pixels, where, "inputs", f"must have {pixels} rows, found {x.rows}")
        whole = self.height % self.patch == 0 == self.width % self.patch
        self.require(whole, where, "patch", f"must divide the image of {self.height} x {self.width}")

    def result(self, inputs: list[Value]) -> Value:
        return Value(TensorType(True, 8), inputs[0].width * self.patch**2, self.count)

    def meaning_at(self, past: Past, *inputs: IntArray) -> IntArray:
        refuse_past(self, past)
        (x,) = inputs
        lines, columns = self.height // self.patch, self.width // self.patch
        parts = x.reshape(len(x), lines, self.patch, columns, self.patch, x.shape[2])
        rows = parts.transpose(0, 1, 3, 5, 2, 4).reshape(len(x), self.count, -1)  # (B, patches, channels * patch^2)
        return rows - PIXEL_OFFSET


@dataclass(frozen=True, eq=False)
class Positions(Operation):
    """Adds the rows of `positions`, and puts the constant rows `leading` (a class token) before all others."""

    kind: ClassVar[str] = "positions"
    stored: ClassVar[dict[str, str]] = {"leading": "int16", "positions": "int16"}
    positional: ClassVar[bool] = True
    leading: IntArray  # (C, D), their own positions added
    positions: IntArray  # (N, D)
    type: TensorType

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        self.require_type(self.type, where, 16)
        self.require(x.type == self.type, where, "inputs", f"must be {self.type}, found {x.type}")
        self.require(x.rows is not None, where, "inputs", "must have a fixed number of rows")
        shape = (x.rows, x.width)
        self.require(self.positions.shape == shape, where, "positions", f"must have shape {shape}")
        two = self.leading.ndim == 2 and self.leading.shape[1] == x.width
        self.require(two, where, "leading", f"must have {x.width} columns")
        self.require_range(where, "positions", self.type.minimum, self.type.maximum)
        if self.leading.size:
            self.require_range(where, "leading", self.type.minimum, self.type.maximum)

    def result(self, inputs: list[Value]) -> Value:
        (x,) = inputs
        assert x.rows is not None
        return Value(self.type, x.width, len(self.leading) + x.rows)

    def meaning_at(self, past: Past, *inputs: IntArray) -> IntArray:
        refuse_past(self, past)
        x = clamp(inputs[0] + self.positions, self.type)
        leading = np.broadcast_to(self.leading, (len(x), *self.leading.shape))
        return np.concatenate([leading, x], axis=1)
