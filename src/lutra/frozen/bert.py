"""A frozen BERT: weights of one or two bits, everything else in binary16 (spec.md, "BERT"); its files.

The structure follows from the configuration, so that a frozen BERT is its configuration and named tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import ValidationError

from lutra.errors import FrozenModelError
from lutra.escape import brief
from lutra.frozen.store import check_origin, read_files, write_files
from lutra.recipes.bert_config import BertConfig
from lutra.schema import Strict, explain

KIND = "bert"
LARGEST_WIDTH = 2048
"""Of the residual: up to here float64 holds the sums of a layer norm exactly (spec.md)."""


class CodeRange(NamedTuple):
    """Integers that a quantised activation takes; one signed bit is -1 or +1, without 0."""

    low: int
    high: int

    @property
    def magnitude(self) -> int:
        return max(-self.low, self.high)


def code_range(config: BertConfig, signed: bool) -> CodeRange:
    """Codes of the model's activations."""
    bits = config.quantisation.activation_bits
    if not signed:
        return CodeRange(0, 2**bits - 1)
    return CodeRange(-1, 1) if bits == 1 else CodeRange(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def largest_linear_sum(config: BertConfig, inputs: int, signed: bool) -> int:
    """Of a linear layer over `inputs` codes, one copy; a weight is -1, 0 or +1."""
    return inputs * code_range(config, signed).magnitude


def largest_score_sum(config: BertConfig) -> int:
    """Of a query and a key."""
    return config.head_width * code_range(config, signed=True).magnitude ** 2


def largest_context_sum(config: BertConfig) -> int:
    """Of attention probabilities and values, over as many positions as the model has."""
    return config.positions * code_range(config, signed=False).magnitude * code_range(config, signed=True).magnitude


def hidden_is_signed(config: BertConfig) -> bool:
    """Whether the second feed-forward layer has signed inputs: GELU goes below 0."""
    return config.activation == "gelu"


class TensorLayout(NamedTuple):
    """Type and shape of one tensor; of packed codes also how many there are in a row, and their bits."""

    dtype: str
    shape: tuple[int, ...]
    columns: int = 0
    bits: int = 0


_Tensors = Iterator[tuple[str, TensorLayout]]


def layout(config: BertConfig) -> dict[str, TensorLayout]:
    """Every tensor of a frozen BERT, by name."""
    return dict(_tensors(config))


def _tensors(config: BertConfig) -> _Tensors:
    copies, width = config.quantisation.copies, config.width
    yield "embeddings.word.codes", _codes(copies, config.vocabulary, width, config.quantisation.embedding_bits)
    yield "embeddings.word.scale", _binary16(copies, config.vocabulary)
    yield "embeddings.position", _binary16(config.positions, width)
    yield "embeddings.token_type", _binary16(config.token_types, width)
    yield from _norm("embeddings.norm", config)
    for index in range(config.layers):
        yield from _attention(f"layers.{index}.attention", config)
        yield from _feed_forward(f"layers.{index}.feed_forward", config)
    yield from _quantiser("pooler_quantiser", config, width)
    yield from _linear("pooler", config, width, width)
    yield "classifier.weight", _binary16(config.outputs, width)
    yield "classifier.bias", _binary16(config.outputs)


def _attention(name: str, config: BertConfig) -> _Tensors:
    yield from _quantiser(f"{name}.input_quantiser", config, config.width)
    for part in ("query", "key", "value"):
        yield from _linear(f"{name}.{part}", config, config.width, config.attention_width)
    for part in ("query", "key", "value", "probability"):
        yield from _quantiser(f"{name}.{part}_quantiser", config)
    yield f"{name}.score_factor", _binary16()
    yield f"{name}.context_factor", _binary16()
    yield from _quantiser(f"{name}.output_quantiser", config, config.attention_width)
    yield from _linear(f"{name}.output", config, config.attention_width, config.width)
    yield from _norm(f"{name}.norm", config)


def _feed_forward(name: str, config: BertConfig) -> _Tensors:
    yield from _quantiser(f"{name}.input_quantiser", config, config.width)
    yield from _linear(f"{name}.intermediate", config, config.width, config.intermediate)
    yield from _quantiser(f"{name}.hidden_quantiser", config, config.intermediate)
    yield from _linear(f"{name}.output", config, config.intermediate, config.width)
    yield from _norm(f"{name}.norm", config)


def _linear(name: str, config: BertConfig, inputs: int, outputs: int) -> _Tensors:
    copies = config.quantisation.copies
    yield f"{name}.codes", _codes(copies, outputs, inputs, config.quantisation.weight_bits)
    yield f"{name}.factor", _binary16(copies, outputs)
    yield f"{name}.bias", _binary16(outputs)


def _quantiser(name: str, config: BertConfig, features: int | None = None) -> _Tensors:
    yield f"{name}.inverse_step", _binary16()
    if config.quantisation.elastic and features is not None:
        yield f"{name}.bias", _binary16(features)


def _norm(name: str, config: BertConfig) -> _Tensors:
    yield f"{name}.gain", _binary16(config.width)
    yield f"{name}.bias", _binary16(config.width)


def _codes(copies: int, rows: int, columns: int, bits: int) -> TensorLayout:
    return TensorLayout("uint8", (copies, rows, -(-columns * bits // 8)), columns, bits)


def _binary16(*shape: int) -> TensorLayout:
    return TensorLayout("float16", shape)


def unpack(packed: np.ndarray, bits: int, columns: int) -> np.ndarray:
    """Packed codes uint8 (..., bytes) -> int8 (..., columns): one bit is +1 or -1, more are lowered by 2^(bits-1)."""
    if bits == 1:
        signs: np.ndarray = np.unpackbits(packed, axis=-1, count=columns, bitorder="little").view(np.int8)
        return signs * np.int8(2) - np.int8(1)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)  # (..., bytes, 8 / bits)
    codes: np.ndarray = fields.reshape(*packed.shape[:-1], -1)[..., :columns] - np.uint8(2 ** (bits - 1))
    return codes.view(np.int8)  # below 0 the subtraction wrapped around, which is two's complement


class _Described(Strict):
    """`model.json` of a BERT."""

    format_version: Literal[1, 2]
    kind: Literal["bert"]
    origin: dict[str, str]
    bert: BertConfig


@dataclass(frozen=True, eq=False)
class FrozenBert:
    """A configuration and the tensors of its `layout`. `origin` is for people: where it came from, versions."""

    config: BertConfig
    tensors: dict[str, np.ndarray]
    origin: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Check that the configuration has a frozen form, and names, types, shapes and ranges of the tensors.

        Raises:
            FrozenModelError: naming the field or tensor and what is wrong with it.
        """
        check_config(self.config)
        check_origin(self.origin)
        expected = layout(self.config)
        for name in sorted(expected.keys() ^ self.tensors.keys()):
            there = f"tensor {name} is missing" if name in expected else f"tensor {brief(name)} is unknown"
            raise FrozenModelError(f"{there}; freeze again")
        for name, wanted in expected.items():
            tensor = self.tensors[name]
            if tensor.dtype != wanted.dtype or tensor.shape != wanted.shape:
                found = f"{tensor.dtype} {tensor.shape}, not {wanted.dtype} {wanted.shape}"
                raise FrozenModelError(f"tensor {name} is {found}; freeze again")
            if wanted.dtype == "float16" and not np.isfinite(tensor).all():
                raise FrozenModelError(f"tensor {name} has values beyond the range of binary16; train smaller ones")
            if name.endswith(".inverse_step") and not tensor > 0:
                raise FrozenModelError(f"tensor {name} must be positive, found {tensor}; train with a smaller step")
            if wanted.bits == 2 and (unpack(tensor, 2, wanted.columns) == -2).any():
                raise FrozenModelError(f"tensor {name} has codes other than -1, 0 and +1; freeze again")

    def save(self, folder: Path) -> None:
        """Check the model and write `model.json` and `tensors.safetensors` into `folder`, whole or not at all.

        Raises:
            FrozenModelError: see `check`.
        """
        self.check()
        structure: dict[str, Any] = {"kind": KIND, "origin": self.origin, "bert": self.config.model_dump(mode="json")}
        write_files(folder, structure, self.tensors)

    @classmethod
    def load(cls, folder: Path) -> FrozenBert:
        """Read a frozen BERT.

        Raises:
            FrozenModelError: a file is missing or damaged, of another version or hash, not a BERT; see also `check`.
        """
        structure, tensors = read_files(folder)
        if structure.get("kind") != KIND:
            raise FrozenModelError(f"{folder}: the frozen model in it is not a BERT; give the folder of one")
        try:
            described = _Described.model_validate(structure)
        except ValidationError as error:
            raise FrozenModelError(f"{folder}: not a frozen BERT ({explain(error)}); freeze it again") from None
        model = cls(described.bert, tensors, described.origin)
        try:
            model.check()
        except FrozenModelError as error:
            raise FrozenModelError(f"{folder}: {error}") from None
        return model


def has_frozen_form(config: BertConfig) -> bool:
    """Whether weights and activations have few enough bits: one or two, and at most eight."""
    return config.quantisation.weight_bits <= 2 and config.quantisation.activation_bits <= 8


def check_config(config: BertConfig) -> None:
    """Check that a BERT of `config` can be frozen.

    Raises:
        FrozenModelError: more bits, or a wider residual, than there are.
    """
    if not has_frozen_form(config):
        quantisation = config.quantisation
        raise FrozenModelError(
            f"quantisation: {quantisation.weight_bits}-bit weights and {quantisation.activation_bits}-bit activations "
            "have no frozen form; choose a method with 1 or 2 bits, and 8, 4, 2 or 1 activation_bits"
        )
    if config.width > LARGEST_WIDTH:
        raise FrozenModelError(f"width: a frozen BERT has at most {LARGEST_WIDTH}, this one has {config.width}")
