"""Learnable connections, and their end."""

import copy

import pytest
import torch

from kernel_engines import select_engine
from lutra.errors import InputError
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


def from_a_state_dictionary(block, state):
    block.load_state_dict(state)


def assigned(block, state):
    block.load_state_dict(state, assign=True)


def in_place(block, state):
    for name, tensor in block.state_dict().items():
        tensor.copy_(state[name])


def after_no_values(block, state):
    """As Hugging Face's from_pretrained does: whatever memory holds, until what is in the file is filled in."""
    block.to_empty(device="cpu")
    for buffers in (module._buffers for module in block.modules()):
        for name, tensor in buffers.items():
            buffers[name] = None if tensor is None else torch.full_like(tensor, 99)
    with torch.no_grad():
        for name, tensor in state.items():
            module, _, leaf = name.rpartition(".")
            getattr(block.get_submodule(module), leaf).copy_(tensor)
    block.refresh_()


def in_a_copy_of_the_module(block, state):
    from_a_state_dictionary(copy.deepcopy(block), state)
    block.__dict__ = copy.deepcopy(block).__dict__
    in_place(block, state)


FILLED = [from_a_state_dictionary, assigned, in_place, after_no_values, in_a_copy_of_the_module]


@pytest.mark.parametrize("fill", FILLED, ids=lambda fill: fill.__name__)
@pytest.mark.parametrize("engine", ENGINES[1:])
def test_kernels_read_the_candidates_that_a_block_was_filled_with(engine, fill, monkeypatch):
    select_engine(engine, monkeypatch)
    (wanted, x), (block, _) = block_of("candidate"), block_of("candidate")
    for layer in wanted.lut_layers:
        layer.mapping.candidates.copy_(layer.mapping.candidates.flip(0))
        layer.mapping.candidates[0, 0] = 1
    block(x).sum().backward()  # now the kernels' form of the candidates is there
    block.zero_grad()
    fill(block, copy.deepcopy(wanted.state_dict()))
    grads = [torch.autograd.grad(each(x).sum(), list(each.parameters())) for each in (wanted, block)]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("wrong", [-1, 1 << 30, "below"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "operator"])
@pytest.mark.parametrize("mapping", ["candidate", "random"])
def test_bits_that_are_not_there_are_not_read(mapping, compiled, wrong, monkeypatch):
    """Damaged candidates or connections are an error, not whatever lies in memory behind the bits."""
    select_engine("scalar", monkeypatch)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiled)
    block, x = block_of(mapping)
    part = block.lut_layers[1].mapping
    tensor = part.candidates if mapping == "candidate" else part.fixed
    tensor[..., 3] = 24 if wrong == "below" else wrong
    with pytest.raises(InputError, match="LUT layer 1 reads a bit that is not among the 24 below it"):
        block(x)
    if mapping == "candidate":  # one that is never chosen
        tensor[..., 3] = 0
        tensor[4, 3] = 24 if wrong == "below" else wrong
        part.scores.data[4, 3] = -1
        y = block(x)
        with pytest.raises(InputError, match="LUT layer 1 reads"):
            y.sum().backward()
