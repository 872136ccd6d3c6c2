"""A frozen BERT laid out for the compiled kernels: the structures of bert.h, filled with NumPy."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from lutra.errors import FrozenModelError
from lutra.frozen import binary16
from lutra.frozen.bert import (
    FrozenBert,
    code_range,
    hidden_is_signed,
    largest_context_sum,
    largest_linear_sum,
    largest_score_sum,
    layout,
    unpack,
)
from lutra.frozen.bert_golden import epsilon_of
from lutra.runtime.structure import pad, structure

PANEL_COLUMNS, PANEL_GROUP, LANES = 16, 4, 16
LARGEST_SUM = 2**24
"""Up to here float32 holds the sums of a product exactly."""

_Quantiser = structure("Quantiser", "low", "high", "sign", "* bias", "float inverse_step")
_Linear = structure(
    "Linear", "inputs", "outputs", "groups", "panels", "copies", "planes", "* weights", "* offsets", "* factors",
    "* bias", "float sum_scale",
)  # fmt: skip
_Norm = structure("Norm", "* gain", "* bias")
_Stage = structure("Stage", ("quantiser", _Quantiser), ("linear", _Linear))
_Layer = structure(
    "Layer",
    ("input", _Quantiser),
    *[(name, _Linear) for name in ("query", "key", "value")],
    *[(f"{name}_codes", _Quantiser) for name in ("query", "key", "value", "probability")],
    ("output", _Stage),
    ("attention_norm", _Norm),
    ("intermediate", _Stage),
    ("feed_forward", _Stage),
    ("norm", _Norm),
    "float score_factor",
    "float context_factor",
)
_Model = structure(
    "Model", "width", "heads", "head_width", "intermediate", "layer_count", "copies", "word_bits", "word_bytes",
    "vocabulary", "* word_codes", "* word_scales", "* positions", "* token_types", ("embedding_norm", _Norm),
    "* layers", ("pooler", _Stage), "* exponentials", "* gelu", "double epsilon", "float score_scale",
    "float context_scale",
)  # fmt: skip
Rows = structure("Rows", "* tokens", "* token_types", "* positions", "* starts", "sentences", "* noise")
"""Real tokens of sentences: `struct BertRows`."""


class BertLayout:
    """A frozen BERT in the kernels' form; `address` is that of its structure, which lives as long as this object.

    Raises:
        FrozenModelError: sums beyond 2^24, which the kernels would round.
    """

    def __init__(self, model: FrozenBert) -> None:
        self.model, self.config = model, model.config
        self._layout = layout(model.config)
        self._kept: list[Any] = []
        self._structure = self._whole()
        self.address = ctypes.addressof(self._structure)

    def _whole(self) -> ctypes.Structure:
        config, tensors = self.config, self.model.tensors
        words = self._layout["embeddings.word.codes"]
        layers = (_Layer * config.layers)(*(self._layer(f"layers.{index}") for index in range(config.layers)))
        self._kept.append(layers)
        every = np.arange(2**16, dtype=np.uint16).view(np.float16)
        with np.errstate(invalid="ignore"):  # the functions of NaNs are looked up by nobody
            exponentials = binary16.exp(-np.abs(every[: 2**15]))
        gelu = self._floats(binary16.gelu(every)) if config.activation == "gelu" else None
        return _Model(
            width=config.width,
            heads=config.heads,
            head_width=config.head_width,
            intermediate=config.intermediate,
            layer_count=config.layers,
            copies=config.quantisation.copies,
            word_bits=words.bits,
            word_bytes=words.shape[2],
            vocabulary=config.vocabulary,
            word_codes=self._pointer(tensors["embeddings.word.codes"]),
            word_scales=self._floats(tensors["embeddings.word.scale"]),
            positions=self._floats(pad(tensors["embeddings.position"], 1, LANES)),
            token_types=self._floats(pad(tensors["embeddings.token_type"], 1, LANES)),
            embedding_norm=self._norm("embeddings.norm"),
            layers=ctypes.addressof(layers),
            pooler=_Stage(self._quantiser("pooler_quantiser", signed=True), self._linear("pooler", signed=True)),
            exponentials=self._floats(exponentials),
            gelu=gelu,
            epsilon=epsilon_of(config),
            score_scale=self._sum_scale("scores", largest_score_sum(config)),
            context_scale=self._sum_scale("contexts", largest_context_sum(config)),
        )

    def _layer(self, name: str) -> ctypes.Structure:
        attention, feed_forward, signed = f"{name}.attention", f"{name}.feed_forward", hidden_is_signed(self.config)
        tensors = self.model.tensors
        return _Layer(
            input=self._quantiser(f"{attention}.input_quantiser", signed=True),
            **{part: self._linear(f"{attention}.{part}", signed=True) for part in ("query", "key", "value")},
            **{
                f"{part}_codes": self._quantiser(f"{attention}.{part}_quantiser", signed=part != "probability")
                for part in ("query", "key", "value", "probability")
            },
            output=self._stage(f"{attention}.output_quantiser", f"{attention}.output", signed=True),
            attention_norm=self._norm(f"{attention}.norm"),
            intermediate=self._stage(f"{feed_forward}.input_quantiser", f"{feed_forward}.intermediate", signed=True),
            feed_forward=self._stage(f"{feed_forward}.hidden_quantiser", f"{feed_forward}.output", signed=signed),
            norm=self._norm(f"{feed_forward}.norm"),
            score_factor=float(tensors[f"{attention}.score_factor"]),
            context_factor=float(tensors[f"{attention}.context_factor"]),
        )

    def _stage(self, quantiser: str, linear: str, signed: bool) -> ctypes.Structure:
        return _Stage(self._quantiser(quantiser, signed), self._linear(linear, signed))

    def _quantiser(self, name: str, signed: bool) -> ctypes.Structure:
        low, high = code_range(self.config, signed)
        bias = self.model.tensors.get(f"{name}.bias")
        return _Quantiser(
            low=low,
            high=high,
            sign=int(signed and self.config.quantisation.activation_bits == 1),
            # One head's features end anywhere: the last of its lanes may read a register further.
            bias=None if bias is None else self._floats(np.pad(bias, (0, LANES))),
            inverse_step=float(self.model.tensors[f"{name}.inverse_step"]),
        )

    def _linear(self, name: str, signed: bool) -> ctypes.Structure:
        codes, tensors = self._layout[f"{name}.codes"], self.model.tensors
        copies, outputs = codes.shape[:2]
        weights = np.stack([unpack(each, codes.bits, codes.columns) for each in tensors[f"{name}.codes"]])
        low = code_range(self.config, signed).low
        offsets = low * weights.sum(axis=2, dtype=np.int32)  # (copies, outputs)
        packed = _pack(weights, codes.bits)
        return _Linear(
            inputs=codes.columns,
            outputs=outputs,
            groups=packed.shape[2],
            panels=packed.shape[1],
            copies=copies,
            planes=packed.shape[3],
            weights=self._pointer(packed),
            offsets=self._pointer(pad(offsets.astype(np.int32), 1, PANEL_COLUMNS)),
            factors=self._floats(pad(tensors[f"{name}.factor"], 1, PANEL_COLUMNS)),
            bias=self._floats(pad(tensors[f"{name}.bias"], 0, PANEL_COLUMNS)),
            sum_scale=self._sum_scale(name, largest_linear_sum(self.config, codes.columns, signed)),
        )

    def _norm(self, name: str) -> ctypes.Structure:
        gain, bias = (self.model.tensors[f"{name}.{part}"] for part in ("gain", "bias"))
        return _Norm(self._floats(pad(gain, 0, LANES)), self._floats(pad(bias, 0, LANES)))

    def _sum_scale(self, name: str, largest: int) -> float:
        if largest > LARGEST_SUM:
            raise FrozenModelError(
                f"{name}: sums of up to {largest} are more than the runtime's {LARGEST_SUM}; use the golden engine"
            )
        return math.ldexp(1.0, -binary16.sum_exponent(largest))

    def _floats(self, values: np.ndarray) -> int:
        return self._pointer(values.astype(np.float32))

    def _pointer(self, values: np.ndarray) -> int:
        kept = np.ascontiguousarray(values)
        self._kept.append(kept)
        return int(kept.ctypes.data)


def _pack(weights: np.ndarray, bits: int) -> np.ndarray:
    """int8 (copies, outputs, inputs) -> uint64 (copies, panels, groups, planes): which are +1, and (2 bits) not 0."""
    padded = pad(pad(weights, 1, PANEL_COLUMNS), 2, PANEL_GROUP)
    copies, outputs, inputs = padded.shape
    panels = padded.reshape(copies, outputs // PANEL_COLUMNS, PANEL_COLUMNS, inputs // PANEL_GROUP, PANEL_GROUP)
    groups = panels.transpose(0, 1, 3, 2, 4).reshape(*panels.shape[:2], inputs // PANEL_GROUP, -1)  # (..., groups, 64)
    planes = np.stack([groups > 0, groups != 0][:bits], axis=3)  # (copies, panels, groups, planes, 64)
    return np.packbits(planes, axis=4, bitorder="little").view(np.uint64)[..., 0]
