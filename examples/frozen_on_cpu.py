"""A frozen model on the CPU, without PyTorch: `python examples/frozen_on_cpu.py [FOLDER]`.

FOLDER holds a frozen model: `RUN/frozen` of a run directory, or `runs/block_to_rtl/frozen` of the other example, which
is the default. The compiled engine takes int8 rows and gives exactly what the hardware gives; the golden model, in
NumPy, defines both. Where there is a run directory, `lutra.load(RUN).runtime()` is a shorter way to the engine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lutra.frozen import golden, store
from lutra.frozen.graph import Graph
from lutra.runtime.engine import BlockRuntime

ROWS = 4096


def use(graph: Graph) -> None:
    """Run a block and compare it with its definition."""
    width, type_ = graph.input_width, graph.input_type
    # Real activations come from the layer before; these are drawn over a quarter of the input's range.
    activations = np.random.default_rng(0).normal(0, 32 * type_.scale, (ROWS, width))
    x = golden.quantise(activations, type_).astype(np.int8)  # (ROWS, width)

    run = BlockRuntime(graph)
    y = run(x)  # (ROWS, output_width), integers
    real = golden.dequantise(y.astype(np.int64), graph.output_type)  # what the next layer reads
    differing = int((y != golden.run(graph, x)).sum())
    fast, slow = nanoseconds(lambda: run(x)), nanoseconds(lambda: golden.run(graph, x))
    print(f"{graph.name}: {width} to {graph.output_width} features, {y.dtype}, values up to {abs(real).max():.3f}")
    print(f"{run.isa}: {fast / ROWS:,.0f} ns per row; golden model: {slow / ROWS:,.0f} ns per row")
    print(f"{differing} of {y.size:,} outputs differ from the golden model")
    if differing:
        sys.exit("the engine is wrong")


def nanoseconds(call: Callable[[], object], repeats: int = 5) -> float:
    """The best time of a few calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e9 * min(times)


if __name__ == "__main__":
    for each in store.load(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/block_to_rtl/frozen")).graphs:
        use(each)
