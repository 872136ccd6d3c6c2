"""The work on which `peers.py` compares systems: is a handwritten digit odd? 64 features of 0 to 16, two classes.

A linear model tells the ten digits apart nearly as well as anything else, but not the odd ones from the even ones.

All systems train on the same rows for the same number of steps and are tested on the same 500 rows that were held out.
LUTs and flip-flops are Yosys' for UltraScale+, for all of them and with everything from the features' codes on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.yosys import FpgaUse, map_fpga

STEPS, BATCH = 1500, 128
TEST_ROWS, CLASSES, FEATURES = 500, 2, 64
Call = Callable[[], Any]


@dataclass(frozen=True)
class Digits:
    """Pixels as codes 0 to 16, int8 (N, 64), and as real numbers 0 to 1; labels int64 (N,)."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    def accuracy(self, classes: np.ndarray) -> float:
        """Of the classes that a system gives the test rows, in per cent."""
        return 100 * float((np.asarray(classes).reshape(-1) == self.test_labels).mean())


@functools.cache
def digits() -> Digits:
    """Scikit-learn's copy of the UCI digits; the rows that are held out are the same for all seeds."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    codes, labels = pixels[order].astype(np.int8), labels[order].astype(np.int64) % CLASSES
    return Digits(codes[TEST_ROWS:], labels[TEST_ROWS:], codes[:TEST_ROWS], labels[:TEST_ROWS])


def real(codes: np.ndarray) -> Tensor:
    """(N, 64) float32 from 0 to 1."""
    return torch.from_numpy(codes.astype(np.float32) / 16)


def fit(
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: np.ndarray,
    optimiser: torch.optim.Optimizer,
    seed: int,
    after_step: Sequence[Callable[[], Any]] = (),
) -> float:
    """Train with cross-entropy on batches that depend on the seed alone; returns CPU seconds."""
    generator, targets = torch.Generator().manual_seed(seed), torch.from_numpy(labels)
    began = time.process_time()
    for _ in range(STEPS):
        rows = torch.randint(len(targets), (BATCH,), generator=generator)
        loss = F.cross_entropy(forward(inputs[rows]), targets[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for call in after_step:
            call()
    return time.process_time() - began


def luts(folder: Path, sources: list[str], top: str) -> FpgaUse | None:
    """What Yosys makes of sources that lie in `folder`; None where there is no Yosys."""
    yosys = fpga_yosys()
    return None if yosys is None else map_fpga(yosys, folder, sources, top)[0]
