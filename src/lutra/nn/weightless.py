"""The weightless block that replaces an MLP: thermometer, LUT layers, conditional summation (QuWeiT Fig. 5)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lutra import kernels
from lutra.errors import InputError
from lutra.kernels import reference
from lutra.nn.lut import LutLayer
from lutra.nn.summation import ConditionalSummation
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
    shift: int
    output_bits: int
    output_scale: float


class WeightlessBlock(nn.Module):
    """Drop-in replacement of an MLP: (..., width) -> (..., output_width), any leading shape.

    It must see activations once before use (`calibrate_`). `quantise_` switches from real to integer arithmetic
    (fake-quantised: integers carried as floats, with straight-through gradients), exactly as the hardware computes.
    """

    def __init__(self, width: int, config: BlockConfig, seed: int, output_width: int | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.width, self.output_width = width, output_width or width
        self.sum_sources = config.sum_sources
        self.thermometer = Thermometer(width, config)
        widths = [self.thermometer.output_width]
        self.lut_layers = nn.ModuleList()
        for layer in config.lut_layers:
            luts = resolve_width(layer.luts, width)
            self.lut_layers.append(LutLayer(widths[-1], luts, layer, config.efd, generator))
            widths.append(luts)
        summed_bits = sum(widths[source] for source in self.sum_sources)
        self.summation = ConditionalSummation(summed_bits, self.output_width, config, generator)
        self.input_scale: Tensor
        self.register_buffer("input_scale", torch.tensor(0.0))
        self.quantised = False  # input_scale > 0, without reading the device in every forward pass
        self.register_load_state_dict_post_hook(_refresh_quantised)

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
        learned = isinstance(self.thermometer.thresholds, nn.Parameter)
        return {
            "tables": [layer.tables for layer in self.lut_layers],
            "mapping": mappings,
            "thresholds": [self.thermometer.thresholds] if learned else [],
            "encoded": [self.summation.encoded, self.summation.bias],
        }

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., output_width).

        Raises:
            InputError: the block has not been calibrated.
        """
        self._require_calibration()
        rows = x.reshape(-1, self.width)  # (N, D)
        if kernels.fast_block_available(rows):
            y = kernels.weightless_block(rows, self._kernel_parameters())
        else:
            y = self._composed(rows)
        return y.view(*x.shape[:-1], self.output_width)

    def _composed(self, rows: Tensor) -> Tensor:
        """(N, width) -> (N, output_width), step by step with the reference kernels."""
        bits = [self.thermometer(rows, self.input_scale if self.quantised else None)]  # (D * T, N)
        for layer in self.lut_layers:
            bits.append(layer(bits[-1]))  # (L, N)
        read = torch.cat([bits[source] for source in self.sum_sources])  # (R, N)
        if not self.quantised:
            return self.summation(read)
        integers = self.summation.integers()
        return reference.straight_through(
            self.summation.integer_forward(read, integers), self.summation(read, integers)
        )

    def _kernel_parameters(self) -> kernels.BlockParameters:
        thermometer, summation = self.thermometer, self.summation
        integers = integer_sum = None
        if self.quantised:
            thresholds = thermometer.integer_thresholds(self.input_scale)
            integer_sum = summation.integers()
            integers = kernels.IntegerParameters(self.input_scale, thresholds, *integer_sum)
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
            shift=int(summation.shift),
            output_bits=self.summation.output_bits,
            output_scale=float(summation.output_scale),
        )

    def _require_calibration(self) -> None:
        if not self.thermometer.calibrated:
            raise InputError(
                "a weightless block has no thresholds yet; run lutra.nn.weightless.calibrate_ on real data"
            )


def weightless_blocks(model: nn.Module) -> dict[str, WeightlessBlock]:
    """Every weightless block of `model` by its path, in the order of the modules."""
    return {name: module for name, module in model.named_modules() if isinstance(module, WeightlessBlock)}


def calibrate_(model: nn.Module, *batch: Tensor) -> None:
    """Set the thresholds of every weightless block in `model` with one forward pass over `batch`.

    Blocks are calibrated in the order in which they run: each sees what the calibrated blocks before it produce.

    Raises:
        InputError: NaN activations, with the path of the module that met them.
    """
    names: dict[nn.Module, str] = {block: name for name, block in weightless_blocks(model).items()}

    def calibrate_first(block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(block, WeightlessBlock)
        try:
            block.calibrate_(inputs[0])
        except InputError as error:
            raise InputError(f"{names[block]}: {error}") from None

    hooks = [block.register_forward_pre_hook(calibrate_first) for block in names]
    try:
        with torch.no_grad():
            model(*batch)
    finally:
        for hook in hooks:
            hook.remove()


def _refresh_quantised(block: WeightlessBlock, _: object) -> None:
    block.quantised = bool(block.input_scale > 0)


def _integers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.int64)
