"""Surgery on module trees that are not ours."""

import pytest
import torch
from torch import nn

from lutra.convert import replace_mlp
from lutra.errors import ConversionError
from lutra.nn.weightless import WeightlessBlock, calibrate_
from lutra.recipes.language import BlockConfig


class Mlp(nn.Module):
    def __init__(self, width, output=None):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, output or width)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class GatedMLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, 3 * width), nn.Linear(width, 3 * width)
        self.down_proj = nn.Linear(3 * width, width)


class EmptyMLP(nn.Module):
    pass


def model():
    return nn.Sequential(
        nn.Linear(8, 8),
        nn.ModuleDict({"mlp": Mlp(8), "gated": GatedMLP(8), "empty": EmptyMLP()}),
        nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 8)),
        nn.TransformerEncoderLayer(8, 2, 16),
        Mlp(8, output=5),
    )


def test_every_mlp_is_replaced_or_skipped_with_a_reason():
    net = model()
    report = {entry.name: entry for entry in replace_mlp(net, filter=lambda name, _: name != "4")}
    assert set(report) == {"1.mlp", "1.gated", "1.empty", "2", "3", "4"}
    assert {name for name, entry in report.items() if entry.replaced} == {"1.mlp", "1.gated", "2"}
    assert isinstance(net[1]["mlp"], WeightlessBlock) and isinstance(net[2], WeightlessBlock)
    assert "no pair of linear layers" in report["1.empty"].reason
    assert "larger module" in report["3"].reason
    assert report["4"].reason == "refused by the filter"
    assert isinstance(net[4], Mlp)


def test_a_second_pass_changes_nothing():
    net = model()
    replace_mlp(net)
    before = dict(net.named_modules())
    assert not any(entry.replaced for entry in replace_mlp(net))
    assert dict(net.named_modules()) == before


def test_widths_are_taken_from_the_mlp_and_the_model_runs_and_trains():
    net = nn.Sequential(nn.Linear(6, 8), Mlp(8, output=5))
    replace_mlp(net, BlockConfig(), seed=3)
    calibrate_(net, torch.randn(32, 6))
    y = net(torch.randn(4, 7, 6))
    assert y.shape == (4, 7, 5)
    y.sum().backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_the_root_cannot_be_replaced():
    with pytest.raises(ConversionError, match="wrap it"):
        replace_mlp(Mlp(8))
