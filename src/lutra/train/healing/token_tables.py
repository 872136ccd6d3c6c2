"""Filling token tables: what the original's feed-forward parts return for each token's id, on average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lutra.errors import ConversionError
from lutra.models.convert.carry import wrapper_of
from lutra.models.convert.places import Massive
from lutra.models.convert.record_of import Converted
from lutra.models.convert.token_table import TokenTable
from lutra.train.healing.capture import Rows, each_pass


@dataclass
class TokenMeans:
    """Of one feed-forward part: sums of its results by token id, without massive tokens."""

    sums: Tensor
    """(vocabulary, outputs)"""
    counts: Tensor
    """(vocabulary,)"""

    def add_(self, known: Rows, kept: Tensor) -> None:
        if known.ids is None or len(known.ids) != len(known.x):
            raise ConversionError("token tables need one row for each token id")
        ids = known.ids[kept]
        self.sums.index_add_(0, ids, known.y[kept])
        self.counts.index_add_(0, ids, torch.ones_like(ids, dtype=self.counts.dtype))

    @property
    def mean(self) -> Tensor:
        """Over all tokens, (outputs,): what the block's bias has to give."""
        return self.sums.sum(dim=0) / self.counts.sum().clamp_min(1)

    def rows(self) -> Tensor:
        """Deviations from the mean, (vocabulary, outputs), shrunk by n / (n + 1) where a token occurred n times."""
        return (self.sums - self.counts[:, None] * self.mean) / (self.counts[:, None] + 1)

    def without_itself(self, y: Tensor, ids: Tensor | None) -> Tensor:
        """The row of each token had it not been among those that the table was made of, (tokens, outputs)."""
        assert ids is not None
        counts, mean = self.counts[ids, None], self.mean
        others = self.sums[ids] - counts * mean - (y - mean)
        return torch.where(counts > 0, others / counts.clamp_min(1), 0.0)


@torch.no_grad()
def token_means(
    model: nn.Module, teacher: nn.Module, converted: Sequence[Converted], batches: Iterable[Any]
) -> dict[str, TokenMeans]:
    """Fill the token tables of `model` from what the `teacher` returns on `batches`; the means by path.

    Raises:
        ConversionError: the teacher's rows are not one for each token.
    """
    means: dict[str, TokenMeans] = {}
    tables: dict[str, TokenTable] = {}
    for each in converted:
        table = wrapper_of(model, each, TokenTable)
        assert table is not None
        tables[each.row.path] = table
        sums = torch.zeros(table.entries.shape, device=table.entries.device)
        means[each.row.path] = TokenMeans(sums, sums.new_zeros(len(sums)))
    if not means:
        return means
    for found in each_pass(teacher, [each.row for each in converted], batches, with_ids=True):
        for each in converted:
            known, massive = found[each.row.path], wrapper_of(model, each, Massive)
            kept = known.x.new_ones(len(known.x), dtype=torch.bool)
            means[each.row.path].add_(known, kept if massive is None else ~massive.is_massive(known.x))
    for path, table in tables.items():
        table.fill_(means[path].rows())
    return means
