"""A differentiable layer of lookup tables (DWN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lutra import kernels
from lutra.kernels import reference
from lutra.nn.mapping import Mapping
from lutra.recipes.language import LutLayerConfig


class LutLayer(nn.Module):
    """`luts` tables of 2^n trainable entries; a table's bit is 1 where its addressed entry is positive."""

    def __init__(
        self, inputs_width: int, luts: int, config: LutLayerConfig, efd: reference.EfdForm, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.efd = efd
        self.mapping = Mapping(inputs_width, luts, config, generator)
        self.tables = nn.Parameter(_initial_tables(luts, config, generator))

    @torch.no_grad()
    def constrain_(self) -> None:
        """Clamp the tables to [-1, 1], so that no entry drifts out of reach of its gradient (DWN)."""
        self.tables.clamp_(-1, 1)

    def kernel_parameters(self) -> kernels.LayerParameters:
        mapping = self.mapping
        if mapping.trained_scores is None:
            return kernels.LayerParameters(self.tables, mapping.connections())
        return kernels.LayerParameters(
            self.tables,
            mapping.connections(),
            mapping.scores,
            mapping.candidates,
            mapping.temperature,
            mapping.by_slot(),
        )

    def forward(self, bits: Tensor) -> Tensor:
        """Bits (F, N) -> bits (L, N)."""
        mapping = self.mapping
        return reference.lut_layer(
            bits,
            self.tables,
            mapping.connections(),
            self.efd,
            mapping.trained_scores,
            mapping.candidates,
            mapping.temperature,
        )


def _initial_tables(luts: int, config: LutLayerConfig, generator: torch.Generator) -> Tensor:
    entries = 2**config.inputs
    if config.table_init == "uniform":
        return 2 * torch.rand(luts, entries, generator=generator) - 1
    signs = 2.0 * ((torch.arange(entries) >> torch.arange(config.inputs)[:, None]) & 1) - 1  # (n, 2^n)
    weights = torch.randn(luts, config.inputs, generator=generator)
    smooth = (weights / weights.abs().sum(dim=1, keepdim=True)) @ signs
    return 0.75 * signs[0] + 0.25 * smooth if config.table_init == "residual" else smooth
