"""Tables of BAT's floating-point units, from the golden functions: contents of ROMs, thresholds of quantisers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lutra.frozen import binary16
from lutra.frozen.bert_golden import codes_of
from lutra.frozen.binary16 import Binary16Array
from lutra.recipes.bert_config import BertConfig

EXP_FILE, RECIPROCAL_FILE, ROOT_FILE = "bat_exp.hex", "bat_reciprocal.hex", "bat_root.hex"
"""Names that the modules read; `$readmemh` looks for them in the folder in which a tool runs."""
EXP_FIRST, EXP_WORDS = 0x0C00, 1 << 14
"""exp of smaller magnitudes is 1, of larger ones next to nothing."""
SIGNIFICANDS = 1 << 10
_FINITE_KEYS, _ABOVE_ALL = (0x0400, 0xFC00), 0xFFFF
_NEGATIVE, _SIGN = np.uint16(0xFFFF), np.uint16(0x8000)

Keys = NDArray[np.uint16]
"""binary16 numbers as integers in rising order: all bits of negative ones inverted, the sign bit of the others set."""


def rom_files() -> dict[str, str]:
    """Contents of all ROMs: file name -> text, one hexadecimal word per line."""
    return {
        EXP_FILE: _hexadecimal(exp_words(), 4),
        RECIPROCAL_FILE: _hexadecimal(reciprocal_words(), 3),
        ROOT_FILE: _hexadecimal(root_words(), 3),
    }


def exp_words() -> NDArray[np.uint16]:
    """exp of the negative numbers with the magnitudes from EXP_FIRST on, 14 bits each."""
    magnitudes = np.arange(EXP_FIRST, EXP_FIRST + EXP_WORDS, dtype=np.uint16)
    words: NDArray[np.uint16] = binary16.exp((magnitudes | _SIGN).view(np.float16)).view(np.uint16)
    return words


def reciprocal_words() -> NDArray[np.uint16]:
    """Significands of 1 / x for x in [1, 2), by the significand of x."""
    x = (np.arange(SIGNIFICANDS, dtype=np.uint16) | np.uint16(0x3C00)).view(np.float16)
    return _significands(np.float16(1) / x)


def root_words() -> NDArray[np.uint16]:
    """Significands of 1 / sqrt(x) for x in [1, 2) and [2, 4), one after the other, by the significand of x."""
    x = (np.arange(2 * SIGNIFICANDS, dtype=np.uint16) + np.uint16(0x3C00)).view(np.float16)
    return _significands(binary16.reciprocal_root(x))


def keys_of(x: Binary16Array) -> Keys:
    """binary16 numbers -> keys of the same shape."""
    bits = np.ascontiguousarray(x).view(np.uint16)
    return np.where(bits & _SIGN, bits ^ _NEGATIVE, bits | _SIGN)


def numbers_of(keys: Keys) -> Binary16Array:
    """Inverse of `keys_of`."""
    bits = np.where(keys & _SIGN, keys ^ _SIGN, keys ^ _NEGATIVE)
    return np.ascontiguousarray(bits).view(np.float16)


def thresholds(config: BertConfig, inverse_step: Binary16Array, signed: bool) -> Keys:
    """Per code but the smallest the key of the smallest number with it, or one above all finite numbers: (2^N - 1,).

    The code of a number is the smallest one plus the number of thresholds that are not above its key.
    """
    every = np.arange(*_FINITE_KEYS, dtype=np.uint16)
    codes = codes_of(config, numbers_of(every), inverse_step, signed)
    bits = config.quantisation.activation_bits
    places = codes > 0 if bits == 1 else codes + (2 ** (bits - 1) if signed else 0)
    first = np.searchsorted(places, np.arange(1, 2**bits))
    return np.append(every, np.uint16(_ABOVE_ALL))[first]


def _significands(x: Binary16Array) -> NDArray[np.uint16]:
    words: NDArray[np.uint16] = x.view(np.uint16) & np.uint16(SIGNIFICANDS - 1)
    return words


def _hexadecimal(words: NDArray[np.uint16], digits: int) -> str:
    return "".join(f"{word:0{digits}x}\n" for word in words.tolist())
