"""What one thread of this machine does at best: the ceilings beside which docs/performance.md puts the kernels.

    python benchmarks/peaks.py [--json]

Instructions of 512 bits per second, and bytes per second from each level of memory. The best of several tries, because
whatever else runs on the machine only takes away.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import machine

from lutra.native import library as native
from lutra.runtime.library import INSTRUCTION_SETS, library

TRIES = 15
ROUNDS = 50_000
INSTRUCTIONS = 16 * ROUNDS
READ_BYTES = {"l1_read_bytes_per_s": 2**14, "l2_read_bytes_per_s": 2**19, "memory_read_bytes_per_s": 2**28}
STREAM_BYTES = 2**28
READ_AT_LEAST_BYTES = 2**28


def per_second(amount: float, call: Callable[[], int]) -> float:
    """`amount` divided by the shortest time of `call`."""
    shortest = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return amount / shortest


def peaks() -> dict[str, float]:
    """The rates by name."""
    kernels = native.load_library("peaks", [Path(__file__).parent / "native" / "peaks.cpp"], ["-Wno-psabi"])
    rounds = ctypes.c_int64(ROUNDS)
    names = ("permutes", "additions", "permutes_and_additions", "float_additions", "multiply_adds")
    rates = {f"{name}_per_s": per_second(INSTRUCTIONS, lambda n=name: getattr(kernels, n)(rounds)) for name in names}
    memory = np.ones(STREAM_BYTES + 64, np.uint8)  # written to: else all pages are one page of zeros
    start = ctypes.c_void_p(memory.ctypes.data + -memory.ctypes.data % 64)
    for name, size in READ_BYTES.items():
        again = max(1, READ_AT_LEAST_BYTES // size)
        rates[name] = per_second(
            size * again,
            lambda size=size, again=again: kernels.reads(start, ctypes.c_int64(size), ctypes.c_int64(again)),
        )
    rates["memory_stream_bytes_per_s"] = per_second(
        STREAM_BYTES, lambda: kernels.streams(start, ctypes.c_int64(STREAM_BYTES), ctypes.c_int64(1))
    )
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    kernels = library()
    if kernels is None or INSTRUCTION_SETS[kernels.lutra_best_isa()] != "avx512":
        sys.exit("a C++ compiler and a processor with AVX-512 VBMI are needed")
    rates = peaks()
    if options.json:
        print(json.dumps({"machine": machine(), "peaks": rates}))
    else:
        print("\n".join(f"{name:>32} {rate / 1e9:8.2f} G" for name, rate in rates.items()))


if __name__ == "__main__":
    main()
