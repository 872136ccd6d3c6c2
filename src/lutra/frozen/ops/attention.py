"""Multi-head attention in integers: with a base-2 table that normalises last, and with I-ViT's Shiftmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from lutra.frozen.arithmetic import clamp, exact_matmul, magnitude, recip, round_shift
from lutra.frozen.ops.base import Operation, Past, refuse_past
from lutra.frozen.shift import RECIPROCAL, shift_exp
from lutra.frozen.types import IntArray, TensorType, Value

SCORE = TensorType(signed=True, bits=16)
SHIFTMAX_SCORE = TensorType(signed=True, bits=8)
LARGEST_KEYS = 1024
LARGEST_HEAD_WIDTH = 1024
TABLE_ENTRIES = 256
LARGEST_EXPONENTIAL = 127
SHIFTMAX_SHIFT = 15
"""Bits below the binary point of Shiftmax's exponentials in the published code."""
SHIFTMAX_BITS = 16


def exponential_table() -> IntArray:
    """The `exponentials` that freezing writes: `floor(127 * 2^(-d / 32) + 1/2)`; from 256 on all would be 0."""
    real = LARGEST_EXPONENTIAL * 2.0 ** (-np.arange(TABLE_ENTRIES) / 32)
    return np.floor(real + 0.5).astype(np.int64)


class AttentionParts(NamedTuple):
    """The inner values of an attention; T queries, N keys."""

    scores: IntArray  # (B, H, T, N)
    exponentials: IntArray  # (B, H, T, N), 0 where a key is hidden
    sums: IntArray  # (B, H, T, 1)
    products: IntArray  # (B, H, T, W) exponentials times values
    context: IntArray  # (B, T, H * W)


@dataclass(frozen=True, eq=False)
class _AttentionOfHeads(Operation):
    """What both forms share: queries, keys and values cut into heads; keys and values of earlier tokens."""

    positional: ClassVar[bool] = True
    heads: int
    causal: bool  # a query sees the keys up to its own position
    multiplier: int
    shift: int

    def check_heads(self, inputs: list[Value], where: str) -> None:
        """The constraints that both forms have."""
        self.require_inputs(inputs, where, 3)
        query, key, value = inputs
        for each in inputs:
            self.require_signed(each, where, 8)
        self.require(query.width == key.width == value.width, where, "inputs", "differ in width")
        self.require(key.axis == value.axis, where, "inputs", "keys and values differ in their rows")
        self.require(isinstance(self.causal, bool), where, "causal", "must be true or false")
        matched = query.axis == key.axis if self.causal else key.rows is not None
        needed = "queries and keys of the same tokens" if self.causal else "a fixed number of keys"
        self.require(matched, where, "inputs", f"must have {needed}")
        few = key.most_rows is not None and key.most_rows <= LARGEST_KEYS
        self.require(few, where, "inputs", f"must have at most {LARGEST_KEYS} keys, found {key.most_rows}")
        self.require_scalar(where, "heads", 1, query.width)
        self.require(query.width % self.heads == 0, where, "heads", f"must divide the width of {query.width}")
        wide = query.width // self.heads <= LARGEST_HEAD_WIDTH
        self.require(wide, where, "heads", f"leave more than {LARGEST_HEAD_WIDTH} columns to each")

    def split(self, rows: IntArray) -> IntArray:
        """(B, T, H * W) -> (B, H, T, W)."""
        return rows.reshape(*rows.shape[:2], self.heads, -1).transpose(0, 2, 1, 3)

    def join(self, rows: IntArray) -> IntArray:
        """(B, H, T, W) -> (B, T, H * W)."""
        return rows.transpose(0, 2, 1, 3).reshape(rows.shape[0], rows.shape[2], -1)

    def heads_of(
        self, past: Past, inputs: tuple[IntArray, ...]
    ) -> tuple[IntArray, IntArray, IntArray, np.ndarray | bool]:
        """Queries, keys and values by heads, those of earlier tokens among them, and which keys a query sees."""
        query, key, value = inputs
        visible: np.ndarray | bool = True
        if self.causal:
            key = past.extended(f"{self.output}.key", key)
            value = past.extended(f"{self.output}.value", value)
            positions = past.tokens + np.arange(query.shape[1])
            visible = np.arange(key.shape[1]) <= positions[:, None]  # (T, N)
        else:
            refuse_past(self, past)
        return self.split(query), self.split(key), self.split(value), visible

    def scores(self, query: IntArray, key: IntArray, type_: TensorType) -> IntArray:
        """(B, H, T, W) and (B, H, N, W) -> (B, H, T, N)."""
        largest = query.shape[-1] * 128 * 128
        sums = exact_matmul(query, key.transpose(0, 1, 3, 2), largest)
        return clamp(round_shift(sums * self.multiplier, self.shift), type_)


