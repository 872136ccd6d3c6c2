"""The forward pass on a GPU: one fused kernel for thermometer and LUT layers, then a dense product with their bits."""

from __future__ import annotations

import torch
from torch import Tensor

from lutra.kernels.gpu import kernels

WORD = 32  # rows in a word of bits
BLOCK = 64  # features or tables that a program handles at a time


class LutLayers:
    """The tables and connections of all layers, one after the other, and the sizes that kernels are compiled for."""

    def __init__(self, planes: int, tables: list[Tensor], connections: list[Tensor]) -> None:
        self.planes = planes
        self.luts = tuple(len(layer) for layer in connections)
        self.inputs = tuple(layer.shape[1] for layer in connections)
        self.hidden = sum(self.luts)
        self.tables = torch.cat([layer.float().flatten() for layer in tables])
        self.connections = torch.cat([layer.int().flatten() for layer in connections])

    def source(self, k: int, bits: Tensor, hidden: Tensor) -> Tensor:
        """Packed bits (words, planes) of the thermometer (k = 0) or of LUT layer k."""
        first = sum(self.luts[: k - 1])
        return bits if k == 0 else hidden[:, first : first + self.luts[k - 1]]

    def read(self, sources: list[int], bits: Tensor, hidden: Tensor, rows: int, centred: bool) -> Tensor:
        """What the summation reads, (rows, R) float32: bits as 0 and 1, or as -1/2 and 1/2."""
        low = -0.5 if centred else 0.0
        return torch.cat([unpack(self.source(k, bits, hidden), rows, low, low + 1) for k in sources], dim=1)


def unpack(words: Tensor, rows: int, low: float, high: float) -> Tensor:
    """Packed bits (words, planes) -> float32 (rows, planes), `low` where a bit is 0 and `high` where it is 1."""
    planes = words.shape[1]
    values = torch.empty(rows, planes, device=words.device)
    grid = (len(words), -(-planes // BLOCK))
    kernels.unpack[grid](words, values, words.stride(0), rows, low, high, planes, BLOCK)
    return values


def forward(
    x: Tensor,
    thresholds: Tensor,
    window: Tensor,
    tables: list[Tensor],
    connections: list[Tensor],
    encoded: Tensor,
    bias: Tensor,
    integers: list[Tensor],
    sum_sources: list[int],
    gradient: str,
    centred: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output (N, D_out) float32, and packed bits (ceil(N / 32), D * T) int32 to save: thermometer, gradient's window.

    Arguments as those of the operator on a CPU (`kernels/block.py`). N must not be 0.
    """
    rows, features = x.shape
    T, words, has_window = thresholds.shape[1], -(-rows // WORD), gradient == "window"
    layers = LutLayers(features * T, tables, connections)
    bits = torch.empty(words, layers.planes, dtype=torch.int32, device=x.device)
    hidden = bits.new_empty(words, layers.hidden)
    inside = bits.new_empty(words if has_window else 0, layers.planes)
    x = x.contiguous()
    thresholds = thresholds.float().expand(features, T).contiguous()
    compared, limits = x, thresholds
    if integers:
        inverse_scale, limits, encoded, bias, requantise = integers
        limits, centred = limits.contiguous(), False  # the integer bias already holds the constant
        compared = torch.floor(x.float() * inverse_scale + 0.5).clamp(-128, 127)
    kernels.forward[(words,)](
        x, compared, thresholds, limits, window, bits, inside, layers.tables, layers.connections, hidden,
        rows, features, T, has_window, layers.luts, layers.inputs, layers.hidden, BLOCK,
    )  # fmt: skip
    y = torch.addmm(bias.float(), layers.read(sum_sources, bits, hidden, rows, centred), encoded.float())
    if integers:  # round half up after a shift, clamp, dequantise: frozen/spec.md
        half, step, limit, scale = requantise
        y = torch.floor((y + half) * step).clamp(-limit, limit - 1) * scale
    return y, bits, inside
