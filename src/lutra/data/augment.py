"""DeiT's augmentation on batches of tensors: crop, flip, RandAugment, Mixup or CutMix, erasing, smoothed labels.

Images are float (B, 3, side, side) with values in [0, 255]; every draw comes from the generator that is given.
RandAugment (Cubuk et al. 2019) is in timm's form `rand-mM-mstdS-inc1`: increasing severity, each operation applied with
probability 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from lutra.recipes.vision import AugmentConfig

FILL = 128.0
"""Of what comes into the image from outside, when it is moved."""
LARGEST_MAGNITUDE = 10.0
OPERATION_PROBABILITY = 0.5
CROP_AREA, CROP_RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
ERASED_AREA, ERASED_RATIO = (0.02, 1 / 3), (0.3, 1 / 0.3)


def augment(
    pixels: Tensor, labels: Tensor, classes: int, side: int, config: AugmentConfig, generator: Generator
) -> tuple[Tensor, Tensor]:
    """A batch for training: images (B, 3, side, side) in [0, 255] and probabilities of the classes (B, classes).

    `pixels` are uint8 (B, 3, height, width), `labels` (B,) int64.
    """
    x = _crop(pixels.float(), side, config, generator)
    if config.flip:
        flipped = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    for _ in range(config.randaugment):
        x = _random_operation(x, config, generator)
    if config.erasing:
        x = _erase(x, config.erasing, generator)
    on, off = 1 - config.smoothing + config.smoothing / classes, config.smoothing / classes
    targets = torch.full((len(labels), classes), off).scatter_(1, labels[:, None], on)
    return _mix(x, targets, config, generator)


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _crop(x: Tensor, side: int, config: AugmentConfig, generator: Generator) -> Tensor:
    count = len(x)
    if config.crop == "padded":
        shifts = torch.randint(-config.crop_padding, config.crop_padding + 1, (2, count), generator=generator)
        matrices = _matrices(count)
        matrices[:, :, 2] = (shifts * 2.0 / x.shape[-1]).t()
        return _resample(x, matrices, side, 0.0)
    if config.crop == "resized":
        area = _uniform(count, *CROP_AREA, generator)
        ratio = torch.exp(_uniform(count, math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1]), generator))
        width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
        centre = 2 * torch.rand(2, count, generator=generator) - 1
        matrices = _matrices(count)
        matrices[:, 0, 0], matrices[:, 1, 1] = width, height
        matrices[:, 0, 2], matrices[:, 1, 2] = centre[0] * (1 - width), centre[1] * (1 - height)
        return _resample(x, matrices, side, None)
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)


def _matrices(count: int) -> Tensor:
    """Affine matrices that leave images as they are, (count, 2, 3)."""
    return torch.eye(2, 3).repeat(count, 1, 1)


def _resample(x: Tensor, matrices: Tensor, side: int, fill: float | None) -> Tensor:
    """Images through affine matrices from places in the result to places in `x`; `fill` comes from outside."""
    grid = F.affine_grid(matrices, [len(x), x.shape[1], side, side], align_corners=False)
    mode, offset = ("border", 0.0) if fill is None else ("zeros", fill)
    return F.grid_sample(x - offset, grid, mode="bilinear", padding_mode=mode, align_corners=False) + offset


def _grey(x: Tensor) -> Tensor:
    return (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (other + (x - other) * factor[:, None, None, None]).clamp(0, 255)


def _auto_contrast(x: Tensor, _: Tensor) -> Tensor:
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (x - low) * 255 / (high - low).clamp_min(1e-6), x)


def _equalise(x: Tensor, _: Tensor) -> Tensor:
    """Histogram equalisation of every channel of every image."""
    levels = x.round().clamp(0, 255).long().flatten(2)  # (B, 3, pixels)
    histogram = torch.zeros(*levels.shape[:2], 256).scatter_add_(2, levels, torch.ones(levels.shape))
    below = histogram.cumsum(dim=2)
    highest = 255 - (histogram.flip(2) > 0).byte().argmax(dim=2, keepdim=True)
    total = levels.shape[2] - histogram.gather(2, highest)
    step = torch.floor(total / 255)
    table = torch.floor((below - histogram + torch.floor(step / 2)) / step.clamp_min(1)).clamp(0, 255)
    return torch.where(step > 0, table.gather(2, levels), x.flatten(2)).view_as(x)


def _posterise(x: Tensor, strength: Tensor) -> Tensor:
    step = 2.0 ** torch.floor(strength * 4)[:, None, None, None]
    return torch.floor(x / step) * step


def _solarise(x: Tensor, strength: Tensor) -> Tensor:
    return torch.where(x >= (256 * (1 - strength))[:, None, None, None], 255 - x, x)


def _solarise_add(x: Tensor, strength: Tensor) -> Tensor:
    brighter = (x + (110 * strength)[:, None, None, None]).clamp(0, 255)
    return torch.where(x < 128, brighter, x)


def _sharpen(x: Tensor, factor: Tensor) -> Tensor:
    kernel = (torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13).repeat(x.shape[1], 1, 1, 1)
    smooth = F.pad(F.conv2d(x, kernel, groups=x.shape[1]), (1, 1, 1, 1))
    inside = F.pad(torch.ones_like(x[:, :, 1:-1, 1:-1]), (1, 1, 1, 1))
    return _blend(x, torch.where(inside > 0, smooth, x), factor)


def _moved(place: tuple[int, int], scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Shear or shift: `scale` times the signed strength at one place of the matrix."""

    def move(x: Tensor, strength: Tensor) -> Tensor:
        matrices = _matrices(len(x))
        matrices[:, place[0], place[1]] += scale * strength
        return _resample(x, matrices, x.shape[-1], FILL)

    return move


