"""A conversion is tried before it is made: with the original functions in the blocks' places nothing may change."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lutra.models.convert import fused
from lutra.models.convert.candidate import Candidate
from lutra.models.convert.fused import one_expert_at_a_time as _loop
from lutra.models.convert.places import Surgery, put_row
from lutra.models.convert.record import (
    Recording,
    evaluating,
    output_tensors,
    plain_attention,
)


class _Original(nn.Module):
    """The original function, out of the recording, in a block's place."""

    def __init__(self, candidate: Candidate) -> None:
        super().__init__()
        self.segments, self.calls = candidate.segments, 0

    def forward(self, x: Tensor) -> Tensor:
        segment = self.segments[self.calls]
        self.calls += 1
        like = segment.x.tensor
        if segment.channels_first:  # the block is given (..., C)
            y = segment.run(x.movedim(-1, 1).reshape(like.shape))
            return y.movedim(1, -1)
        y = segment.run(x.reshape(like.shape).to(like.dtype))
        return y.view(*x.shape[:-1], segment.outputs)


def try_out(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], recording: Recording, rows: list[Candidate]
) -> bool | None:
    """Put the original functions into the blocks' places; what does not return the same is not converted."""
    expected = [value.tensor for value in recording.outputs]
    while True:
        chosen = [candidate for candidate in rows if not candidate.reason]
        if not chosen:
            return None
        problem = _differs(model, args, kwargs, expected, chosen)
        if problem is None:
            return True
        alone = [(each, _differs(model, args, kwargs, expected, [each])) for each in chosen]
        bad = [(each, why) for each, why in alone if why is not None] or [(each, problem) for each in chosen]
        for each, why in bad:
            each.next_fit(f"the model with its own function put there {why}")
            each.experts = None


def _differs(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], expected: list[Tensor], chosen: list[Candidate]
) -> str | None:
    surgery = Surgery(model)
    originals = [(each, fused.original(each.experts) if each.experts else _Original(each)) for each in chosen]
    try:
        try:
            for candidate, original in originals:
                if candidate.experts is not None:
                    surgery.put(candidate.experts.module, original)
                else:
                    put_row(surgery, candidate.row(), original)
            with torch.random.fork_rng(), evaluating(model), torch.no_grad(), plain_attention(), _loop(model):
                torch.manual_seed(0)
                found = output_tensors(model(*args, **kwargs))
        except Exception as error:  # whatever a model of someone else's may raise
            return f"fails ({type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''})"
    finally:
        surgery.undo()
    if any(isinstance(o, _Original) and o.calls != len(each.segments) for each, o in originals):
        return "does not call it as often"
    if len(found) != len(expected) or not all(map(_same, found, expected)):
        return "returns something else"
    return None


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
