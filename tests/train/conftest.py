import pytest
import torch

from tiny_training import short_text

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def train_on_short_text(monkeypatch):
    monkeypatch.setattr("lutra.train.loop.load_dataset", short_text)