def _rotate(x: Tensor, strength: Tensor) -> Tensor:
    angle = strength * math.radians(30)
    matrices = _matrices(len(x))
    matrices[:, 0, 0] = matrices[:, 1, 1] = angle.cos()
    matrices[:, 0, 1], matrices[:, 1, 0] = angle.sin(), -angle.sin()
    return _resample(x, matrices, x.shape[-1], FILL)


def _unsigned(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, strength: operation(x, strength.abs())


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "auto_contrast": _auto_contrast,
    "equalise": _equalise,
    "invert": lambda x, _: 255 - x,
    "rotate": _rotate,
    "posterise": _unsigned(_posterise),
    "solarise": _unsigned(_solarise),
    "solarise_add": _unsigned(_solarise_add),
    "colour": lambda x, strength: _blend(x, _grey(x).expand_as(x), 1 + 0.9 * strength),
    "contrast": lambda x, strength: _blend(x, _grey(x).mean(dim=(2, 3), keepdim=True).expand_as(x), 1 + 0.9 * strength),
    "brightness": lambda x, strength: _blend(x, torch.zeros_like(x), 1 + 0.9 * strength),
    "sharpness": lambda x, strength: _sharpen(x, 1 + 0.9 * strength),
    "shear_x": _moved((0, 1), 0.3),
    "shear_y": _moved((1, 0), 0.3),
    "translate_x": _moved((0, 2), 0.9),
    "translate_y": _moved((1, 2), 0.9),
}
"""Operations of RandAugment: images in [0, 255] and a strength in [-1, 1] for each."""


def _random_operation(x: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """One operation for each image, or none with probability 1/2."""
    count = len(x)
    chosen = torch.randint(len(OPERATIONS), (count,), generator=generator)
    skipped = torch.rand(count, generator=generator) >= OPERATION_PROBABILITY
    noise = torch.randn(count, generator=generator) * config.randaugment_std
    sign = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    magnitude = (config.randaugment_magnitude + noise).clamp(0, LARGEST_MAGNITUDE)
    strength = sign * magnitude / LARGEST_MAGNITUDE
    result = x.clone()
    for index, operation in enumerate(OPERATIONS.values()):
        some = ((chosen == index) & ~skipped).nonzero()[:, 0]
        if len(some):
            result[some] = operation(x[some], strength[some])
    return result


def _erase(x: Tensor, probability: float, generator: Generator) -> Tensor:
    """A random rectangle of some images becomes noise."""
    count, side = len(x), x.shape[-1]
    erased = torch.rand(count, generator=generator) < probability
    area = _uniform(count, *ERASED_AREA, generator)
    ratio = torch.exp(_uniform(count, math.log(ERASED_RATIO[0]), math.log(ERASED_RATIO[1]), generator))
    sizes = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()]).clamp_max(1)  # (2, B) of the side
    inside = _rectangles(sizes, side, generator) & erased[:, None, None]
    noise = (torch.randn(x.shape, generator=generator) * 64 + 128).clamp(0, 255)
    return torch.where(inside[:, None], noise, x)


def _rectangles(sizes: Tensor, side: int, generator: Generator) -> Tensor:
    """Which pixels lie in a rectangle of height and width `sizes` (2, B), somewhere in the image: (B, side, side)."""
    lengths = (sizes * side).round()  # (2, B)
    first = torch.floor(torch.rand(sizes.shape, generator=generator) * (side - lengths + 1))
    places = torch.arange(side)
    rows, columns = ((places >= a[:, None]) & (places < (a + n)[:, None]) for a, n in zip(first, lengths, strict=True))
    inside: Tensor = rows[:, :, None] & columns[:, None, :]
    return inside


def _mix(x: Tensor, targets: Tensor, config: AugmentConfig, generator: Generator) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix of the batch with itself in reverse order."""
    if not config.mixup and not config.cutmix:
        return x, targets
    cut = config.cutmix > 0 and (not config.mixup or float(torch.rand(1, generator=generator)) < 0.5)
    share = _beta(config.cutmix if cut else config.mixup, generator)
    if cut:
        size = torch.full((2, 1), math.sqrt(1 - share))
        inside = _rectangles(size, x.shape[-1], generator)[0]
        x = torch.where(inside, x.flip(0), x)
        share = 1 - float(inside.double().mean())
    else:
        x = share * x + (1 - share) * x.flip(0)
    return x, share * targets + (1 - share) * targets.flip(0)


def _beta(alpha: float, generator: Generator) -> float:
    """A draw of the symmetric beta distribution."""
    a, b = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator=generator).tolist()
    return float(a / (a + b)) if a + b > 0 else 0.5
