"""Shape and quantisation of a BERT, as recipes, checkpoints and frozen models hold them; never imports torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from lutra.limits import HEADS, LAYERS, PARAMETERS, POSITIONS, VOCABULARY, WIDTH
from lutra.recipes.sections import Section


class QuantisationConfig(Section):
    """Few-bit weights and activations of a BERT. What is not given is what the method was published with."""

    method: Literal["full", "q8", "ternary", "binary", "bit", "bmt"] = "full"
    """Float; Q8BERT; TernaryBERT; BinaryBERT; BiT; BMT. "binary" and "bmt" add two binary copies of every weight."""
    weight_bits: Literal[1, 2, 4, 8, 32]
    embedding_bits: Literal[1, 2, 4, 8, 32]
    """Bits of the word embedding, whose rows have a scale each."""
    activation_bits: Literal[1, 2, 4, 8, 32]
    wtws: bool
    """Learned column scales on the two copies (BMT section 3.2)."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        method = given.get("method", "full") if isinstance(given, dict) else None
        if not isinstance(method, str):
            return given
        bits = {"full": 32, "q8": 8, "ternary": 2}.get(method, 1)
        activation_bits = {"full": 32, "q8": 8}.get(method, 4)
        published = {"weight_bits": bits, "embedding_bits": bits, "activation_bits": activation_bits}
        return {**published, "wtws": method == "bmt", **given}

    @model_validator(mode="after")
    def _check_bits(self) -> QuantisationConfig:
        allowed = {"full": (32,), "q8": (2, 4, 8), "ternary": (2,)}.get(self.method, (1,))
        for name, bits in (("weight_bits", self.weight_bits), ("embedding_bits", self.embedding_bits)):
            # Q-BERT and TernaryBERT are also published with an 8-bit embedding.
            if bits not in allowed and not (name == "embedding_bits" and self.method == "ternary" and bits == 8):
                raise ValueError(f"{name} of method {self.method} must be in {list(allowed)}, got {bits}")
        if self.method == "full" and self.activation_bits != 32:
            raise ValueError(f"method full has float activations, got activation_bits {self.activation_bits}")
        if self.activation_bits == 1 and not self.elastic:
            raise ValueError('one-bit activations need method "bit" or "bmt": LSQ has no one-bit form')
        if self.wtws and self.copies == 1:
            raise ValueError('wtws weighs two copies: it needs method "binary" or "bmt"')
        return self

    @property
    def copies(self) -> int:
        """Binary copies that are added up to one weight."""
        return 2 if self.method in ("binary", "bmt") else 1

    @property
    def elastic(self) -> bool:
        """Activation quantisers have a bias."""
        return self.method in ("bit", "bmt")

    @property
    def centred(self) -> bool:
        """The sign is that of the weight minus the mean."""
        return self.method == "bit"


class BertConfig(Section):
    """Shape and quantisation of a BERT; the defaults are BERT-base.

    `heads * head_width`, the width of the attention, may differ from the residual `width` (DynaBERT's half width).
    """

    layers: int = Field(12, ge=1, le=LAYERS)
    heads: int = Field(12, ge=1, le=HEADS)
    head_width: int = Field(64, ge=1, le=WIDTH)
    width: int = Field(768, ge=1, le=WIDTH)
    intermediate: int = Field(3072, ge=1, le=WIDTH)
    vocabulary: int = Field(30522, ge=1, le=VOCABULARY)
    positions: int = Field(512, ge=1, le=POSITIONS)
    token_types: int = Field(2, ge=1, le=VOCABULARY)
    activation: Literal["relu", "gelu"] = "gelu"
    dropout: float = Field(0.1, ge=0, lt=1)
    layer_norm_epsilon: float = Field(1e-12, gt=0, le=1)
    outputs: int = Field(2, ge=1, le=VOCABULARY)
    """Classes of the task, or 1 for a regression."""
    quantisation: QuantisationConfig = QuantisationConfig.model_validate({})

    @model_validator(mode="after")
    def _check_size(self) -> BertConfig:
        if self.parameters > PARAMETERS:
            raise ValueError(f"a model of these sizes has {self.parameters:,} parameters, at most {PARAMETERS:,} fit")
        return self

    @property
    def parameters(self) -> int:
        """Weights and biases of the float model."""
        attention = 4 * self.width * self.attention_width + 3 * self.attention_width + self.width
        feed_forward = 2 * self.width * self.intermediate + self.intermediate + self.width
        embeddings = (self.vocabulary + self.positions + self.token_types + 2) * self.width
        head = self.width * (self.width + 1) + self.outputs * (self.width + 1)
        return embeddings + self.layers * (attention + feed_forward + 4 * self.width) + head

    @property
    def attention_width(self) -> int:
        return self.heads * self.head_width
