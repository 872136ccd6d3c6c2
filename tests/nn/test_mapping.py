"""Learnable connections, and their end."""

import copy

import pytest
import torch

from kernel_engines import select_engine
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig

ENGINES = ["reference", "scalar", "avx512"]


def block_of(mapping):
    layers = (
        LutLayerConfig(luts=24, mapping=mapping, candidates=5),
        LutLayerConfig(luts=16, inputs=4, mapping=mapping),
    )
    block = WeightlessBlock(8, BlockConfig(lut_layers=layers, groups=2), seed=1)
    x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    block.calibrate_(x)
    return block, x


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mapping", ["candidate", "learnable"])
def test_a_frozen_mapping_is_a_fixed_one(mapping, engine, monkeypatch):
    """Value and gradients are those of a block whose connections were drawn so; scores have none and change nothing."""
    select_engine(engine, monkeypatch)
    block, x = block_of(mapping)
    fixed, _ = block_of("random")
    state = {name: tensor for name, tensor in block.state_dict().items() if "mapping" not in name}
    fixed.load_state_dict(state, strict=False)
    for ours, theirs in zip(block.lut_layers, fixed.lut_layers, strict=True):
        theirs.mapping.fixed = ours.mapping.connections().flatten()
    before = block(x)
    block.freeze_mapping_()
    assert torch.equal(block(x), before)
    for layer in block.lut_layers:
        layer.mapping.scores.data = -layer.mapping.scores
    for each in (block, fixed):
        each(x).square().sum().backward()
    assert torch.equal(block(x), fixed(x))
    named = dict(fixed.named_parameters())
    for name, parameter in block.named_parameters():
        if name.endswith("scores"):
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, named[name].grad)


def test_a_loaded_mapping_is_frozen_again_by_hand():
    block, x = block_of("candidate")
    state = copy.deepcopy(block.state_dict())
    block.freeze_mapping_()
    assert block.state_dict().keys() == state.keys()
    state["lut_layers.0.mapping.scores"].neg_()
    block.load_state_dict(state)
    stale = block(x)
    block.freeze_mapping_()
    assert not torch.equal(block(x), stale)


def test_other_candidates_are_read_after_loading():
    """What the kernels keep of the candidates follows the state dictionary."""
    (first, x), (second, _) = block_of("candidate"), block_of("candidate")
    for layer in first.lut_layers:
        layer.mapping.candidates.copy_(layer.mapping.candidates.flip(0))
    second.load_state_dict(first.state_dict())
    first.load_state_dict(first.state_dict())
    grads = [torch.autograd.grad(block(x).sum(), list(block.parameters())) for block in (first, second)]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert torch.equal(second.lut_layers[0].mapping.by_slot.t(), second.lut_layers[0].mapping.candidates.int())
