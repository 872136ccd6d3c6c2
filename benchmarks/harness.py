"""Timing and machine description that every benchmark shares."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SHORTEST_SAMPLE_S = 0.002
REST_S = 0.02
"""Before every sample: OpenMP's idle threads, PyTorch's among them, keep their cores busy for a while after a call."""


def alternate(
    variants: dict[str, Callable[[], Any]], repeats: int = 7, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Median milliseconds of one call of each variant; the variants take turns, so that drift hits all alike.

    Quick variants are called several times per sample. The default clock is the CPU time of the whole process (with
    one torch thread: of this thread), which other processes on the machine disturb least; pass `time.perf_counter`
    for wall time.
    """
    calls = {name: _calls_per_sample(call) for name, call in variants.items()}
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, call in variants.items():
            time.sleep(REST_S)
            start = clock()
            for _ in range(calls[name]):
                call()
            samples[name].append((clock() - start) / calls[name])
    return {name: statistics.median(times) * 1e3 for name, times in samples.items()}


def _calls_per_sample(call: Callable[[], Any]) -> int:
    call()  # compiles, fills caches
    start = time.perf_counter()
    call()
    return max(1, round(SHORTEST_SAMPLE_S / max(time.perf_counter() - start, 1e-7)))


def run_in_tree(tree: Path, script: Path, options: list[str]) -> dict[str, Any]:
    """The JSON object that `script` prints last when it runs on the sources of `tree`, a process with one thread."""
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), *options], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def machine() -> dict[str, Any]:
    """Processor, its vector extensions, cores, and versions: what a timing cannot be read without."""
    info = Path("/proc/cpuinfo")
    fields = {}
    if info.exists():
        for line in info.read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            fields[key.strip()] = value.strip()
    flags = fields.get("flags", "").split()
    vector = ("avx", "amx", "fma", "gfni", "f16c")
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cpu_flags": sorted(flag for flag in flags if flag.startswith(vector)),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
