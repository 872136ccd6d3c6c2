"""A start for blocks in a pretrained model: in closed form, layer by layer, then a short gradient of each alone."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lutra.errors import ConversionError, InputError
from lutra.models.convert.carry import wrapper_of
from lutra.models.convert.places import Massive
from lutra.models.convert.plan import Found
from lutra.models.convert.record_of import Converted, conversion_of
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.groups import group_bounds
from lutra.train.healing.capture import Rows, inputs_at, rows_of
from lutra.train.healing.token_tables import TokenMeans, token_means

log = logging.getLogger("lutra")

_MASSIVE_RATIO = 20.0
"""How much larger than that of a median feature the spread of the widest one must be for a massive token."""
_MASSIVE_SHARE = 0.1
"""A massive token is a rare one: at most this fraction."""


@dataclass(frozen=True)
class Fitted:
    """How well one block imitates the part that it replaced, on the rows it was fitted on."""

    path: str
    tokens: int
    massive_tokens: int
    r2_closed_form: float
    """Explained variance, tokens weighted, without massive ones; with the token table, if there is one."""
    r2: float
    """The same after the gradient steps."""


def fit_(
    model: nn.Module,
    teacher: nn.Module,
    batches: Iterable[Any],
    *,
    ridge: float = 0.03,
    local_steps: int = 0,
    local_rows: int = 2048,
    token_batches: Iterable[Any] | None = None,
    seed: int = 0,
) -> list[Fitted]:
    """Fit the blocks of a converted `model` to the `teacher`, the model that it was converted from, in place.

    One layer after the other, each on what the fitted layers before it give it, towards the teacher's hidden state: the
    encoded values are the weighted ridge solution for each group, tokens weighted by what the next norm makes of them.
    Thresholds are calibrated on the way. Where the model was converted with `massive`, tokens with massive results are
    found and given a row of their own, and do not count. Where it was converted with `token_tables`, these are filled
    first, from all of `token_batches` (which should hold `batches`; by default they are `batches`), and blocks are
    fitted to what is left. A part that runs several times in a pass is fitted to all its calls in the teacher at once,
    each token taken from one of them.
    `local_steps` gradient steps of each block alone then train tables, mapping and encoded values.

    Raises:
        ConversionError: `model` is not converted, or `teacher` is no model that it was converted from; an expert.
        InputError: too few tokens, or NaN.
    """
    conversion = conversion_of(model)
    if conversion is None:
        raise ConversionError("fit_ needs a model that replace_mlp has converted")
    data = list(batches)
    rows = [each.row for each in conversion.converted]
    if any(len(row.block_paths) != 1 for row in rows):
        expert = next(row.path for row in rows if len(row.block_paths) != 1)
        raise ConversionError(f"{expert}: experts, each of which sees only some of the tokens; they cannot be fitted")
    tabled = [each for each in conversion.converted if each.token_table]
    try:
        taught = rows_of(teacher, rows, data, with_ids=bool(tabled))
    except AttributeError as error:
        raise ConversionError(f"the teacher is not the model that was converted ({error})") from None
    massive = {each.row.path: _massive_of(model, each, taught[each.row.path]) for each in conversion.converted}
    means = token_means(model, teacher, tabled, data if token_batches is None else token_batches)
    results = []
    for index, row in enumerate(rows):
        block = model.get_submodule(row.block_path)
        assert isinstance(block, WeightlessBlock)
        known, kept = taught[row.path], ~massive[row.path]
        task = _task_of(row, known, inputs_at(model, row, data) if row.calls == 1 else known.x, means.get(row.path))
        fitted = _fit_block(block, task.only(kept), ridge, local_steps, local_rows, seed + index)
        result = Fitted(row.path, int(kept.sum()), int((~kept).sum()), *fitted)
        log.info("fit %s: R2 %.3f, after %d steps %.3f", row.path, result.r2_closed_form, local_steps, result.r2)
        results.append(result)
    return results


@dataclass(frozen=True)
class _Task:
    """What one block is fitted to: rows (tokens, width) and (tokens, output_width), their weights (tokens,)."""

    x: Tensor
    y: Tensor
    weight: Tensor
    given: Tensor | float
    """What the token table adds to the block's result, with each token itself left out of its mean."""

    def only(self, kept: Tensor) -> _Task:
        given = self.given[kept] if isinstance(self.given, Tensor) else self.given
        return _Task(self.x[kept], self.y[kept], self.weight[kept], given)

    @property
    def left(self) -> Tensor:
        return self.y - self.given


def _task_of(row: Found, known: Rows, x: Tensor, means: TokenMeans | None) -> _Task:
    """`x` is what the block reads in the converted model, as far as it has been fitted."""
    total = known.x + known.y if row.adds_to_input else known.y
    weight = 1 / total.var(dim=1).clamp_min(1e-6) if row.adds_to_input else x.new_ones(len(x))
    given = 0.0 if means is None else means.without_itself(known.y, known.ids)
    return _Task(x, total - x if row.adds_to_input else total, weight, given)


def _massive_of(model: nn.Module, converted: Converted, known: Rows) -> Tensor:
    """Which tokens have a row of their own, (tokens,) bool."""
    wrapper = wrapper_of(model, converted, Massive)
    if wrapper is None:
        return torch.zeros(len(known.x), dtype=torch.bool, device=known.x.device)
    return find_massive_(wrapper, known.x, known.y)


