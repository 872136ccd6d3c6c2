"""torch.compile with its default backend, which generates C++: the operator stays one call inside what it fuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lutra.native import library as native
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig

CONFIG = BlockConfig(lut_layers=(LutLayerConfig(luts="2D", mapping="learnable"), LutLayerConfig(luts="D")))

pytestmark = pytest.mark.skipif(not native.compiler_available(), reason="no C++ compiler here")


class Residual(nn.Module):
    """The block as a transformer uses it, checkpointed; before it only exact arithmetic: no bit may change."""

    def __init__(self) -> None:
        super().__init__()
        self.block = WeightlessBlock(16, CONFIG, seed=0)

    def forward(self, x: Tensor) -> Tensor:
        return x + checkpoint(self.block, 2 * x, use_reentrant=False)


@pytest.mark.parametrize("autocast", [pytest.param(False, marks=pytest.mark.slow), True])
def test_compiled_training_step_equals_eager(autocast: bool) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, x = Residual(), torch.randn(3, 50, 16, requires_grad=True)
    model.block.calibrate_(2 * x)
    results = []
    for forward in (model, torch.compile(model, fullgraph=True)):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = forward(x)
        grads = torch.autograd.grad(y.float().square().sum(), [x, *model.parameters()])
        results.append([y, *grads])
    for eager, compiled in zip(*results, strict=True):
        assert compiled.dtype == eager.dtype
        # Generated code does not round to bfloat16 between the operations that it fuses.
        assert (compiled - eager).norm() <= (2**-8 if autocast else 1e-6) * eager.norm()
