"""Dropout whose mask is not drawn element by element."""

from __future__ import annotations

from torch import Tensor, nn

from lutra.kernels.attention import dropout


class Dropout(nn.Dropout):
    """`nn.Dropout`, many times faster on a CPU; what it drops is a function of PyTorch's generator as there."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x
