"""CIFAR's official files: what is read, in which order it comes, and what is refused."""

from __future__ import annotations

import tarfile

import pytest
import torch

from lutra.data.images import SOURCES, evaluation_batches, load_images, resized, training_images
from lutra.errors import InputError
from tiny_images import TEST_IMAGES, TRAIN_IMAGES, write_images


@pytest.mark.parametrize(("dataset", "files"), [("cifar10", 5), ("cifar100", 1)])
def test_pixels_and_labels_are_read_in_order(monkeypatch, tmp_path, dataset, files):
    folder = write_images(monkeypatch, tmp_path / SOURCES[dataset].folder, dataset)
    data = load_images(dataset, str(tmp_path))
    assert (len(data.train), len(data.test)) == (files * TRAIN_IMAGES, TEST_IMAGES)
    first = (folder / SOURCES[dataset].train[0]).read_bytes()
    start = SOURCES[dataset].label_bytes
    assert data.train.labels[0] == first[start - 1]
    assert data.train.pixels[0].flatten().tolist() == list(first[start : start + 3072])
    assert data.train.pixels[0, 1, 0, 1] == first[start + 1024 + 1], "channel by channel, line by line"
    assert data.train.classes == int(dataset.removeprefix("cifar"))
    assert len(data.train.first(7)) == 7 and data.train.first(0) is data.train


def test_the_archive_and_the_variable_are_found(monkeypatch, tmp_path):
    folder = write_images(monkeypatch, tmp_path / "unpacked" / "cifar-10-batches-bin")
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
    monkeypatch.setenv("LUTRA_IMAGES", str(tmp_path))
    packed, plain = load_images("cifar10"), load_images("cifar10", str(folder))
    assert torch.equal(packed.train.pixels, plain.train.pixels) and torch.equal(packed.test.labels, plain.test.labels)


def test_what_is_not_cifar_is_one_line(monkeypatch, tmp_path):
    monkeypatch.delenv("LUTRA_IMAGES", raising=False)
    with pytest.raises(InputError, match=r"no folder of images is named; set LUTRA_IMAGES or data.folder to where"):
        load_images("cifar10")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        load_images("cifar10", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"neither cifar-10-binary\.tar\.gz nor data_batch_1\.bin"):
        load_images("cifar10", str(tmp_path))
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="not the official archive"):
        load_images("cifar10", str(tmp_path))
    folder = write_images(monkeypatch, tmp_path / "data")
    path = folder / "test_batch.bin"
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"test_batch\.bin: \d+ bytes are not 50 images of cifar10"):
        load_images("cifar10", str(folder))
    content[0] = 10
    path.write_bytes(content)
    with pytest.raises(InputError, match="class 10 of 10"):
        load_images("cifar10", str(folder))


def test_batches_are_a_function_of_seed_and_iteration_and_cover_an_epoch(monkeypatch, tmp_path):
    train = load_images("cifar10", str(write_images(monkeypatch, tmp_path))).train
    numbered = type(train)(train.pixels, torch.arange(len(train)), 10)
    epoch = [training_images(numbered, 1, iteration, 40)[1] for iteration in range(5)]
    assert sorted(torch.cat(epoch).tolist()) == list(range(200))
    assert torch.equal(epoch[2], training_images(numbered, 1, 2, 40)[1])
    assert not torch.equal(epoch[0], training_images(numbered, 1, 5, 40)[1]), "the next epoch has another order"
    assert not torch.equal(epoch[0], training_images(numbered, 2, 0, 40)[1])
    with pytest.raises(InputError, match="200 training images do not fill a batch of 201"):
        training_images(train, 1, 0, 201)


def test_evaluation_sees_every_image_once(monkeypatch, tmp_path):
    test = load_images("cifar10", str(write_images(monkeypatch, tmp_path))).test
    batches = list(evaluation_batches(test, 8, 32))
    assert torch.equal(torch.cat([pixels for pixels, _ in batches]), test.pixels)
    assert torch.equal(torch.cat([labels for _, labels in batches]), test.labels)
    larger = resized(test.pixels, 64)
    assert larger.shape == (50, 3, 64, 64) and larger.dtype == torch.uint8
    assert (larger.float().mean() - test.pixels.float().mean()).abs() < 1
