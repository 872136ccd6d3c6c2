"""CPU inference of one weightless block against the MLP that it replaces: one row per size, token count and threads.

    python benchmarks/infer_block.py [--json] [--repeats 7]

The block reads int8 and writes int16, its output type; int_mm is a pair of int8 products (`torch._int_mm`) without
bias, GELU or requantisation, int_mm_reused_out the same into memory that is there already: for a large result PyTorch
takes memory from the system every time, the block that of an earlier result. reference is the golden model in NumPy.
One thread: CPU time; two threads: wall time. Medians of alternating runs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import alternate, machine
from torch import nn

from lutra.frozen import golden
from lutra.frozen.graph import Graph
from lutra.frozen.ops import ConditionalSum, LutLayer, Requantise, Thermometer
from lutra.frozen.types import TensorType
from lutra.runtime.engine import BlockRuntime

THERMOMETER_BITS = 8
HIDDEN = 4
TOKENS = {192: (1, 197, 12608), 384: (1, 197, 16384)}
INT_MM_MIN_TOKENS = 17
REFERENCE_MAX_TOKENS = 197


def random_block(width: int, rng: np.random.Generator) -> Graph:
    """A block of the shape that replaces an MLP of `width`: 4 D and D tables of six inputs, random contents."""
    bits = width * THERMOMETER_BITS
    thresholds = np.sort(rng.integers(-128, 128, (width, THERMOMETER_BITS)), axis=1)
    graph = Graph(
        f"D{width}",
        "x",
        TensorType(True, 8, 2.0**-5),
        width,
        (
            Thermometer(("x",), "bits", thresholds),
            LutLayer(("bits",), "h", rng.integers(0, bits, (HIDDEN * width, 6)), _tables(rng, HIDDEN * width)),
            LutLayer(("h",), "g", rng.integers(0, HIDDEN * width, (width, 6)), _tables(rng, width)),
            ConditionalSum(("g",), "s", rng.integers(-128, 128, (width, width)), rng.integers(-2000, 2000, width)),
            Requantise(
                ("s",),
                "y",
                rng.integers(2**14, 2**15, width),
                rng.integers(14, 18, width),
                TensorType(True, 16, 2.0**-8),
            ),
        ),
    )
    graph.check()
    return graph


def _tables(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 2, (count, 64))


def dense_mlp(width: int, dtype: torch.dtype) -> nn.Module:
    """What the block replaces, with random weights."""
    return nn.Sequential(nn.Linear(width, HIDDEN * width), nn.GELU(), nn.Linear(HIDDEN * width, width)).to(dtype)


def variants(graph: Graph, tokens: int, threads: int, rng: np.random.Generator) -> dict[str, Callable[[], Any]]:
    """What is compared, by the name of its column without `_ms`."""
    width = graph.input_width
    x = rng.integers(-128, 128, (tokens, width), dtype=np.int8)
    block = BlockRuntime(graph, threads)
    real = torch.randn(tokens, width)
    mlp, mlp_bf16, real_bf16 = dense_mlp(width, torch.float32), dense_mlp(width, torch.bfloat16), real.bfloat16()
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: block(x),
        "mlp_fp32": lambda: mlp(real),
        "mlp_bf16": lambda: mlp_bf16(real_bf16),
    }
    if tokens >= INT_MM_MIN_TOKENS:
        codes, hidden = torch.from_numpy(x), torch.randint(-128, 128, (tokens, HIDDEN * width), dtype=torch.int8)
        up = torch.randint(-128, 128, (width, HIDDEN * width), dtype=torch.int8)
        down = torch.randint(-128, 128, (HIDDEN * width, width), dtype=torch.int8)
        sums = torch.empty(tokens, HIDDEN * width, dtype=torch.int32), torch.empty(tokens, width, dtype=torch.int32)
        calls["int_mm"] = lambda: (torch._int_mm(codes, up), torch._int_mm(hidden, down))
        calls["int_mm_reused_out"] = lambda: (
            torch._int_mm(codes, up, out=sums[0]),
            torch._int_mm(hidden, down, out=sums[1]),
        )
    if tokens <= REFERENCE_MAX_TOKENS:
        calls["reference"] = lambda: golden.run(graph, x)
    return calls


def measure(width: int, tokens: int, threads: int, repeats: int) -> dict[str, Any]:
    """One row: median milliseconds of every variant (null where it does not apply)."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    graph = random_block(width, rng)
    clock = time.thread_time if threads == 1 else time.perf_counter
    times = alternate(variants(graph, tokens, threads, rng), repeats, clock)
    names = ("ours", "mlp_fp32", "mlp_bf16", "int_mm", "int_mm_reused_out", "reference", "torch_dwn")
    row = {"case": "infer", "size": f"D{width}", "tokens": tokens, "mapping": None, "threads": threads}
    return row | {f"{name}_ms": times.get(name) for name in names}


def table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds of ours, and how many times slower the others are."""
    others = ("mlp_fp32", "mlp_bf16", "int_mm", "int_mm_reused_out", "reference")
    lines = [f"{'size':>5} {'tokens':>7} {'threads':>7} {'ours ms':>10} " + " ".join(f"{o:>17}" for o in others)]
    for row in rows:
        ratios = [row[f"{other}_ms"] for other in others]
        cells = [f"{'-':>17}" if ms is None else f"{ms / row['ours_ms']:>16.1f}x" for ms in ratios]
        lines.append(
            f"{row['size']:>5} {row['tokens']:>7} {row['threads']:>7} {row['ours_ms']:>10.4f} " + " ".join(cells)
        )
    return "\n".join(lines)


def main() -> None:
    """Measure every size, token count and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=[f"D{width}" for width in TOKENS], nargs="+", help="default: all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with torch.inference_mode():
        rows = [
            measure(width, tokens, threads, options.repeats)
            for threads in options.threads
            for width, counts in TOKENS.items()
            if not options.size or f"D{width}" in options.size
            for tokens in counts
        ]
    print(json.dumps({"machine": machine(), "rows": rows}) if options.json else table(rows))


if __name__ == "__main__":
    main()
