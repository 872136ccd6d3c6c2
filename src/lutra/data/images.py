"""CIFAR-10 and CIFAR-100 from their official files in binary form (https://www.cs.toronto.edu/~kriz/cifar.html).

A folder holds either the archive as it is downloaded (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz) or the files in
it, there or in the folder that the archive unpacks to. The Python versions are pickles, which are not read.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lutra import settings
from lutra.errors import InputError
from lutra.escape import brief
from lutra.limits import ELEMENTS
from lutra.reading import read_bytes

FOLDER_VARIABLE = settings.IMAGES.name
SIDE, CHANNELS = 32, 3
_BATCH_STREAM = 3
"""Keeps the draws of batches apart from other draws of the same seed."""


@dataclass(frozen=True)
class _Source:
    """Where a data set lies, and how its records look."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int  # the last one is the class
    train_images: int
    test_images: int
    classes: int


SOURCES = {
    "cifar10": _Source(
        "cifar-10-binary.tar.gz",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{index}.bin" for index in range(1, 6)),
        ("test_batch.bin",),
        1,
        50_000,
        10_000,
        10,
    ),
    "cifar100": _Source(
        "cifar-100-binary.tar.gz", "cifar-100-binary", ("train.bin",), ("test.bin",), 2, 50_000, 10_000, 100
    ),
}


@dataclass(frozen=True)
class Images:
    """Pixels (N, 3, side, side) uint8 and the class of every image (N,) int64."""

    pixels: Tensor
    labels: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Images:
        """The first `count` images; all of them where it is 0."""
        return self if count == 0 else Images(self.pixels[:count], self.labels[:count], self.classes)


@dataclass(frozen=True)
class ImageData:
    """Training and test images of one data set."""

    train: Images
    test: Images


def load_images(dataset: str, folder: str = "") -> ImageData:
    """The official split of "cifar10" or "cifar100", from `folder` or from the one that LUTRA_IMAGES names.

    Raises:
        InputError: no folder, no files in it, or files that are not CIFAR's.
    """
    root = Path(folder) if folder else settings.IMAGES.path
    source = SOURCES[dataset]
    if root is None or not root.is_dir():
        named = f"{root}: no such folder" if root and str(root) != "." else "no folder of images is named"
        raise InputError(f"{named}; set {FOLDER_VARIABLE} or data.folder to where {source.archive} lies")
    parts = [
        _images(dataset, names, count, _contents(root, source, names))
        for names, count in ((source.train, source.train_images), (source.test, source.test_images))
    ]
    return ImageData(*parts)


def _contents(root: Path, source: _Source, names: tuple[str, ...]) -> bytes:
    """The bytes of some files, one after the other."""
    for folder in (root, root / source.folder):
        if all((folder / name).is_file() for name in names):
            try:
                return b"".join(read_bytes(folder / name, ELEMENTS) for name in names)
            except OSError as error:
                raise InputError(f"{folder}: cannot read its files ({error.strerror})") from None
    archive = root / source.archive
    if not archive.is_file():
        raise InputError(
            f"{root}: neither {source.archive} nor {names[0]}; download the binary version of the data set"
        )
    try:
        with tarfile.open(archive) as tar:
            members = [tar.extractfile(f"{source.folder}/{name}") for name in names]
            return b"".join(member.read(ELEMENTS) for member in members if member is not None)
    except (tarfile.TarError, KeyError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        reason = brief(str(error))
        raise InputError(f"{archive}: not the official archive ({reason}); download it again") from None


def _images(dataset: str, names: tuple[str, ...], count: int, content: bytes) -> Images:
    source = SOURCES[dataset]
    record = source.label_bytes + CHANNELS * SIDE * SIDE
    if len(content) != count * record:
        raise InputError(f"{names[0]}: {len(content)} bytes are not {count} images of {dataset}; download it again")
    records = np.frombuffer(content, np.uint8).reshape(count, record)
    labels = torch.from_numpy(records[:, source.label_bytes - 1].astype(np.int64))
    if int(labels.max()) >= source.classes:
        raise InputError(f"{names[0]}: class {int(labels.max())} of {source.classes}; not a file of {dataset}")
    pixels = torch.from_numpy(records[:, source.label_bytes :].reshape(count, CHANNELS, SIDE, SIDE).copy())
    return Images(pixels, labels, source.classes)


def training_images(images: Images, seed: int, iteration: int, batch: int) -> tuple[Tensor, Tensor]:
    """Pixels and labels of one batch: every epoch is another order of all images, the same for the same arguments.

    An epoch's last images that do not fill a batch are left out.

    Raises:
        InputError: fewer images than a batch has.
    """
    batches = len(images) // batch
    if batches == 0:
        raise InputError(f"train.batch: {len(images)} training images do not fill a batch of {batch}")
    epoch, place = divmod(iteration, batches)
    order = np.random.default_rng((seed, _BATCH_STREAM, epoch)).permutation(len(images))
    chosen = torch.from_numpy(order[place * batch : (place + 1) * batch])
    return images.pixels[chosen], images.labels[chosen]


def evaluation_batches(images: Images, batch: int, side: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in their order, resized to `side`: pixels uint8 (up to batch, 3, side, side) and labels."""
    for start in range(0, len(images), batch):
        yield resized(images.pixels[start : start + batch], side), images.labels[start : start + batch]


def resized(pixels: Tensor, side: int) -> Tensor:
    """Square images of another side, bicubic, as whole pixels: uint8 (B, 3, ., .) -> uint8 (B, 3, side, side)."""
    if pixels.shape[-1] == side == pixels.shape[-2]:
        return pixels
    real = F.interpolate(pixels.float(), (side, side), mode="bicubic", antialias=True, align_corners=False)
    return real.round().clamp(0, 255).byte()
