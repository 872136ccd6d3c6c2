"""The environment variables that Lutra reads: all of them, each at one place; an empty one counts as not set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """One variable."""

    name: str
    decides: str
    without_it: str

    @property
    def text(self) -> str | None:
        """Its value, None where it is not set."""
        return os.environ.get(self.name, "").strip() or None

    @property
    def path(self) -> Path | None:
        """Its value as a path, `~` expanded; None where it is not set."""
        return Path(self.text).expanduser() if self.text else None


ISA = Setting(
    "LUTRA_ISA",
    "what computes in kernels and runtime: scalar, avx2, avx512, amx (whole programs, attention in bfloat16; elsewhere "
    "avx512), triton, or reference (plain PyTorch, golden model)",
    "the best that this machine has",
)
CACHE = Setting("LUTRA_CACHE", "the folder of compiled kernels and of Verilator's library", "~/.cache/lutra")
GLUE = Setting("LUTRA_GLUE", "the folder of GLUE's TSV files", "recipes of kind bert do not find their data")
IMAGES = Setting(
    "LUTRA_IMAGES", "the folder of CIFAR's files, where a recipe names none", "recipes of kind vision must name it"
)
LIBERTY = Setting("LUTRA_LIBERTY", "the cell library of `lutra synth`, as its option --liberty", "no ASIC numbers")
TRACKER = Setting(
    "LUTRA_TRACKER",
    "what training sends its log to as well: tensorboard, or wandb (Weights & Biases)",
    "the log alone, log.jsonl",
)
DEBUG = Setting("LUTRA_DEBUG", "whether an unexpected error shows where it happened", "one line")
CXX = Setting("CXX", "the C++ compiler", "g++, c++ or clang++, whichever is found first")

SETTINGS = (ISA, CACHE, GLUE, IMAGES, LIBERTY, TRACKER, DEBUG, CXX)
