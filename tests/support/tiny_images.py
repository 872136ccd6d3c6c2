"""CIFAR-shaped files of a few hundred images whose class can be seen, and recipes for them; shared by several tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutra.data import images
from lutra.recipes.language import BlockConfig, Feedforward, LutLayerConfig
from lutra.recipes.vision import AugmentConfig, VisionDataConfig, VisionModelConfig, VisionRecipe, VisionTrainConfig

TRAIN_IMAGES, TEST_IMAGES = 40, 50


def records(rng: np.random.Generator, count: int, label_bytes: int, classes: int) -> np.ndarray:
    """Records of a binary file: images of noise, brighter in the rows that belong to their class."""
    labels = np.arange(count) % classes
    pixels = rng.integers(0, 120, (count, 3, 32, 32))
    for image, label in zip(pixels, labels, strict=True):
        image[:, 3 * (label % 10) : 3 * (label % 10) + 3] += 120
    heads = np.stack([labels // 5] * (label_bytes - 1) + [labels], axis=1)
    return np.concatenate([heads, pixels.reshape(count, -1)], axis=1).astype(np.uint8)


def fewer_images(dataset: str) -> images._Source:
    """A data set with as few images as are written here."""
    source = images.SOURCES[dataset]
    return replace(source, train_images=TRAIN_IMAGES * len(source.train), test_images=TEST_IMAGES)


def write_images(monkeypatch: pytest.MonkeyPatch, folder: Path, dataset: str = "cifar10") -> Path:
    """Write small official-looking files into `folder`, and make lutra.data.images expect as many."""
    monkeypatch.setitem(images.SOURCES, dataset, fewer_images(dataset))
    return write_image_files(folder, dataset)


def write_image_files(folder: Path, dataset: str = "cifar10") -> Path:
    """Write small official-looking files into `folder`, for `fewer_images`."""
    few = fewer_images(dataset)
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for names, count in ((few.train, TRAIN_IMAGES), (few.test, TEST_IMAGES)):
        for name in names:
            (folder / name).write_bytes(records(rng, count, few.label_bytes, few.classes).tobytes())
    return folder


def tiny_vision_recipe(folder: Path, ffn: Feedforward = "mlp", **train: Any) -> VisionRecipe:
    layers = (LutLayerConfig(luts=24, mapping="learnable", table_init="smooth"),)
    defaults = {"iterations": 8, "batch": 20, "warmup_iterations": 2, "evaluate_every": 4, "quantise_fraction": 0.5}
    return VisionRecipe(
        name="tiny-vision",
        model=VisionModelConfig(layers=2, heads=2, width=12, image=32, patch=8, drop_path=0.1, ffn=ffn),
        block=BlockConfig(thermometer_bits=3, lut_layers=layers, groups=2),
        data=VisionDataConfig(folder=str(folder)),
        augment=AugmentConfig(crop="padded", randaugment=1, mixup=0.0, cutmix=0.0, erasing=0.1),
        train=VisionTrainConfig(**{**defaults, **train}),
    )
