"""Linear layers and embeddings with weights in few bits, as one copy or as the sum of two (BMT section 3.2).

A weight is a module that returns its real values when called: `LatentWeight` is trained, `PackedWeight` holds the bits
that are left after training. Activations are quantised before they come here, once for both copies.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.kernels.quantise import autocast_dtype
from lutra.nn.modules import ModuleList
from lutra.nn.quantizers import (
    WeightCodes,
    bits_per_code,
    fake_quantise_weight,
    pack_codes,
    quantise_weight,
    unpack_codes,
)


class LatentWeight(nn.Module):
    """A float matrix (rows, columns) that is quantised whenever it is used."""

    def __init__(self, latent: Tensor, bits: int, per_row: bool = False, centred: bool = False) -> None:
        super().__init__()
        self.bits, self.per_row, self.centred = bits, per_row, centred
        self.latent = nn.Parameter(latent)

    @property
    def shape(self) -> torch.Size:
        return self.latent.shape

    def codes(self) -> WeightCodes:
        """Integers and scales that the hardware holds."""
        return quantise_weight(self.latent, self.bits, self.per_row, self.centred)

    def forward(self, dtype: torch.dtype | None = None) -> Tensor:
        """Real values, in the latent's type or `dtype`."""
        return fake_quantise_weight(self.latent, self.bits, self.per_row, self.centred, dtype)

    def rows(self, index: Tensor) -> Tensor:
        """Some rows of a weight with a scale per row: (...) int64 -> (..., columns)."""
        found = F.embedding(index, self.latent)
        quantised = fake_quantise_weight(found.view(-1, found.shape[-1]), self.bits, True, self.centred)
        return quantised.view(found.shape)

    def packed(self) -> PackedWeight:
        rows, columns = self.shape
        return PackedWeight(rows, columns, self.bits, self.per_row, self.codes())


class PackedWeight(nn.Module):
    """The same values from `bits` bits per weight; without gradient, for saving and for inference."""

    def __init__(self, rows: int, columns: int, bits: int, per_row: bool, codes: WeightCodes | None = None) -> None:
        super().__init__()
        self.bits, self.shape = bits, torch.Size((rows, columns))
        self.packed: Tensor
        self.scale: Tensor
        if codes is None:
            bytes_per_row = -(-columns * bits_per_code(bits) // 8)
            codes_packed = torch.zeros(rows, bytes_per_row, dtype=torch.uint8)
            scale = torch.zeros(rows if per_row else 1, 1)
        else:
            codes_packed, scale = pack_codes(codes.integers, bits), codes.scale
        self.register_buffer("packed", codes_packed)
        self.register_buffer("scale", scale)

    def forward(self, dtype: torch.dtype | None = None) -> Tensor:
        """Real values, in float32 or `dtype`."""
        return (self.scale * unpack_codes(self.packed, self.bits, self.shape[1])).to(dtype or self.scale.dtype)

    def rows(self, index: Tensor) -> Tensor:
        """Some rows of a weight with a scale per row: (...) int64 -> (..., columns)."""
        return self.scale[index] * unpack_codes(self.packed[index], self.bits, self.shape[1])


class QuantisedLinear(nn.Module):
    """`y = x (W1 diag(s1) + W2 diag(s2)) + bias` on an x that is quantised already: (..., inputs) -> (..., outputs).

    With one weight and no column scales this is a plain linear layer with quantised weights. `column_scales`, (copies,
    outputs), start at 1 (WTWS).
    """

    def __init__(self, weights: list[LatentWeight], bias: Tensor, wtws: bool = False) -> None:
        super().__init__()
        self.weights: ModuleList[LatentWeight | PackedWeight] = ModuleList(weights)
        self.bias = nn.Parameter(bias)
        scales = torch.ones(len(weights), len(bias), dtype=bias.dtype)
        self.column_scales = nn.Parameter(scales) if wtws else None

    def effective_weight(self, dtype: torch.dtype | None = None) -> Tensor:
        """(outputs, inputs): what multiplies x; a single copy in `dtype` if given, the sum of two as it is computed."""
        if len(self.weights) == 1 and self.column_scales is None:
            single: Tensor = self.weights[0](dtype)
            return single
        copies: list[Tensor] = [weight() for weight in self.weights]
        if self.column_scales is not None:
            copies = [scale[:, None] * copy for scale, copy in zip(self.column_scales, copies, strict=True)]
        return sum(copies[1:], start=copies[0])

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.effective_weight(autocast_dtype(self.bias)), self.bias)


class QuantisedEmbedding(nn.Module):
    """Token numbers -> rows of one quantised table, or the sum of the rows of two: (...) int64 -> (..., width)."""

    def __init__(self, weights: list[LatentWeight]) -> None:
        super().__init__()
        self.weights: ModuleList[LatentWeight | PackedWeight] = ModuleList(weights)

    def forward(self, tokens: Tensor) -> Tensor:
        found = [weight.rows(tokens) for weight in self.weights]
        return sum(found[1:], start=found[0])


def pack_(model: nn.Module) -> None:
    """Replace every latent weight in `model` by its packed bits, in place; outputs stay the same to the bit.

    The state dictionary then is what belongs on a disk: one bit per binary weight. Training ends here.
    """
    _replace(model, lambda weight: weight.packed())


def prepare_packed_(model: nn.Module) -> None:
    """Make a freshly built `model` ready to load the state dictionary of a packed one."""
    _replace(model, lambda weight: PackedWeight(weight.shape[0], weight.shape[1], weight.bits, weight.per_row))


def _replace(model: nn.Module, packed: Callable[[LatentWeight], PackedWeight]) -> None:
    for module in model.modules():
        if isinstance(module, (QuantisedLinear, QuantisedEmbedding)):
            for index, weight in enumerate(module.weights):
                if isinstance(weight, LatentWeight):
                    module.weights[index] = packed(weight)
