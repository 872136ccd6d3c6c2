"""Errors of the integer functions of whole models; `python docs/integer_errors.py` prints docs/integers.md's tables."""

from __future__ import annotations

import math

import numpy as np

from lutra.frozen.arithmetic import isqrt, recip
from lutra.frozen.ops.attention import SHIFTMAX_BITS, SHIFTMAX_SHIFT, exponential_table
from lutra.frozen.ops.norm import integer_layer_norm_rows, normalised_rows
from lutra.frozen.shift import RECIPROCAL, gelu_unit, shift_exp, shift_gelu

ROWS, KEYS, WIDTH = 4000, 197, 192
OCTAVE = math.log(2) / 32


def softmax_errors(deviation: float) -> tuple[float, float, float, float]:
    """Smallest row sum and error of the context relative to its size: exact form, then Shiftmax of int8 scores."""
    rng = np.random.default_rng(0)
    scores, values = rng.normal(0, deviation, (ROWS, KEYS)), rng.normal(0, 1, (ROWS, KEYS))
    real = np.exp(scores - scores.max(axis=1, keepdims=True))
    real /= real.sum(axis=1, keepdims=True)
    context = (real * values).sum(axis=1)

    def error(weights: np.ndarray) -> float:
        return float(np.sqrt((((weights * values).sum(axis=1) - context) ** 2).mean() / (context**2).mean()))

    steps = np.rint(scores / OCTAVE).astype(np.int64)
    distance = steps.max(axis=1, keepdims=True) - steps
    exact = np.where(distance < 256, exponential_table()[np.minimum(distance, 255)], 0)
    factor, exponent = recip(exact.sum(axis=1, keepdims=True))
    weights = exact * factor / 2.0 ** (16 + exponent)
    scale = np.abs(scores).max() / 127
    integers = np.rint(scores / scale).astype(np.int64)
    powers = shift_exp(integers - integers.max(axis=1, keepdims=True), math.ceil(1 / scale), SHIFTMAX_SHIFT)
    shiftmax = ((powers * (RECIPROCAL // powers.sum(axis=1, keepdims=True))) >> (31 - SHIFTMAX_BITS + 1)) / 2.0**15
    return float(weights.sum(axis=1).min()), error(weights), float(shiftmax.sum(axis=1).min()), error(shiftmax)


def norm_errors(deviation: int) -> tuple[float, float]:
    """Largest error of a normalised value: exact form, I-LayerNorm."""
    drawn = np.random.default_rng(0).normal(0, deviation, (ROWS, WIDTH))
    x = np.clip(np.rint(drawn), -32768, 32767).astype(np.int64)
    real = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    exact = normalised_rows(x, 0) / 2.0**10
    ivit = integer_layer_norm_rows(x) * math.sqrt(WIDTH) / 2.0**30
    return float(np.abs(exact - real).max()), float(np.abs(ivit - real).max())


def gelu_errors(scale: float) -> tuple[float, float]:
    """Largest error of GELU of int8: a table with outputs of the same scale; ShiftGELU in rows that reach 127."""
    x = np.arange(-128, 128)
    real = np.array([0.5 * v * scale * (1 + math.erf(v * scale / math.sqrt(2))) for v in x])
    table = np.clip(np.floor(real / scale + 0.5), -128, 127) * scale
    shifted = shift_gelu(x[None].astype(np.int64), gelu_unit(scale))[0] * scale / 128
    return float(np.abs(table - real)[1:].max()), float(np.abs(shifted - real).max())


def primitives() -> tuple[int, int]:
    """Wrong integer roots and reciprocals among a million each."""
    v = np.random.default_rng(0).integers(1, 2**52, 10**6)
    root = isqrt(v)
    small = v % 2**35 + 1
    factor, exponent = recip(small)
    lower, upper = root * root <= v, (root + 1) * (root + 1) > v
    exact = factor * small <= np.int64(1) << (16 + exponent)
    nearest = (factor + 1) * small > np.int64(1) << (16 + exponent)
    return int((~(lower & upper)).sum()), int((~(exact & nearest)).sum())


def main() -> None:
    """Print the tables."""
    print("wrong roots and reciprocals of 1,000,000: {} and {}\n".format(*primitives()))
    print(
        "| softmax, 197 keys, scores of deviation | exact: least row sum, context | Shiftmax: least row sum, context |"
    )
    print("|---:|---:|---:|")
    for deviation in (1, 2, 5):
        total, error, shift_total, shift_error = softmax_errors(deviation)
        print(f"| {deviation} | {total:.4f}, {100 * error:.1f} % | {shift_total:.4f}, {100 * shift_error:.1f} % |")
    print("\n| layer norm, width 192, integers of deviation | exact | I-LayerNorm |\n|---:|---:|---:|")
    for deviation in (3, 30, 300, 3000):
        print("| {:,} | {:.4f} | {:.4f} |".format(deviation, *norm_errors(deviation)))
    print("\n| GELU, scale of the int8 input | table | ShiftGELU |\n|---:|---:|---:|")
    for scale in (0.02, 0.04, 0.059):
        print("| {} | {:.4f} | {:.4f} |".format(scale, *gelu_errors(scale)))


if __name__ == "__main__":
    main()
