"""What a segment must keep to be replaced: a function of each row alone, the same for all, read by nobody inside."""

from __future__ import annotations

import torch
from torch import Tensor

from lutra.models.convert.plan import Role
from lutra.models.convert.record import SAME_ROWS, Op, Recording, Value
from lutra.models.convert.segment import SPLIT, Failure, Segment, ancestors, as_linear, mixes, random_like, same_rows

_ADDITIONS = {"add", "add_", "sub", "sub_", "addcmul", "addcmul_", "lerp", "index_add", "index_add_", "rsub"}

_SELECTIONS = {"nonzero", "masked_select", "unique_dim", "_unique2", "unique_consecutive"}
"""Operations whose result has as many rows as their input's values say."""


def broken_contract(segment: Segment) -> str | None:
    """Why a segment is not a function f(x) of each row, or None if it is."""
    reason = _read_by_others(segment) or _chooses_rows(segment) or _not_by_rows(segment)
    segment.made_up.clear()
    return reason


def looks_like_one(failure: Failure) -> bool:
    """Whether something that mixes rows stands where a feed-forward part stands, and is read by nobody inside."""
    segment = failure.segment
    if segment is None or role_of(segment) != "feed-forward":
        return False
    return failure.reason == SPLIT or _read_by_others(segment) is None  # the others that read it are experts, too


def _read_by_others(segment: Segment) -> str | None:
    recording = segment.recording
    inside = {*segment.between, segment.down.op}
    hidden = [value for up in segment.ups for value in up.op.outputs]
    hidden += [value for op in segment.between for value in op.outputs]
    returned = set(recording.outputs)
    for value in hidden:
        for op in recording.users.get(value, []):
            if op not in inside and any(not output.constant for output in op.outputs):
                place = op.call.path or "the model itself"
                return f"its hidden values are also read elsewhere ({op.name} in {place}), as by an adapter"
        if value in returned:
            return "its hidden values are among the model's outputs"
    return None


def _chooses_rows(segment: Segment) -> str | None:
    """Rows that a mask selects may all be there on the example, and not on other data."""
    for op in segment.between:
        masks = [value for value in op.inputs[1:] if value.tensor.dtype in (torch.bool, torch.uint8)]
        if op.name in _SELECTIONS or (op.name == "index" and masks):
            return f"which of its rows (tokens) go on depends on their values ({op.name})"
    return None


def _not_by_rows(segment: Segment) -> str | None:
    if segment.rows < 2:
        return "the example gives it a single row; give an example of two rows (tokens) or more"
    like = segment.x.tensor
    generator = torch.Generator().manual_seed(1)
    x = random_like(like, generator)
    rows = _rows(x, segment.channels_first)
    other = rows.clone()
    other[0] = random_like(like, generator, (rows.shape[1],))
    order = torch.randperm(len(rows), generator=generator).to(x.device)
    try:
        y, changed, permuted = (
            _rows(segment.run(_shaped(r, x, segment.channels_first)), segment.channels_first)
            for r in (rows, other, rows[order])
        )
    except (RuntimeError, IndexError, ValueError) as error:
        return f"what it computes depends on more than its input ({str(error).splitlines()[0][:80]})"
    if any(len(result) != len(rows) for result in (y, changed, permuted)):
        return "it returns another number of rows (tokens) than it reads, or one that depends on their values"
    tolerance = {torch.float64: 1e-8, torch.float32: 1e-4}.get(like.dtype, 5e-2)
    limit = tolerance * float(y.float().abs().max() + 1e-6)

    def differ(a: Tensor, b: Tensor) -> bool:
        return not float((a.float() - b.float()).abs().max()) <= limit

    if not y.isfinite().all():
        return "it returns NaN or infinity for ordinary rows"
    if differ(changed[1:], y[1:]):
        return "it mixes rows (tokens): another value in one changes others"
    if differ(permuted, y[order]):
        return "it treats rows (tokens) differently by their place"
    return None


def same_function(first: Segment, second: Segment) -> bool:
    """Whether two segments compute the same function of a row."""
    count = min(first.rows, second.rows)
    generator = torch.Generator().manual_seed(2)
    pool = random_like(first.x.tensor, generator, (max(first.rows, second.rows), first.inputs))
    results = []
    for segment in (first, second):
        x = _shaped(pool[: segment.rows], segment.x.tensor, segment.channels_first)
        results.append(_rows(segment.run(x), segment.channels_first)[:count].float())
    limit = 1e-3 if first.x.tensor.dtype in (torch.float32, torch.float64) else 5e-2
    return bool((results[0] - results[1]).abs().max() <= limit * (results[0].abs().max() + 1e-6))


def role_of(segment: Segment) -> Role:
    """What becomes of the segment's result."""
    recording: Recording = segment.recording
    sources = ancestors([segment.x]) if segment.inputs == segment.outputs else set()
    sources |= {same_rows(value) for value in sources}
    waiting, seen = [segment.y], {segment.y}
    further = False
    while waiting:
        value = waiting.pop()
        for op in recording.users.get(value, []):
            if as_linear(op) is not None or mixes(op) is not None:
                further = True
                continue
            if op.name in _ADDITIONS and _joins(op, seen, sources):
                return "feed-forward"
            further |= any(each.constant and each.parameters for each in op.inputs)
            new = [output for output in op.outputs if output not in seen and not output.constant]
            seen |= set(new)
            waiting += new
    return "inner" if further else "head"


def adds_to_input(segment: Segment) -> bool:
    """Whether the result is added to the rows that the segment reads, and not to a stream from before a norm."""
    reached, waiting = {segment.y}, [segment.y]
    start = same_rows(segment.x)
    while waiting:
        value = waiting.pop()
        for op in segment.recording.users.get(value, []):
            others = [same_rows(other) for other in op.data() if other not in reached]
            if op.name in _ADDITIONS and others:
                return any(other is start for other in others)
            if op.name in SAME_ROWS:
                new = [output for output in op.outputs if output not in reached]
                reached |= set(new)
                waiting += new
    return False


def _joins(op: Op, results: set[Value], sources: set[Value]) -> bool:
    others = [value for value in op.data() if value not in results]
    return any(value in sources or same_rows(value) in sources for value in others)


def _rows(tensor: Tensor, channels_first: bool) -> Tensor:
    """(..., D) or (N, D, ...) -> (rows, D)."""
    moved = tensor.movedim(1, -1) if channels_first else tensor
    return moved.reshape(-1, moved.shape[-1])


def _shaped(rows: Tensor, like: Tensor, channels_first: bool) -> Tensor:
    """(rows, D) -> the shape of `like`."""
    if not channels_first:
        return rows.reshape(like.shape)
    return rows.reshape(like.movedim(1, -1).shape).movedim(-1, 1).contiguous()
