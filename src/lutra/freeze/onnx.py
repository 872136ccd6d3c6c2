"""A converted model as an ONNX file: its frozen blocks in standard operators, the rest as PyTorch exports it."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.freeze.engines import replace_blocks
from lutra.frozen.graph import FrozenModel, Graph, as_weightless
from lutra.runs.files import replacing


class StandardBlock(nn.Module):
    """A frozen block in operators that every exporter knows; equal to the golden model in every value."""

    inverse: Tensor
    thresholds: Tensor
    encoded: Tensor
    bias: Tensor
    multiplier: Tensor
    rounding: Tensor
    step: Tensor

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        block = as_weightless(graph)
        self.inputs, self.outputs = graph.input_width, graph.output_width
        self.scale, self.output_scale = float(np.float32(graph.input_type.scale)), float(graph.output_type.scale)
        self.low, self.high = block.requantise.type.minimum, block.requantise.type.maximum
        self.layers = len(block.lut_layers)
        self.reads = [int(name.removeprefix("bits")) for name in block.summation.inputs]
        self._keep("inverse", np.float32(1) / np.float32(graph.input_type.scale))
        self._keep("thresholds", block.thermometer.thresholds.astype(np.float32))
        for index, layer in enumerate(block.lut_layers, start=1):
            luts, inputs = layer.connections.shape
            self._keep(f"connections{index}", layer.connections)
            self._keep(f"powers{index}", 1 << np.arange(inputs))
            self._keep(f"tables{index}", layer.tables.flatten().astype(np.float32))
            self._keep(f"starts{index}", np.arange(luts) << inputs)
        self._keep("encoded", block.summation.encoded.astype(np.float64))
        self._keep("bias", block.summation.bias.astype(np.float64))
        shift, multiplier = block.requantise.shift, block.requantise.multiplier
        self._keep("multiplier", multiplier.astype(np.float64))
        self._keep("rounding", np.where(shift > 0, 2.0 ** (shift - 1), 0.0))
        self._keep("step", 2.0**-shift)

    def _keep(self, name: str, values: Any) -> None:
        self.register_buffer(name, torch.from_numpy(np.asarray(values)))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D_out), of the type of `x`."""
        rows = x.float().reshape(-1, self.inputs)
        integers = torch.floor(rows * self.inverse + 0.5).clamp(-128, 127)
        bits = [(integers[:, :, None] >= self.thresholds).flatten(1).float()]  # (N, D * T)
        for index in range(1, self.layers + 1):
            read = bits[-1][:, getattr(self, f"connections{index}")].long()  # (N, L, n)
            address = (read * getattr(self, f"powers{index}")).sum(dim=2) + getattr(self, f"starts{index}")
            bits.append(getattr(self, f"tables{index}")[address])
        summed = torch.cat([bits[index] for index in self.reads], dim=1).double() @ self.encoded + self.bias
        y = torch.floor((summed * self.multiplier + self.rounding) * self.step).clamp(self.low, self.high)
        return (y.float() * self.output_scale).to(x.dtype).reshape(*x.shape[:-1], self.outputs)


def export_onnx(model: nn.Module, frozen: FrozenModel, path: Path, *example: Any, **keywords: Any) -> None:
    """Write a model with its frozen blocks in place as an ONNX file; it is called with `example` and `keywords`.

    Raises:
        InputError: onnx or onnxscript is not installed, or PyTorch cannot export the model.
    """
    exported = copy.deepcopy(model).eval()
    replace_blocks(exported, frozen, StandardBlock)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        program = torch.onnx.export(exported, example, kwargs=keywords or None, dynamo=True, verbose=False)
        assert program is not None
        content = program.model_proto.SerializeToString()
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name} is not installed; pip install "lutra[onnx]"') from None
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise InputError(
            f"PyTorch cannot export a {type(model).__name__} ({str(cause).splitlines()[0][:160]})"
        ) from error
    with replacing(path) as temporary:
        temporary.write_bytes(content)
