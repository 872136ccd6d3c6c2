"""Thermometer encoding of real activations (QuWeiT section 3.1; DWN for the calibrations)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.kernels import reference
from lutra.recipes.language import BlockConfig


class Thermometer(nn.Module):
    """Each of `width` features becomes `thermometer_bits` bits, `x >= threshold`.

    Thresholds are a buffer, or a parameter when they are learned; they are not a number until `calibrate_` has set them
    from activations.
    """

    def __init__(self, width: int, config: BlockConfig) -> None:
        super().__init__()
        self.width, self.bits = width, config.thermometer_bits
        self.source, self.gradient, self.per_feature = config.thresholds, config.input_gradient, config.per_feature
        self.relative_window = config.window
        start = torch.full((width if config.per_feature else 1, self.bits), torch.nan)
        self.thresholds: Tensor
        if config.thresholds == "learned":
            self.thresholds = nn.Parameter(start)
        else:
            self.register_buffer("thresholds", start)
        self.window: Tensor
        self.register_buffer("window", torch.tensor(torch.nan))
        self.calibrated = False  # window is finite, without reading the device in every forward pass
        self.register_load_state_dict_post_hook(_refresh_calibrated)  # type: ignore[no-untyped-call]

    @property
    def output_width(self) -> int:
        return self.width * self.bits

    @torch.no_grad()
    def calibrate_(self, x: Tensor) -> None:
        """Set thresholds and window from activations `x` (N, width).

        Raises:
            InputError: NaN or infinite activations, or fewer than two rows.
        """
        x = x.detach().reshape(-1, self.width).float()
        if len(x) < 2 or not x.isfinite().all():
            raise InputError(f"calibration needs at least 2 rows of finite activations, got {_describe(x)}")
        self.thresholds.copy_(_calibrated(x if self.per_feature else x.reshape(-1, 1), self.bits, self.source))
        self.window.copy_(self.relative_window * x.std().clamp_min(1e-6))
        self.calibrated = True

    @torch.no_grad()
    def constrain_(self) -> None:
        """Keep learned thresholds ascending."""
        self.thresholds.copy_(self.thresholds.sort(dim=1).values)

    def input_scale(self) -> Tensor:
        """Scale of an int8 input that loses nothing: the largest threshold is 127 steps from zero (float32 scalar)."""
        return self.thresholds.detach().abs().max().clamp_min(1e-6) / 127

    def integer_thresholds(self, scale: Tensor) -> Tensor:
        """Thresholds for integer inputs, (width, bits): `x_int >= ceil(threshold / scale)`, within [-128, 128]."""
        integers = torch.ceil(self.thresholds.detach() / scale).clamp(-128, 128)
        return integers.sort(dim=1).values.expand(self.width, -1)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """(N, width) -> bits (width * bits, N); with `scale`, exactly what the int8 hardware computes."""
        compare = None
        if scale is not None:
            compare = (quantise(x, scale), self.integer_thresholds(scale))
        return reference.thermometer(x, self.thresholds, self.gradient, self.window, compare)


def _refresh_calibrated(thermometer: Thermometer, _: object) -> None:
    thermometer.calibrated = bool(thermometer.window.isfinite())


def quantise(x: Tensor, scale: Tensor) -> Tensor:
    """float32 -> int8 values held as float32, as in frozen/spec.md."""
    return torch.floor(x.detach() * (1 / scale) + 0.5).clamp(-128, 127)


def _calibrated(x: Tensor, bits: int, source: str) -> Tensor:
    """Thresholds (columns, bits) of the columns of `x` (N, columns); "learned" starts as gaussian."""
    fraction = torch.arange(1, bits + 1, device=x.device) / (bits + 1)
    if source == "uniform":
        low, high = x.amin(dim=0)[:, None], x.amax(dim=0)[:, None]
        return low + fraction * (high - low)
    if source == "distributive":
        return x.sort(dim=0).values[(fraction * len(x)).long()].t()
    quantiles = 2**0.5 * torch.erfinv(2 * fraction - 1)
    return x.mean(dim=0)[:, None] + x.std(dim=0)[:, None] * quantiles


def _describe(x: Tensor) -> str:
    return f"{len(x)} rows" if x.isfinite().all() else f"{int((~x.isfinite()).sum())} NaN or infinite values"
