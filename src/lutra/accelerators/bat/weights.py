"""What a program loads for its steps: weights, factors, biases, gains and tables of a frozen BERT as BAT reads them.

A step's blob holds, one after the other: words of weights, factors, biases of the vector unit, biases of the
quantisation unit, gains and biases of the layer norm, tables of the quantisers. Every word is padded to whole beats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutra.accelerators.bat import tables
from lutra.accelerators.bat.config import BatConfig, ModuleConfig
from lutra.accelerators.bat.layout import chunks, weight_words
from lutra.frozen.bert import FrozenBert, layout, unpack
from lutra.frozen.binary16 import Binary16Array

BEAT_BYTES = 16
SECTIONS = ("weight_words", "factor_words", "vector_bias_words", "quantise_bias_words", "gain_words", "norm_bias_words")
"""Fields of an instruction that say how many words of each kind its blob has; the tables come last."""


@dataclass(frozen=True)
class Blob:
    """Bytes of a step in memory, and the words of its sections."""

    data: bytes
    words: dict[str, int]

    @property
    def beats(self) -> int:
        return len(self.data) // BEAT_BYTES


class BlobWriter:
    """Blobs of a model for one module."""

    def __init__(self, model: FrozenBert, config: BatConfig, module: ModuleConfig) -> None:
        self._model = model
        self._config = config
        self._module = module

    def quantise(self, quantiser: str) -> Blob:
        """Of a step that quantises rows of memory."""
        return self._blob(quantisers=(quantiser,), quantise_bias_words=self._biases(quantiser))

    def query_key_value(self, attention: str) -> Blob:
        """Of the linear layers of an attention's inputs, side by side."""
        parts = [f"{attention}.{part}" for part in ("query", "key", "value")]
        return self._linear(parts, quantisers=tuple(f"{part}_quantiser" for part in parts))

    def scores(self, attention: str) -> Blob:
        """Of the product of queries and keys and its softmax."""
        return self._scaled(f"{attention}.score_factor", f"{attention}.probability_quantiser")

    def contexts(self, attention: str) -> Blob:
        """Of the product of probabilities and values; every head has biases of its own."""
        quantiser = f"{attention}.output_quantiser"
        bias = self._model.tensors.get(f"{quantiser}.bias")
        heads = self._model.config.heads
        words = [] if bias is None else [self._lanes(each, self._module.p_quan) for each in bias.reshape(heads, -1)]
        return self._scaled(f"{attention}.context_factor", quantiser, quantise_bias_words=_stack(words))

    def hidden(self, feed_forward: str) -> Blob:
        """Of the first linear layer of a feed-forward block."""
        quantiser = f"{feed_forward}.hidden_quantiser"
        return self._linear(
            [f"{feed_forward}.intermediate"],
            quantisers=(quantiser,),
            signed=False,
            quantise_bias_words=self._biases(quantiser),
        )

    def output(self, block: str, following: str | None) -> Blob:
        """Of a block's last linear layer and its norm; `following` quantises the rows for the next block."""
        gain, bias = (self._model.tensors[f"{block}.norm.{part}"] for part in ("gain", "bias"))
        return self._linear(
            [f"{block}.output"],
            quantisers=() if following is None else (following,),
            gain_words=self._lanes(gain, self._module.p_ln),
            norm_bias_words=self._lanes(bias, self._module.p_ln),
            quantise_bias_words=_stack([]) if following is None else self._biases(following),
        )

    def _linear(
        self, layers: list[str], quantisers: tuple[str, ...], signed: bool = True, **sections: np.ndarray
    ) -> Blob:
        tensors, packed = self._model.tensors, layout(self._model.config)
        signs = [unpack(tensors[f"{name}.codes"], 1, packed[f"{name}.codes"].columns) > 0 for name in layers]
        factors = np.concatenate([tensors[f"{name}.factor"] for name in layers], axis=1)  # (copies, outputs)
        words: list[np.ndarray] = [self._lanes(copy, self._module.p_vu) for copy in factors]
        return self._blob(
            quantisers=quantisers,
            signed=signed,
            weight_words=weight_words(np.concatenate(signs, axis=1), self._module),
            factor_words=_stack(words),
            vector_bias_words=self._lanes(
                np.concatenate([tensors[f"{name}.bias"] for name in layers]), self._module.p_vu
            ),
            **sections,
        )

    def _scaled(self, factor: str, quantiser: str, **sections: np.ndarray) -> Blob:
        repeated = np.broadcast_to(self._model.tensors[factor], self._module.p_vu)
        signed = not quantiser.endswith("probability_quantiser")
        return self._blob(
            quantisers=(quantiser,), signed=signed, factor_words=self._lanes(repeated, self._module.p_vu), **sections
        )

    def _biases(self, quantiser: str) -> np.ndarray:
        bias = self._model.tensors.get(f"{quantiser}.bias")
        return np.empty((0, 0), np.uint8) if bias is None else self._lanes(bias, self._module.p_quan)

    def _lanes(self, values: Binary16Array, lanes: int) -> np.ndarray:
        """Numbers (n) as words of lanes, uint8 (words, bytes)."""
        words = chunks(len(values), lanes)
        padded = np.zeros(words * lanes, np.float16)
        padded[: len(values)] = values
        return padded.reshape(words, lanes).view(np.uint8)

    def _tables(self, quantisers: tuple[str, ...], signed: bool) -> np.ndarray:
        """Thresholds, or reciprocal steps, of up to three quantisers as one word, uint8 (1, bytes)."""
        bits = self._config.activation_bits
        entries = table_entries(bits)
        table = np.zeros((3, entries), np.uint16)
        for index, quantiser in enumerate(quantisers):
            step = self._model.tensors[f"{quantiser}.inverse_step"]
            if is_scaling(bits):
                table[index] = step.view(np.uint16)
            else:
                table[index] = tables.thresholds(self._model.config, step, signed)
        return table.reshape(1, -1).view(np.uint8)

    def _blob(self, quantisers: tuple[str, ...], signed: bool = True, **sections: np.ndarray) -> Blob:
        words: dict[str, int] = {}
        data = []
        for name in SECTIONS:
            section = np.asarray(sections.get(name, ()), np.uint8)
            words[name] = len(section)
            data.append(_in_beats(section))
        data.append(_in_beats(self._tables(quantisers, signed)))
        return Blob(b"".join(data), words)


def is_scaling(bits: int) -> bool:
    """Whether the quantisation unit multiplies: thresholds pay up to four bits."""
    return bits > 4


def table_entries(bits: int) -> int:
    """16-bit words that the quantisation unit needs to know of a quantiser."""
    return 1 if is_scaling(bits) else 2**bits - 1


def _stack(words: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(words) if words else np.empty((0, 0), np.uint8)


def _in_beats(words: np.ndarray) -> bytes:
    """Words (n, bytes), each padded to whole beats of memory."""
    if not words.size:
        return b""
    missing = -words.shape[1] % BEAT_BYTES
    return np.pad(words, ((0, 0), (0, missing))).tobytes()
