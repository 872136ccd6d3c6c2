"""Augmentation: the same for the same generator, within [0, 255], and each operation does what its name says."""

from __future__ import annotations

import pytest
import torch
from PIL import Image, ImageOps

from lutra.data import augment as augmentation
from lutra.data.augment import OPERATIONS, augment
from lutra.recipes.vision import AugmentConfig

NOTHING = AugmentConfig(crop="none", flip=False, randaugment=0, erasing=0, mixup=0, cutmix=0, smoothing=0)


def photos(count=6, side=32):
    """Smooth uint8 images with colours and edges."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return (smooth + 10 * torch.rand(smooth.shape, generator=generator)).clamp(0, 255).byte()


def run(config, seed=0, side=32, count=6):
    generator = torch.Generator().manual_seed(seed)
    return augment(photos(count), torch.arange(count) % 4, 4, side, config, generator)


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("crop", ["resized", "padded", "none"])
def test_everything_on_is_repeatable_and_within_bounds(crop, side):
    if crop == "padded" and side == 48:
        side = 32
    config = AugmentConfig(crop=crop)
    x, targets = run(config, 1, side)
    again, _ = run(config, 1, side)
    other, _ = run(config, 2, side)
    assert x.shape == (6, 3, side, side) and torch.equal(x, again) and not torch.equal(x, other)
    assert x.isfinite().all() and x.min() >= -1e-3 and x.max() <= 255 + 1e-3
    assert torch.allclose(targets.sum(dim=1), torch.ones(6)) and targets.min() > 0


def test_nothing_on_changes_nothing():
    x, targets = run(NOTHING)
    assert torch.equal(x, photos().float())
    assert torch.equal(targets, torch.nn.functional.one_hot(torch.arange(6) % 4, 4).float())


def test_smoothing_flip_and_shifts():
    _, targets = run(NOTHING.model_copy(update={"smoothing": 0.2}))
    assert torch.allclose(targets[0], torch.tensor([0.85, 0.05, 0.05, 0.05]))
    x, _ = run(NOTHING.model_copy(update={"flip": True}), count=60)
    original = photos(60).float()
    flipped = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(x, original, strict=True)])
    same = torch.tensor([torch.equal(a, b) for a, b in zip(x, original, strict=True)])
    assert (flipped | same).all() and 15 < flipped.sum() < 45
    x, _ = run(NOTHING.model_copy(update={"crop": "padded"}), count=20)
    for image, source in zip(x, photos(20).float(), strict=True):
        padded = torch.nn.functional.pad(source, (4,) * 4)
        shifts = [(padded[:, i : i + 32, j : j + 32] - image).abs().max() for i in range(9) for j in range(9)]
        assert min(shifts) < 0.01, "a shift by whole pixels"


@pytest.mark.parametrize("cut", [False, True])
def test_mixing_two_images_mixes_their_labels_in_the_same_share(cut):
    changes = {"cutmix": 1.0} if cut else {"mixup": 0.8}
    for seed in range(5):
        x, targets = run(NOTHING.model_copy(update=changes), seed, count=4)
        source = photos(4).float()
        share = targets[0, 0]
        if cut:
            own = (x == source).all(dim=1).float().mean(dim=(1, 2))
            assert torch.allclose(own[:1], share, atol=0.02)
        else:
            assert torch.allclose(x, share * source + (1 - share) * source.flip(0), atol=1e-3)


def test_erasing_leaves_the_rest():
    x, _ = run(NOTHING.model_copy(update={"erasing": 1.0}), count=40)
    changed = (x != photos(40).float()).any(dim=1).float().mean(dim=(1, 2))
    assert (changed > 0.01).all() and (changed < 0.4).all()


def strengths(value):
    return torch.full((6,), value)


def test_every_operation_keeps_shape_and_range():
    x = photos().float()
    for name, operation in OPERATIONS.items():
        for value in (-1.0, -0.3, 0.0, 0.9, 1.0):
            y = operation(x, strengths(value))
            assert y.shape == x.shape and y.isfinite().all(), name
            assert y.min() >= -1e-3 and y.max() <= 255 + 1e-3, name


def test_strength_0_leaves_an_image_as_it_is():
    x = photos().float()
    for name in set(OPERATIONS) - {"auto_contrast", "equalise", "invert"}:
        assert torch.allclose(OPERATIONS[name](x, strengths(0.0)), x, atol=1e-2), name


@pytest.mark.parametrize(
    ("name", "theirs"), [("equalise", ImageOps.equalize), ("auto_contrast", ImageOps.autocontrast)]
)
def test_histograms_are_changed_as_by_pillow(name, theirs):
    pixels = photos()
    ours = OPERATIONS[name](pixels.float(), strengths(1.0))
    for image, found in zip(pixels, ours, strict=True):
        expected = torch.tensor(list(theirs(Image.fromarray(image.permute(1, 2, 0).numpy())).tobytes()))
        expected = expected.view(32, 32, 3).permute(2, 0, 1)
        assert (found - expected).abs().max() <= 1.01


def test_colour_and_place():
    x = photos().float()
    grey = OPERATIONS["colour"](x, strengths(-1.0))
    assert (grey.amax(dim=1) - grey.amin(dim=1)).mean() < 0.2 * (x.amax(dim=1) - x.amin(dim=1)).mean()
    assert torch.allclose(OPERATIONS["invert"](x, strengths(0.5)), 255 - x)
    assert (
        OPERATIONS["brightness"](x, strengths(0.9)).mean()
        > x.mean()
        > OPERATIONS["brightness"](x, strengths(-0.9)).mean()
    )
    shift = 2 * 4 / 32 / 0.9  # four pixels, of an image two wide
    moved = OPERATIONS["translate_x"](x, strengths(shift))
    assert torch.allclose(moved[:, :, :, :28], x[:, :, :, 4:], atol=0.05)
    assert (moved[:, :, :, 29:] == augmentation.FILL).all()
    posterised = OPERATIONS["posterise"](x, strengths(1.0))
    assert (posterised % 16 == 0).all()
