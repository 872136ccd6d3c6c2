"""Where numbers lie in BAT's memories (isa.md, "Layouts"), as arrays of bytes per word, the first bit the lowest.

Codes are integers as golden has them: a signed code of one bit is -1 or +1. Words are padded with 0; the engine does
not look at what pads them.
"""

from __future__ import annotations

import numpy as np

from lutra.accelerators.bat.config import BYTE_BITS, ModuleConfig
from lutra.frozen.types import IntArray

Words = np.ndarray
"""uint8 (words, bytes)."""


def chunks(count: int, lanes: int) -> int:
    """Words or beats of `lanes` elements that hold `count`."""
    return -(-count // lanes)


def to_bits(codes: IntArray, bits: int) -> np.ndarray:
    """Codes (...) -> their bits (..., bits), the lowest first; -1 and +1 of one bit become 0 and 1."""
    if bits == 1:
        return (codes > 0).astype(np.uint8)[..., None]
    shifted: np.ndarray = codes.astype(np.int64)[..., None] >> np.arange(bits) & 1
    return shifted.astype(np.uint8)


def from_bits(bits: np.ndarray, signed: bool) -> IntArray:
    """Bits (..., bits) -> codes (...); inverse of `to_bits`."""
    count = bits.shape[-1]
    if signed and count == 1:
        return bits[..., 0].astype(np.int64) * 2 - 1
    weights = np.int64(1) << np.arange(count)
    if signed:
        weights[-1] = -weights[-1]
    codes: IntArray = bits.astype(np.int64) @ weights
    return codes


def weight_words(signs: np.ndarray, module: ModuleConfig) -> Words:
    """Weights (halves, outputs, inputs), 1 for +1, 0 for -1, as words `(half * groups + group) * chunks + chunk` of y.

    Unit u of a word holds inputs `chunk * p_pe ...` of output `group * p_dpu + u`.
    """
    halves, outputs, inputs = signs.shape
    groups, words = chunks(outputs, module.p_dpu), chunks(inputs, module.p_pe)
    padded = _pad(signs.astype(np.uint8), 1, groups * module.p_dpu, words * module.p_pe)
    tiles = padded.reshape(halves, groups, module.p_dpu, words, module.p_pe)
    return _packed(tiles.transpose(0, 1, 3, 2, 4))  # (half, group, chunk, unit, element)


def weight_planes(weights: IntArray, bits: int, module: ModuleConfig) -> Words:
    """Weights (outputs, inputs) of several bits as bit planes in words `(group * bits + plane) * chunks + chunk` of y,
    sign first.

    Unit u of a word holds inputs `chunk * p_pe ...` of output `group * p_dpu + u`.
    """
    outputs, inputs = weights.shape
    groups, words = chunks(outputs, module.p_dpu), chunks(inputs, module.p_pe)
    planes = _pad(to_bits(weights, bits)[..., ::-1].transpose(2, 0, 1), 1, groups * module.p_dpu, words * module.p_pe)
    tiles = planes.reshape(bits, groups, module.p_dpu, words, module.p_pe)
    return _packed(tiles.transpose(1, 0, 3, 2, 4))  # (group, plane, chunk, unit, element)


def key_words(keys: IntArray, bits: int, module: ModuleConfig) -> Words:
    """Keys (tokens, attention width) as bit planes in words `(chunk * groups + group) * bits + plane`, sign first.

    Unit u of a word holds elements `chunk * p_pe ...` of token `group * p_dpu + u`; heads share words.
    """
    tokens, width = keys.shape
    groups, words = chunks(tokens, module.p_dpu), chunks(width, module.p_pe)
    planes = _pad(to_bits(keys, bits)[..., ::-1].transpose(2, 0, 1), 1, groups * module.p_dpu, words * module.p_pe)
    tiles = planes.reshape(bits, groups, module.p_dpu, words, module.p_pe)
    return _packed(tiles.transpose(3, 1, 0, 2, 4))  # (chunk, group, plane, unit, element)


def value_words(values: IntArray, bits: int, heads: int, module: ModuleConfig, positions: int) -> Words:
    """Values (tokens, attention width) as bit planes: `((head * groups + group) * bits + plane) * chunks + chunk`.

    Unit u of a word holds tokens `chunk * p_pe ...` of column `group * p_dpu + u` of a head. There is room for
    `positions` tokens.
    """
    tokens, width = values.shape
    head_width = width // heads
    groups, words = chunks(head_width, module.p_dpu), chunks(positions, module.p_pe)
    planes = to_bits(values, bits)[..., ::-1].reshape(tokens, heads, head_width, bits).transpose(1, 3, 2, 0)
    padded = _pad(planes, 2, groups * module.p_dpu, words * module.p_pe)
    tiles = padded.reshape(heads, bits, groups, module.p_dpu, words, module.p_pe)
    return _packed(tiles.transpose(0, 2, 1, 4, 3, 5))  # (head, group, plane, chunk, unit, element)


def code_words(codes: IntArray, bits: int, module: ModuleConfig) -> Words:
    """Codes (rows, columns) as words of x: `row * chunks + chunk`, element i of a word at bit `i * bits`."""
    rows, columns = codes.shape
    words = chunks(columns, module.p_pe)
    padded = _pad(to_bits(codes, bits), 1, words * module.p_pe, bits)  # (rows, elements, bits)
    return _packed(padded.reshape(rows, words, module.p_pe, bits)[:, :, None])


def _pad(array: np.ndarray, axis: int, *sizes: int) -> np.ndarray:
    """Zeros behind what there is, from `axis` on up to `sizes`."""
    grown = [(0, 0)] * array.ndim
    for place, size in enumerate(sizes, start=axis):
        grown[place] = (0, size - array.shape[place])
    return np.pad(array, grown)


def _packed(tiles: np.ndarray) -> Words:
    """Bits (..., parts, elements), or (..., elements, bits) as words; the last two axes are one word."""
    bits = np.ascontiguousarray(tiles).reshape(-1, tiles.shape[-2] * tiles.shape[-1])
    if bits.shape[1] % BYTE_BITS:
        raise AssertionError(f"words of {bits.shape[1]} bits")  # p_pe is a multiple of eight
    return np.packbits(bits, axis=1, bitorder="little")
