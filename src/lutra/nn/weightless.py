"""The weightless block that replaces an MLP: thermometer, LUT layers, conditional summation (QuWeiT Fig. 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from lutra import kernels
from lutra.errors import InputError
from lutra.kernels import reference
from lutra.nn.lut import LutLayer
from lutra.nn.modules import ModuleList
from lutra.nn.summation import ConditionalSummation, IntegerSum
from lutra.nn.thermometer import Thermometer
from lutra.recipes.language import BlockConfig, resolve_width


class IntegerBlock(NamedTuple):
    """Everything that inference needs, as NumPy integers; shapes as in frozen/spec.md."""

    input_scale: float
    thresholds: np.ndarray  # (D, T)
    lut_layers: list[tuple[np.ndarray, np.ndarray]]  # connections (L, n), tables (L, 2^n)
    sum_sources: tuple[int, ...]
    groups: int
    encoded: np.ndarray  # (R, D)
    bias: np.ndarray  # (D,)
    shift: int | np.ndarray  # one for all outputs, or (D,), where below 0 it is to the left
    output_bits: int
    output_scale: float


class WeightlessBlock(nn.Module):
    """Drop-in replacement of an MLP: (..., width) -> (..., output_width), any leading shape.

    It must see activations once before use (`calibrate_`). `quantise_` switches from real to integer arithmetic
    (fake-quantised: integers carried as floats, with straight-through gradients), exactly as the hardware computes.

    Parameters and buffers stay float32 when a model is cast to another type; the output has the type of the input. NaN
    or infinity in a row is an error in evaluation; in training, and in compiled or exported models, that row of the
    output is NaN.
    """

    def __init__(self, width: int, config: BlockConfig, seed: int, output_width: int | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.config, self.seed = config, seed
        self.place = ""
        """Its path in the model, for messages."""
        self.instead: Callable[[WeightlessBlock, Tensor], Tensor | None] | None = None
        """Answers in the place of `forward` while it returns something (calibration)."""
        self.width, self.output_width = width, output_width or width
        self.sum_sources = config.sum_sources
        self.thermometer = Thermometer(width, config)
        widths = [self.thermometer.output_width]
        self.lut_layers: ModuleList[LutLayer] = ModuleList()
        for layer in config.lut_layers:
            luts = resolve_width(layer.luts, width)
            self.lut_layers.append(LutLayer(widths[-1], luts, layer, config.efd, generator))
            widths.append(luts)
        summed_bits = sum(widths[source] for source in self.sum_sources)
        self.summation = ConditionalSummation(summed_bits, self.output_width, config, generator)
        self.input_scale: Tensor
        self.register_buffer("input_scale", torch.tensor(0.0))
        self.quantised = False  # input_scale > 0, without reading the device in every forward pass
        self.register_load_state_dict_post_hook(_refresh_quantised)  # type: ignore[no-untyped-call]

    def calibrate_(self, x: Tensor) -> None:
        """Set the thresholds from activations (..., width); see `Thermometer.calibrate_`."""
        self.thermometer.calibrate_(x)

    def quantise_(self) -> None:
        """Switch to integer arithmetic, with an int8 input scale fitted to the present thresholds.

        Raises:
            InputError: the block has not been calibrated.
        """
        self._require_calibration()
        self.input_scale.copy_(self.thermometer.input_scale())
        self.quantised = True

    def dequantise_(self) -> None:
        """Switch back to real arithmetic."""
        self.input_scale.zero_()
        self.quantised = False

    def freeze_mapping_(self) -> None:
        """Every table input keeps the bit that it reads now; see `Mapping.freeze_`."""
        for layer in self.lut_layers:
            layer.mapping.freeze_()

    def constrain_(self) -> None:
        """To be called after every optimiser step: tables within [-1, 1], learned thresholds ascending."""
        for layer in self.lut_layers:
            layer.constrain_()
        self.constrain_thresholds_()

    def constrain_thresholds_(self) -> None:
        """The part of `constrain_` that is left where the optimiser keeps the tables in range (`kernels.adamw`)."""
        if isinstance(self.thermometer.thresholds, nn.Parameter):
            self.thermometer.constrain_()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by the kinds that want learning rates of their own; none of them wants weight decay."""
        mappings = [layer.mapping.scores for layer in self.lut_layers if layer.mapping.scores is not None]
        thresholds = self.thermometer.thresholds
        return {
            "tables": [layer.tables for layer in self.lut_layers],
            "mapping": mappings,
            "thresholds": [thresholds] if isinstance(thresholds, nn.Parameter) else [],
            "encoded": [self.summation.encoded, self.summation.bias],
        }

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., output_width), of the type of `x`.

        Raises:
            InputError: the block has not been calibrated, `x` has another width, or, in evaluation, is not finite.
        """
        self.require_width(x)
        if self.instead is not None and (answer := self.instead(self, x)) is not None:
            return answer
        self._require_calibration()
        rows = x.reshape(-1, self.width)  # (N, D)
        if not kernels.fast_block_available(rows):
            rows = rows.float()
        faults = self._faults(rows)
        y = self._fast(rows) if kernels.fast_block_available(rows) else self._composed(rows)
        if faults is not None:
            y = y + faults.to(y.dtype)
        if not torch.is_autocast_enabled(x.device.type):
            y = y.to(x.dtype)
        return y.view(*x.shape[:-1], self.output_width)

    def _faults(self, rows: Tensor) -> Tensor | None:
        """NaN for every row that holds NaN or infinity and 0 for the others, (N, 1); None where all are sound.

        Comparisons with NaN are false: without this a block would turn a fault into ordinary numbers.
        """
        total = rows.detach().sum(dim=1, keepdim=True, dtype=torch.float32)
        if torch.compiler.is_compiling() or (self.training and rows.device.type != "cpu"):
            return total * 0
        if total.isfinite().all():
            return None
        if not self.training:
            count = int((~total.isfinite()).sum())
            raise InputError(
                f"{self._named()}: {count} of {len(rows)} rows hold NaN or infinity; look at what comes before"
            )
        return total * 0

    def require_width(self, x: Tensor) -> None:
        """Raises InputError if `x` does not have the block's input width."""
        if x.shape[-1] != self.width:
            raise InputError(
                f"{self._named()}: made for {self.width} features, got {x.shape[-1]} (shape {tuple(x.shape)})"
            )

    def _named(self) -> str:
        return self.place or "weightless block"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move to other devices, but never to other types: thresholds and tables need float32."""

        def keep_type(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        super()._apply(keep_type, recurse)  # type: ignore[no-untyped-call]
        return self

    def refresh_(self) -> None:
        """Make again what follows from parameters and buffers, after these were filled from outside."""
        self.summation.refresh_()
        self.thermometer.calibrated = bool(self.thermometer.window.isfinite())
        self.quantised = bool(self.input_scale > 0)

    @torch.no_grad()
    def bits(self, rows: Tensor) -> Tensor:
        """The bits that are summed, real-valued thermometer: (N, width) -> (R, N), float32 of 0 and 1."""
        bits = [self.thermometer(rows.float())]
        for layer in self.lut_layers:
            bits.append(layer(bits[-1]))
        return torch.cat([bits[source] for source in self.sum_sources])

    def _composed(self, rows: Tensor) -> Tensor:
        """(N, width) -> (N, output_width), step by step with the reference kernels."""
        bits = [self.thermometer(rows, self.input_scale if self.quantised else None)]  # (D * T, N)
        for layer in self.lut_layers:
            bits.append(layer(bits[-1]))  # (L, N)
        read = torch.cat([bits[source] for source in self.sum_sources])  # (R, N)
        integers = self.summation.integers() if self.quantised else None
        y: Tensor = self.summation(read, integers)
        if integers is None:
            return y
        return reference.straight_through(self.summation.integer_forward(read, integers), y)

    def _fast(self, rows: Tensor) -> Tensor:
        """(N, width) -> (N, output_width) with the fused kernels."""
        if not (self.quantised and self.summation.per_output):
            return kernels.weightless_block(rows, self._kernel_parameters())
        # The kernels know one shift: they give the sums as they are, with the gradient of the real-valued block.
        integers = self.summation.integers()
        one = torch.ones((), device=rows.device)
        sums = kernels.weightless_block(rows, self._kernel_parameters(integers, (one * 0, 32, one)))
        return reference.straight_through(self.summation.requantise(sums.detach(), integers), sums)

    def _kernel_parameters(
        self, integer_sum: IntegerSum | None = None, requantise: tuple[Tensor, int, Tensor] | None = None
    ) -> kernels.BlockParameters:
        thermometer, summation = self.thermometer, self.summation
        integers = None
        if self.quantised:
            thresholds = thermometer.integer_thresholds(self.input_scale)
            integer_sum = integer_sum or summation.integers()
            rest = requantise or integer_sum[2:]
            integers = kernels.IntegerParameters(
                self.input_scale, thresholds, integer_sum.encoded, integer_sum.bias, *rest
            )
        return kernels.BlockParameters(
            thermometer.thresholds,
            thermometer.window,
            thermometer.gradient,
            [layer.kernel_parameters() for layer in self.lut_layers],
            self.lut_layers[0].efd,
            self.sum_sources,
            summation.trained_encoded(integer_sum),
            summation.bias,
            summation.centred,
            integers,
            summation.groups,
            summation.mask,
        )

    @torch.no_grad()
    def export(self) -> IntegerBlock:
        """The integers of a quantised block.

        Raises:
            InputError: `quantise_` has not been called.
        """
        if not self.quantised:
            raise InputError("only a quantised weightless block has integers; call quantise_ first")
        summation = self.summation.integers()
        return IntegerBlock(
            input_scale=float(self.input_scale),
            thresholds=_integers(self.thermometer.integer_thresholds(self.input_scale)),
            lut_layers=[
                (_integers(layer.mapping.connections()), _integers(layer.tables > 0)) for layer in self.lut_layers
            ],
            sum_sources=self.sum_sources,
            groups=self.summation.groups,
            encoded=_integers(summation.encoded),
            bias=_integers(summation.bias),
            shift=_integers(summation.shift) if self.summation.per_output else int(summation.shift),
            output_bits=self.summation.output_bits,
            output_scale=float(summation.output_scale),
        )

    def _require_calibration(self) -> None:
        if not self.thermometer.calibrated:
            raise InputError(f"{self._named()} has no thresholds yet; run lutra.calibrate_ on real data")


def weightless_blocks(model: nn.Module) -> dict[str, WeightlessBlock]:
    """Every weightless block of `model` by its path, in the order of the modules."""
    return {name: module for name, module in model.named_modules() if isinstance(module, WeightlessBlock)}


def _refresh_quantised(block: WeightlessBlock, _: object) -> None:
    block.quantised = bool(block.input_scale > 0)


def _integers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.int64)