@dataclass(frozen=True, eq=False)
class Attention(_AttentionOfHeads):
    """Softmax attention of each head: scores in steps of 1/32 octave, a table of powers of two, one reciprocal a row.

    The scale of the output is that of the values, divided by 2^gain.
    """

    kind: ClassVar[str] = "attention"
    stored: ClassVar[dict[str, str]] = {"exponentials": "uint8"}
    exponentials: IntArray  # (256,) of d: 127 * 2^(-d / 32)
    gain: int
    type: TensorType

    def check(self, inputs: list[Value], where: str) -> None:
        self.check_heads(inputs, where)
        self.require_scalar(where, "multiplier", 1, 2**16 - 1)
        self.require_scalar(where, "shift", 1, 40)
        entries = self.exponentials.shape == (TABLE_ENTRIES,)
        self.require(entries, where, "exponentials", f"must have {TABLE_ENTRIES} entries")
        self.require_range(where, "exponentials", 0, LARGEST_EXPONENTIAL)
        first = int(self.exponentials[0])
        self.require(first > 0, where, "exponentials", "must begin with a positive entry, the largest key's")
        self.require_scalar(where, "gain", 0, 8)
        self.require_type(self.type, where, 8)

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(self.type, inputs[0].width)

    def meaning_at(self, past: Past, *inputs: IntArray) -> IntArray:
        return self.parts(past, *inputs).context

    def parts(self, past: Past, *inputs: IntArray) -> AttentionParts:
        """Every inner value, for those who must compute the same."""
        query, key, value, visible = self.heads_of(past, inputs)
        scores = self.scores(query, key, SCORE)
        exponentials, sums = self.softmax(scores, visible)
        products = exact_matmul(exponentials, value, value.shape[2] * LARGEST_EXPONENTIAL * 128)
        factor, exponent = recip(sums)
        context = clamp(round_shift(products * factor, exponent + 16 - self.gain), self.type)
        return AttentionParts(scores, exponentials, sums, products, self.join(context))

    def softmax(self, scores: IntArray, visible: np.ndarray | bool) -> tuple[IntArray, IntArray]:
        """Exponentials (..., N) of scores, 0 where `visible` is false, and their sums (..., 1)."""
        largest = np.where(visible, scores, SCORE.minimum - 1).max(axis=-1, keepdims=True)
        distance = largest - scores
        near = visible & (distance < TABLE_ENTRIES)
        exponentials = np.where(near, self.exponentials[np.clip(distance, 0, TABLE_ENTRIES - 1)], 0)
        return exponentials, exponentials.sum(axis=-1, keepdims=True)


@dataclass(frozen=True, eq=False)
class ShiftmaxAttention(_AttentionOfHeads):
    """I-ViT's attention of each head: int8 scores, Shiftmax to 16 bits, the sum with the values, requantised."""

    kind: ClassVar[str] = "shiftmax_attention"
    unit: int  # the integer that stands for about 1 in the exponent: ceil(1 / scale of the scores)
    context_multiplier: int
    context_shift: int
    type: TensorType

    def check(self, inputs: list[Value], where: str) -> None:
        self.check_heads(inputs, where)
        self.require_scalar(where, "multiplier", 1, 2**31 - 1)
        self.require_scalar(where, "shift", 1, 62)
        keys = inputs[1].most_rows or 1
        most = RECIPROCAL // (keys << SHIFTMAX_SHIFT)
        self.require_scalar(where, "unit", 1, most)
        self.require_scalar(where, "context_multiplier", 1, 2**31 - 1)
        self.require_scalar(where, "context_shift", 1, 62)
        self.require_type(self.type, where, 8)
        product = 2**15 * keys * magnitude(inputs[2].type) * self.context_multiplier
        self.require(product < 2**62, where, "context_multiplier", "overflows 64 bits")

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(self.type, inputs[0].width)

    def meaning_at(self, past: Past, *inputs: IntArray) -> IntArray:
        return self.parts(past, *inputs).context

    def parts(self, past: Past, *inputs: IntArray) -> AttentionParts:
        """Every inner value; `exponentials` are before they are normalised."""
        query, key, value, visible = self.heads_of(past, inputs)
        scores = self.scores(query, key, SHIFTMAX_SCORE)
        largest = np.where(visible, scores, SHIFTMAX_SCORE.minimum - 1).max(axis=-1, keepdims=True)
        exponentials = np.where(visible, shift_exp(np.minimum(scores - largest, 0), self.unit, SHIFTMAX_SHIFT), 0)
        sums = exponentials.sum(axis=-1, keepdims=True)
        probabilities = (exponentials * (RECIPROCAL // sums)) >> (31 - SHIFTMAX_BITS + 1)
        products = exact_matmul(probabilities, value, value.shape[2] * 2**15 * 128)
        context = clamp(round_shift(products * self.context_multiplier, self.context_shift), self.type)
        return AttentionParts(scores, exponentials, sums, products, self.join(context))
