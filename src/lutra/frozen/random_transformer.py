"""Whole transformers of random contents as frozen programs: what they cost on a machine hardly depends on contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lutra.frozen.graph import Graph
from lutra.frozen.ops import (
    Attention,
    Embedding,
    LayerNorm,
    MatMul,
    Operation,
    Patches,
    Positions,
    Requantise,
    Residual,
    Select,
    Table,
)
from lutra.frozen.ops.attention import exponential_table
from lutra.frozen.random_block import random_block
from lutra.frozen.types import TensorType

Feedforward = Literal["weightless", "mlp", "none"]
INT8, STREAM = TensorType(True, 8, 2.0**-5), TensorType(True, 16, 2.0**-11)
SMALL_BLOCK: dict[str, Any] = {"luts": 3, "inputs": 6, "groups": 2, "max_shift": 2}
DEFAULT_BLOCK: dict[str, Any] = {"luts": 8, "inputs": 6, "groups": 8, "thermometer_bits": 8, "max_shift": 0}
"""The block that recipes have if they say nothing else."""


class _Writer:
    """Collects operations whose outputs spread over the whole of their types."""

    def __init__(
        self, rng: np.random.Generator, width: int, heads: int, causal: bool, block: Mapping[str, Any]
    ) -> None:
        self.rng, self.width, self.heads, self.causal, self.shape = rng, width, heads, causal, block
        self.ops: list[Operation] = []

    def add(self, op: Operation) -> str:
        self.ops.append(op)
        return op.output

    def linear(self, source: str, name: str, inputs: int, outputs: int, type_: TensorType = INT8) -> str:
        rng = self.rng
        bias = rng.integers(-3000, 3000, outputs)
        self.add(MatMul((source,), f"{name}.sums", rng.integers(-127, 128, (inputs, outputs)), bias))
        # The sums of random int8 products have a standard deviation of about 74^2 sqrt(inputs).
        wanted = (60 if type_.bits == 8 else 6000) / (74**2 * inputs**0.5)
        multiplier = np.clip(np.rint(wanted * 2**20 * rng.uniform(0.7, 1.3, outputs)), 1, 2**16 - 1).astype(np.int64)
        return self.add(Requantise((f"{name}.sums",), name, multiplier, np.full(outputs, 20), type_))

    def norm(self, source: str, name: str) -> str:
        gain = self.rng.integers(-(2**15), 2**15, self.width)
        bias = self.rng.integers(-(2**18), 2**18, self.width)
        return self.add(
            LayerNorm((source,), name, gain, bias, epsilon=int(self.rng.integers(0, 99)), shift=18, type=INT8)
        )

    def layer(self, x: str, name: str, ffn: Feedforward, only_class: bool = False) -> str:
        """`only_class`: from the queries on, of the first row alone."""
        y = queried = self.norm(x, f"{name}.ln_1")
        if only_class:
            x = self.add(Select((x,), f"{name}.class", 0))
            queried = self.add(Select((y,), f"{name}.class_norm", 0))
        sources = {"query": queried, "key": y, "value": y}
        parts = tuple(self.linear(source, f"{name}.{part}", self.width, self.width) for part, source in sources.items())
        score = {"multiplier": int(self.rng.integers(200, 2000)), "shift": 13}
        context = self.add(
            Attention(
                parts, f"{name}.context", self.heads, self.causal, **score,
                exponentials=exponential_table(), gain=int(self.rng.integers(0, 3)), type=INT8,
            )
        )  # fmt: skip
        branch = self.linear(context, f"{name}.attention", self.width, self.width, STREAM)
        x = self.add(Residual((x, branch), f"{name}.x", STREAM))
        if ffn == "none":
            return x
        y = self.norm(x, f"{name}.ln_2")
        branch = self.block(y, f"{name}.mlp") if ffn == "weightless" else self.mlp(y, f"{name}.mlp")
        return self.add(Residual((x, branch), f"{name}.out", STREAM))

    def mlp(self, y: str, name: str) -> str:
        hidden = self.linear(y, f"{name}.hidden", self.width, 4 * self.width)
        values = self.rng.integers(-128, 128, 256)
        table = self.add(Table((hidden,), f"{name}.gelu", values, INT8))
        return self.linear(table, f"{name}.branch", 4 * self.width, self.width, STREAM)

    def block(self, y: str, name: str) -> str:
        lists = {"luts": (self.shape["luts"] * self.width,), "inputs": (self.shape["inputs"],)}
        block = random_block(self.rng, **{"width": self.width, **self.shape, **lists})
        for op in block.ops:
            inputs = tuple(y if source == "x" else f"{name}.{source}" for source in op.inputs)
            self.add(type(op)(**{**vars(op), "inputs": inputs, "output": f"{name}.{op.output}"}))
        multiplier = np.full(self.width, int(self.rng.integers(2**13, 2**16)))
        return self.add(Requantise((f"{name}.y",), f"{name}.branch", multiplier, np.full(self.width, 16), STREAM))


def random_gpt(
    rng: np.random.Generator,
    *,
    layers: int = 2,
    width: int = 12,
    heads: int = 2,
    context: int = 8,
    vocabulary: int = 11,
    ffn: Feedforward = "weightless",
    block: Mapping[str, Any] = SMALL_BLOCK,
) -> Graph:
    """A decoder with random contents; its values spread over their types, so that wrong bits show.

    `block`: as `random_block` takes it, but `luts` in multiples of the width, and of a single layer.
    """
    writer = _Writer(rng, width, heads, causal=True, block=block)
    tokens, positions = (rng.integers(-6000, 6000, (count, width)) for count in (vocabulary, context))
    x = writer.add(Embedding(("tokens",), "embedding", tokens, positions, STREAM))
    for layer in range(layers):
        x = writer.layer(x, f"h.{layer}", ffn)
    writer.linear(writer.norm(x, "ln_f"), "logits", width, vocabulary, TensorType(True, 16, 2.0**-9))
    bits = max(1, (vocabulary - 1).bit_length())
    return _checked("gpt", "tokens", TensorType(False, bits), 1, writer.ops)


def random_vit(
    rng: np.random.Generator,
    *,
    layers: int = 2,
    width: int = 12,
    heads: int = 3,
    image: tuple[int, int] = (6, 4),
    patch: int = 2,
    classes: int = 5,
    ffn: Feedforward = "mlp",
    only_class: bool = False,
    block: Mapping[str, Any] = SMALL_BLOCK,
) -> Graph:
    """A vision transformer with a class token and random contents; with `only_class` its last layer is computed for
    that token alone, as freezing has it. `block` as of `random_gpt`."""
    writer = _Writer(rng, width, heads, causal=False, block=block)
    height, columns = image
    count = (height // patch) * (columns // patch)
    rows = writer.add(Patches(("pixels",), "patches", height, columns, patch))
    x = writer.linear(rows, "projected", 3 * patch * patch, width, STREAM)
    leading, positions = (rng.integers(-6000, 6000, (rows, width)) for rows in (1, count))
    x = writer.add(Positions((x,), "embedding", leading, positions, STREAM))
    for layer in range(layers):
        x = writer.layer(x, f"blocks.{layer}", ffn, only_class and layer == layers - 1)
    chosen = writer.norm(x, "norm")
    if not only_class:
        chosen = writer.add(Select((chosen,), "class", 0))
    writer.linear(chosen, "logits", width, classes, TensorType(True, 16, 2.0**-9))
    return _checked("vit", "pixels", TensorType(False, 8), 3, writer.ops, height * columns)


def _checked(name: str, input_: str, type_: TensorType, width: int, ops: list[Operation], *rows: Any) -> Graph:
    program = Graph(name, input_, type_, width, tuple(ops), *rows)
    program.check()
    return program
