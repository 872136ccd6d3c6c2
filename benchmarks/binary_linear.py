"""1-bit linear layers against torch: quantise, product and dequantise included on our side.

    python benchmarks/binary_linear.py [--json] [--repeats 9]

One thread, CPU time, medians of alternating runs. `torch._int_mm` is the int8 product alone.
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

from lutra.runtime.binary_linear import BinaryLinear

SHAPES = ((1, 768, 768), (128, 384, 384), (128, 768, 768), (128, 768, 3072), (128, 3072, 768), (256, 384, 1536))
ACTIVATION_BITS = (8, 4, 2, 1)
INT_MM_MIN_TOKENS = 17


def measure(tokens: int, inputs: int, outputs: int, repeats: int) -> list[dict[str, Any]]:
    """One row per width of activations; the baselines are measured once for all of them."""
    rng = np.random.default_rng(0)
    weights = rng.choice([-1, 1], (inputs, outputs))
    x = rng.normal(size=(tokens, inputs)).astype(np.float32)
    layers = {bits: BinaryLinear(weights, bits, True, 8 / 2**bits) for bits in ACTIVATION_BITS}
    real = torch.from_numpy(x)
    linear, linear_bf16 = torch.nn.Linear(inputs, outputs), torch.nn.Linear(inputs, outputs).bfloat16()
    real_bf16 = real.bfloat16()
    calls: dict[str, Callable[[], Any]] = {f"A{bits}": _call(layer, x) for bits, layer in layers.items()}
    calls |= {"fp32": lambda: linear(real), "bf16": lambda: linear_bf16(real_bf16)}
    if tokens >= INT_MM_MIN_TOKENS:
        codes = torch.randint(-128, 128, (tokens, inputs), dtype=torch.int8)
        codes_weights = torch.randint(-1, 2, (inputs, outputs), dtype=torch.int8)
        calls["int_mm"] = lambda: torch._int_mm(codes, codes_weights)
    times = alternate(calls, repeats, time.thread_time)
    return [
        {
            "case": "linear",
            "size": f"{tokens}x{inputs}x{outputs}",
            "tokens": tokens,
            "mapping": None,
            "threads": 1,
            "activation_bits": bits,
            "ours_ms": times[f"A{bits}"],
            "linear_fp32_ms": times["fp32"],
            "linear_bf16_ms": times["bf16"],
            "int_mm_ms": times.get("int_mm"),
            **dict.fromkeys(("mlp_fp32_ms", "mlp_bf16_ms", "reference_ms", "torch_dwn_ms")),  # columns of other cases
            "ours_gops": 2e-6 * tokens * inputs * outputs / times[f"A{bits}"],
        }
        for bits in ACTIVATION_BITS
    ]


def _call(layer: BinaryLinear, x: np.ndarray) -> Callable[[], Any]:
    return lambda: layer(x)


def table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds and operations per second of ours, and how many times slower the others are."""
    lines = [f"{'M x K x N':>14} {'bits':>4} {'ours ms':>9} {'GOPS':>6} {'float32':>8} {'bf16':>8} {'int_mm':>8}"]
    for row in rows:
        others = [row[f"{other}_ms"] for other in ("linear_fp32", "linear_bf16", "int_mm")]
        cells = " ".join(f"{'-':>8}" if ms is None else f"{ms / row['ours_ms']:>7.1f}x" for ms in others)
        shape, bits = row["size"], row["activation_bits"]
        lines.append(f"{shape:>14} {bits:>4} {row['ours_ms']:>9.4f} {row['ours_gops']:>6.0f} {cells}")
    return "\n".join(lines)


def main() -> None:
    """Measure every shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        rows = [row for shape in SHAPES for row in measure(*shape, options.repeats)]
    print(json.dumps({"machine": machine(), "rows": rows}) if options.json else table(rows))


if __name__ == "__main__":
    main()
