"""Data-parallel training: two processes with half of a batch each, as one process with all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import distributed_worker

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch without torch.distributed")


def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    script = [sys.executable, distributed_worker.__file__]
    workers = [
        subprocess.Popen([*script, str(rank), tmp_path / "rendezvous", tmp_path], stderr=subprocess.PIPE, text=True)
        for rank in range(distributed_worker.WORLD)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    torch.set_num_threads(1)
    expected = distributed_worker.gradients(distributed_worker.calibrated(), distributed_worker.batch())
    found, *others = [
        load_file(tmp_path / f"rank{rank}-attempt{attempt}.safetensors") for rank in (0, 1) for attempt in (0, 1)
    ]
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-6 * gradient.norm(), name
        assert all(torch.equal(found[name], other[name]) for other in others), name