def find_massive_(around: Massive, x: Tensor, y: Tensor) -> Tensor:
    """Which tokens have a massive result, (tokens,) bool; sets feature, threshold and row, or leaves them alone.

    There is one if one feature of `y` spreads far more than others do because of a few tokens, and if one comparison of
    one feature of `x` tells those tokens from all others.
    """
    none = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    spread = y.std(dim=0)
    widest = int(spread.argmax())
    size = y[:, widest].abs()
    massive = size > size.max() / 2
    if spread[widest] < _MASSIVE_RATIO * spread.median() or massive.float().mean() > _MASSIVE_SHARE:
        return none
    lowest, highest = x[massive].amin(dim=0), x[~massive].amax(dim=0)
    gap = (lowest - highest) / x[~massive].std(dim=0).clamp_min(1e-6)
    feature = int(gap.argmax())
    if gap[feature] <= 1:
        return none
    around.feature.fill_(feature)
    around.threshold.fill_(float((lowest[feature] + highest[feature]) / 2))
    around.row.copy_(y[massive].mean(dim=0))
    return massive


def _fit_block(
    block: WeightlessBlock, task: _Task, ridge: float, steps: int, rows: int, seed: int
) -> tuple[float, float]:
    if not (task.x.isfinite().all() and task.y.isfinite().all()):
        raise InputError(f"{block.place}: NaN or infinity among what it is to be fitted to")
    block.calibrate_(task.x)
    solve_encoded_(block, task.x, task.left, task.weight, ridge)
    first = _explained(block, task)
    if not steps:
        return first, first
    _local_gradient(block, task.x, task.left, task.weight, steps, rows, seed)
    return first, _explained(block, task)


@torch.no_grad()
def solve_encoded_(
    block: WeightlessBlock, x: Tensor, y: Tensor, weight: Tensor, ridge: float, rows_at_once: int = 4096
) -> None:
    """Set encoded values and bias to the ridge solution of `sum_t weight_t |block(x_t) - y_t|^2`, group by group.

    The sum is linear in its encoded values, so that there is one solution. `ridge` is relative to the mean of the
    diagonal. (tokens, width), (tokens, output_width), (tokens,).
    """
    summation = block.summation
    bits_count, outputs = summation.encoded.shape
    bit_bounds, out_bounds = (group_bounds(n, summation.groups) for n in (bits_count, outputs))
    weight = weight / weight.mean()
    mean = (weight[:, None] * y).sum(dim=0) / weight.sum()
    widest = max(b - a for a, b in itertools.pairwise(bit_bounds))
    gram = x.new_zeros(summation.groups, widest + 1, widest + 1, dtype=torch.float64)
    moment = [x.new_zeros(widest + 1, b - a, dtype=torch.float64) for a, b in itertools.pairwise(out_bounds)]
    for start in range(0, len(x), rows_at_once):
        part = slice(start, start + rows_at_once)
        signs = block.bits(x[part]) - (0.5 if summation.centred else 0.0)  # (R, n)
        root = weight[part].sqrt()
        for g in range(summation.groups):
            own = torch.cat([signs[bit_bounds[g] : bit_bounds[g + 1]], torch.ones_like(signs[:1])]) * root
            size = len(own)
            gram[g, :size, :size] += (own @ own.t()).double()
            target = (y[part, out_bounds[g] : out_bounds[g + 1]] - mean[out_bounds[g] : out_bounds[g + 1]]) * root[
                :, None
            ]
            moment[g][:size] += (own @ target).double()
    summation.encoded.zero_()
    for g in range(summation.groups):
        size = bit_bounds[g + 1] - bit_bounds[g] + 1
        matrix = gram[g, :size, :size]
        penalty = torch.full((size,), ridge * float(matrix.diagonal()[:-1].mean()), dtype=torch.float64)
        penalty[-1] = 1e-9 * float(matrix[-1, -1])  # the bias is free
        solved = torch.linalg.solve(matrix + penalty.to(matrix).diag(), moment[g][:size]).float()
        summation.encoded[bit_bounds[g] : bit_bounds[g + 1], out_bounds[g] : out_bounds[g + 1]] = solved[:-1]
        summation.bias[out_bounds[g] : out_bounds[g + 1]] = solved[-1] + mean[out_bounds[g] : out_bounds[g + 1]]


def _local_gradient(
    block: WeightlessBlock, x: Tensor, y: Tensor, weight: Tensor, steps: int, rows: int, seed: int
) -> None:
    """Adam on one block alone: tables and mapping fast, encoded values slowly."""
    rates = {"tables": 1e-2, "mapping": 1e-2, "thresholds": 1e-3, "encoded": 1e-3}
    groups = [{"params": p, "lr": rates[kind]} for kind, p in block.parameter_groups().items() if p]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    weight = weight / weight.mean()
    scale = float((weight[:, None] * (y - y.mean(dim=0)).square()).mean()) + 1e-12
    training = block.training
    block.train()
    for _ in range(steps):
        chosen = torch.randint(len(x), (min(rows, len(x)),), generator=generator).to(x.device)
        loss = (weight[chosen, None] * (block(x[chosen]) - y[chosen]).square()).mean() / scale
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        block.constrain_()
        schedule.step()
    optimiser.zero_grad()
    block.train(training)


@torch.no_grad()
def _explained(block: WeightlessBlock, task: _Task) -> float:
    """Weighted R2 over all outputs together, of block and token table."""
    weight = task.weight[:, None] / task.weight.mean()
    left, mean = task.left, (weight * task.y).mean(dim=0)
    rest = whole = 0.0
    for start in range(0, len(task.x), 4096):
        part = slice(start, start + 4096)
        rest += float((weight[part] * (block(task.x[part]) - left[part]).square()).sum())
        whole += float((weight[part] * (task.y[part] - mean).square()).sum())
    return 1 - rest / max(whole, 1e-12)
