"""Calibration formulas against NumPy."""

import numpy as np
import pytest
import torch

from lutra.nn.thermometer import Thermometer
from lutra.recipes.language import BlockConfig


@pytest.fixture
def x():
    return torch.randn(501, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.1]) + 2


def thresholds(x, source, bits=8, per_feature=True):
    encoder = Thermometer(3, BlockConfig(thresholds=source, thermometer_bits=bits, per_feature=per_feature))
    encoder.calibrate_(x)
    return encoder.thresholds.detach().numpy()


def test_gaussian_thresholds_are_the_normal_quantiles(x):
    normalised = (thresholds(x, "gaussian") - x.mean(0).numpy()[:, None]) / x.std(0).numpy()[:, None]
    expected = [-1.2206, -0.7647, -0.4307, -0.1397, 0.1397, 0.4307, 0.7647, 1.2206]
    assert np.allclose(normalised, expected, atol=1e-4)


def test_uniform_thresholds_divide_the_range(x):
    low, high = x.amin(0).numpy()[:, None], x.amax(0).numpy()[:, None]
    expected = low + np.arange(1, 4) / 4 * (high - low)
    assert np.allclose(thresholds(x, "uniform", bits=3), expected, atol=1e-5)


def test_distributive_thresholds_are_order_statistics(x):
    expected = np.sort(x.numpy(), axis=0)[[int(501 * t / 6) for t in range(1, 6)]].T
    assert np.array_equal(thresholds(x, "distributive", bits=5), expected)


def test_whole_tensor_thresholds(x):
    assert thresholds(x, "gaussian", per_feature=False).shape == (1, 8)


@pytest.mark.parametrize(("gradient", "expected"), [("identity", 4.0), ("mean", 1.0), ("window", 1.0)])
def test_input_gradients(gradient, expected):
    encoder = Thermometer(3, BlockConfig(thermometer_bits=4, input_gradient=gradient, window=0.5))
    encoder.thresholds.copy_(torch.tensor([-3.0, 0.0, 3.0, 6.0]).expand(3, 4))
    encoder.window.fill_(0.5)
    x = torch.full((2, 3), 0.1, requires_grad=True)
    encoder(x).sum().backward()
    assert torch.equal(x.grad, torch.full((2, 3), expected))


def test_integer_thresholds_agree_with_real_ones_on_the_grid(x):
    encoder = Thermometer(3, BlockConfig())
    encoder.calibrate_(x)
    scale = encoder.input_scale()
    grid = torch.arange(-128, 128)[:, None].expand(-1, 3) * scale
    integer = torch.arange(-128, 128)[:, None, None] >= encoder.integer_thresholds(scale)
    real = grid[:, :, None] >= encoder.thresholds
    assert (integer != real).float().mean() < 1e-3  # only where threshold / scale is within rounding of an integer
