"""What vector units of the machine switch in standard cells while they work on values of a model, and what that costs.

Every unit is mapped alone, with one lane, and fed as the machine feeds it: rows of a tile one after the other, row by
row through the norm. What it computes is compared with golden's values of the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.systolic.measured import Shown, measure, wrapper
from lutra.accelerators.transformer import units
from lutra.accelerators.transformer.emit import RTL
from lutra.accelerators.transformer.packing import common_multipliers
from lutra.frozen.arithmetic import isqrt, recip
from lutra.frozen.ops import LayerNorm, MatMul, Requantise
from lutra.frozen.types import IntArray
from lutra.synth.tools.asic import Asic

SIMULATIONS = 64
TILES = 12
"""Of rows, that a lane sees in a simulation."""
SERIAL_ROWS = 3
"""That a serial unit takes in a simulation."""


@dataclass(frozen=True)
class Stimulus:
    """A unit under given inputs: ports with their bits, inputs (cycles, simulations), what it must show."""

    module: str
    parameters: str
    ports: Mapping[str, int]
    results: Mapping[str, int]
    inputs: Mapping[str, IntArray]
    shown: Shown

    def measure(self, asic: Asic, folder: Path) -> dict[str, Any]:
        """Area, slack, and power while it works.

        Raises:
            MismatchError: the mapped cells compute something else.
            ToolError: a tool failed, or OpenSTA is not installed.
        """
        inside = f"{self.module} {self.parameters}u_unit (.*);"
        text = wrapper("unit", {"clk_i": 1, **self.ports}, self.results, inside)
        return measure(asic, folder, RTL, "unit", text, self.inputs, self.shown)


def tiles_of(rows: int, columns: int, size: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Row and column of the results that a lane sees, (cycles, simulations): rows of a tile, then the next tile's."""
    cycle = np.arange(TILES * size)[:, None]
    row_tile, lane = rng.integers(0, rows // size, SIMULATIONS), rng.integers(0, size, SIMULATIONS)
    tile = (rng.integers(0, columns // size, SIMULATIONS) + cycle // size) % (columns // size)
    return row_tile * size + cycle % size, tile * size + lane


def requantise(
    sums: MatMul, requantised: Requantise, values: Mapping[str, IntArray], size: int, rng: np.random.Generator
) -> Stimulus:
    """A lane behind the array, with the columns of one product."""
    given, outputs = values[sums.output] - sums.bias, values[requantised.output]
    multipliers, shift = common_multipliers(requantised)
    row, column = tiles_of(*given.shape, size, rng)
    ones = np.ones_like(row)
    inputs = {
        "enable_i": ones,
        "sum_i": given[row, column],
        "bias_i": sums.bias[column],
        "multiplier_i": multipliers[column],
        "shift_i": ones * shift,
        "wide_i": ones * int(requantised.type.bits == 16),
    }
    ports = {"enable_i": 1, "sum_i": 32, "bias_i": 32, "multiplier_i": 17, "shift_i": 6, "wide_i": 1}
    return _streamed("requantise_lane", "", ports, {"y_o": 16}, inputs, outputs[row, column], units.REQUANTISE_STAGES)


def residual(x: IntArray, branch: IntArray, y: IntArray, size: int, rng: np.random.Generator) -> Stimulus:
    """A lane that adds a branch to the stream."""
    row, column = tiles_of(*x.shape, size, rng)
    inputs = {"enable_i": np.ones_like(row), "x_i": x[row, column], "branch_i": branch[row, column]}
    ports = {"enable_i": 1, "x_i": 16, "branch_i": 16}
    return _streamed("residual", "#(.Lanes(1)) ", ports, {"y_o": 16}, inputs, y[row, column], units.RESIDUAL_STAGES)


def norm_lane(op: LayerNorm, x: IntArray, y: IntArray, rng: np.random.Generator) -> Stimulus:
    """A lane of the norm's second pass, over a row of each simulation."""
    width = x.shape[1]
    rows = rng.integers(0, len(x), SIMULATIONS)
    total, _, root = _sums(op, x)
    factor, exponent = recip(np.maximum(root, 1))
    column = np.arange(width)[:, None] + np.zeros(SIMULATIONS, np.int64)
    ones = np.ones_like(column)
    late = np.maximum(column - 3, 0)  # the gain comes with the normalised value
    inputs = {
        "enable_i": ones,
        "x_i": x[rows, column],
        "total_i": ones * total[rows],
        "width_i": ones * width,
        "factor_i": ones * factor[rows],
        "exponent_i": ones * exponent[rows],
        "gain_i": op.gain[late],
        "bias_i": op.bias[late],
        "shift_i": ones * op.shift,
    }
    bits = {"total_i": 26, "width_i": 11, "factor_i": 17, "exponent_i": 6, "gain_i": 16, "bias_i": 32, "shift_i": 5}
    ports = {"enable_i": 1, "x_i": 16, **bits}
    return _streamed("norm_lane", "", ports, {"y_o": 8}, inputs, y[rows, column], units.NORM_STAGES - 1)


def norm_sums(x: IntArray, rng: np.random.Generator) -> Stimulus:
    """The norm's first pass with one lane, over rows one after the other."""
    width = x.shape[1]
    rows = (rng.integers(0, len(x), SIMULATIONS) + np.arange(SERIAL_ROWS)[:, None]) % len(x)
    elements = x[rows].transpose(0, 2, 1).reshape(-1, SIMULATIONS)
    column = (np.arange(len(elements)) % width)[:, None] + np.zeros(SIMULATIONS, np.int64)
    inputs = {
        "rst_ni": np.ones_like(column),
        "take_i": np.ones_like(column),
        "first_i": (column == 0).astype(np.int64),
        "last_i": (column == width - 1).astype(np.int64),
        "data_i": elements,
    }
    ends = np.arange(1, SERIAL_ROWS) * width - 1 + units.SUM_STAGES + units.tree_stages(1)
    shown = Shown("total_o", slice(0, 26), ends, x[rows[: SERIAL_ROWS - 1]].sum(axis=2))
    ports = {"rst_ni": 1, "take_i": 1, "first_i": 1, "last_i": 1, "data_i": 16}
    results = {"done_o": 1, "total_o": 26, "squares_o": 41}
    return Stimulus("lutra_transformer_norm_sums", "#(.Lanes(1)) ", ports, results, inputs, shown)


def norm_variance(op: LayerNorm, x: IntArray, rng: np.random.Generator) -> Stimulus:
    """The variances of rows one after the other."""
    rows = rng.integers(0, len(x), (SERIAL_ROWS, SIMULATIONS))
    total, variance, _ = _sums(op, x)
    squares = (x * x).sum(axis=1)
    values = {"total_i": total[rows], "squares_i": squares[rows]}
    constant = {"width_i": x.shape[1], "epsilon_i": op.epsilon}
    ports = {"total_i": 26, "squares_i": 41, "width_i": 11, "epsilon_i": 50}
    return _serial("norm_variance", "", ports, {"done_o": 1, "variance_o": 52}, values, constant,
                   ("variance_o", variance[rows]), units.VARIANCE_CYCLES, units.NORM_INTERVAL_CYCLES)  # fmt: skip


def root(variance: IntArray, rng: np.random.Generator) -> Stimulus:
    """Roots of variances, (rows,), one after the other."""
    chosen = variance[rng.integers(0, len(variance), (SERIAL_ROWS, SIMULATIONS))]
    return _serial("root", "", {"value_i": 52}, {"done_o": 1, "root_o": 26}, {"value_i": chosen}, {},
                   ("root_o", isqrt(chosen)), units.ROOT_CYCLES, units.NORM_INTERVAL_CYCLES)  # fmt: skip


def reciprocal(values: IntArray, bits: int, interval: int, rng: np.random.Generator) -> Stimulus:
    """Reciprocals of values of so many bits, one every `interval` cycles."""
    chosen = values[rng.integers(0, len(values), (SERIAL_ROWS, SIMULATIONS))]
    results = {"done_o": 1, "factor_o": 17, "exponent_o": 6}
    return _serial("reciprocal", f"#(.ValueBits({bits})) ", {"value_i": bits}, results, {"value_i": chosen}, {},
                   ("factor_o", recip(chosen)[0]), units.RECIPROCAL_CYCLES, interval)  # fmt: skip


def softmax_max(scores: IntArray, size: int, rng: np.random.Generator) -> Stimulus:
    """The search for the largest score of the rows of a tile, a score per cycle; scores are (rows, keys)."""
    rows, keys = size, scores.shape[1]
    first = rng.integers(0, len(scores) - size + 1, SIMULATIONS)
    cycles = rows * keys
    row = (np.arange(cycles + 4) % rows)[:, None] + np.zeros(SIMULATIONS, np.int64)
    key = np.minimum(np.arange(cycles + 4) // rows, keys - 1)[:, None]
    at_work = (np.arange(cycles + 4) < cycles).astype(np.int64)[:, None] + np.zeros_like(row)
    inputs = {
        "rst_ni": np.ones_like(row),
        "clear_i": np.concatenate([np.ones((1, SIMULATIONS), np.int64), np.zeros_like(row[1:])]),
        "store_i": np.concatenate([np.zeros((1, SIMULATIONS), np.int64), at_work[:-1]]),
        "store_row_i": np.concatenate([row[:1], row[:-1]]),
        "visible_i": np.ones_like(row),
        "scores_i": np.concatenate([row[:1] * 0, scores[first + row[:-1], key[:-1]]]),
        "read_i": 1 - at_work,
        "row_i": np.zeros_like(row),
    }
    bits = (size - 1).bit_length()
    ports = {"rst_ni": 1, "clear_i": 1, "store_i": 1, "store_row_i": bits, "visible_i": 1, "scores_i": 16}
    ports |= {"read_i": 1, "row_i": bits}
    shown = Shown("max_o", slice(0, 16), np.array([1, cycles + 3]), np.stack([first * 0, scores[first].max(axis=1)]))
    parameters = f"#(.Size({size}), .Lanes(1), .RowBits({bits})) "
    return Stimulus("lutra_transformer_softmax_max", parameters, ports, {"max_o": 16}, inputs, shown)


def variances(op: LayerNorm, x: IntArray) -> IntArray:
    """Of which roots are taken, (rows,)."""
    return _sums(op, x)[1]


def roots(variance: IntArray) -> IntArray:
    """Of which reciprocals are taken, at least 1."""
    return np.maximum(isqrt(variance), 1)


def _sums(op: LayerNorm, x: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Sum, variance and root of every row, as the norm computes them."""
    total = x.sum(axis=1)
    variance = x.shape[1] * (x * x).sum(axis=1) - total * total + op.epsilon
    return total, variance, isqrt(variance)


def _streamed(
    module: str,
    parameters: str,
    ports: Mapping[str, int],
    results: Mapping[str, int],
    inputs: Mapping[str, IntArray],
    outputs: IntArray,
    stages: int,
) -> Stimulus:
    """A unit that takes a beat per cycle; its only result is `outputs` after so many stages."""
    (port, bits), cycles = next(iter(results.items())), np.arange(stages, len(outputs))
    shown = Shown(port, slice(0, bits), cycles, outputs[: len(outputs) - stages])
    return Stimulus(f"lutra_transformer_{module}", parameters, ports, results, inputs, shown)


def _serial(
    module: str,
    parameters: str,
    ports: Mapping[str, int],
    results: Mapping[str, int],
    values: Mapping[str, IntArray],
    constant: Mapping[str, int],
    expected: tuple[str, IntArray],
    latency: int,
    interval: int,
) -> Stimulus:
    """A unit that starts with every value, (values, simulations), `interval` cycles apart, and is done later."""
    count = len(expected[1])
    cycle = np.arange(count * interval)
    start = (cycle % interval == 0).astype(np.int64)[:, None] + np.zeros(SIMULATIONS, np.int64)
    inputs = {"rst_ni": np.ones_like(start), "start_i": start}
    inputs |= {name: given[cycle // interval] for name, given in values.items()}
    inputs |= {name: np.full_like(start, given) for name, given in constant.items()}
    port, answers = expected
    done = np.arange(count) * interval + latency
    kept = done < len(cycle)
    shown = Shown(port, slice(0, results[port]), done[kept], answers[kept])
    return Stimulus(
        f"lutra_transformer_{module}", parameters, {"rst_ni": 1, "start_i": 1, **ports}, results, inputs, shown
    )
