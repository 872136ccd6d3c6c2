"""`find_mlps`: what in a model is a feed-forward part, by what it does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lutra.errors import ConversionError
from lutra.models.convert import fused
from lutra.models.convert.candidate import Candidate, holder, weights_of
from lutra.models.convert.contract import broken_contract, looks_like_one, role_of, same_function
from lutra.models.convert.forms import Fit, fits
from lutra.models.convert.fused import one_expert_at_a_time as _loop
from lutra.models.convert.places import block_path, width
from lutra.models.convert.plan import Dense, Found, Places, Plan, any_matches, matches
from lutra.models.convert.record import (
    SLICES,
    Recording,
    evaluating,
    record,
)
from lutra.models.convert.segment import Failure, Linear, Segment, find_segments
from lutra.models.convert.trial import try_out
from lutra.nn.weightless import WeightlessBlock

STRUCTURE_ONLY = "judged by structure alone, without weights: nothing was tried out"


def find_mlps(
    model: nn.Module,
    *example: Any,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    strict: bool = True,
    **keywords: Any,
) -> Plan:
    """Find the feed-forward parts of any model by what they do in one forward pass of an example.

    `example` and `keywords` are what the model is called with: at least two tokens; a dictionary alone is taken as
    keywords. A feed-forward part is one or more linear layers that read the same value, something that is not linear,
    and one linear layer, such that the whole is a function of each row (token) alone, the same for all rows, whose
    inner values nobody else reads. By default those are converted whose result is added to what they read, or whose
    result has the width of their input and is read by further layers; heads are not. `include` and `exclude` name
    others by path, or by `re:` and a regular expression. Whatever is to be converted is tried: the model with the
    original functions in the blocks' places must return exactly what it returns now.

    Nothing in the model is changed. A model without memory (on the meta device) is judged by its structure alone.

    Raises:
        ConversionError: the model cannot run on the example; a pattern names nothing; or, unless `strict` is False,
            there is nothing to convert: the message lists the nearest candidates and why they are none.
    """
    args, kwargs = call_arguments(example, keywords)
    structure_only = any(parameter.is_meta for parameter in model.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            with contextlib.nullcontext() if structure_only else _loop(model):
                recording = record(model, args, kwargs)
        except ConversionError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise ConversionError(f"{type(model).__name__} cannot run on the example ({what})") from error
    candidates, failures, linears = _candidates(recording)
    failures = [replace(each, feedforward=each.feedforward and looks_like_one(each)) for each in failures]
    rows = [each for each in candidates if not each.reason or role_of(each.first) == "feed-forward"]
    for candidate in rows:
        _decide(candidate, include, exclude)
    _check_patterns(rows, failures, (*include, *exclude))
    _settle_shared(recording, rows)
    exact = None if structure_only else try_out(model, args, kwargs, recording, rows)
    found = [candidate.row() for candidate in rows]
    found += _failed_rows(recording, failures)
    found += list(_experts_without_rows(recording, rows, found))
    notes = (STRUCTURE_ONLY,) if structure_only else ()
    plan = _with_dense(Plan(type(model).__name__, tuple(found), (), exact, notes), recording, linears, failures)
    if strict and not plan.converted:
        near = [candidate.row() for candidate in candidates if candidate not in rows]
        raise ConversionError(_nothing_found(replace(plan, found=(*plan.found, *near))))
    return plan


def call_arguments(example: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a model is called with a batch: a single dictionary is its keywords, a single tuple or list its arguments."""
    if len(example) == 1 and not keywords:
        if isinstance(example[0], Mapping):
            return (), dict(example[0])
        if isinstance(example[0], (tuple, list)) and not isinstance(example[0], Tensor):
            return tuple(example[0]), {}
    return tuple(example), dict(keywords)


def _candidates(recording: Recording) -> tuple[list[Candidate], list[Failure], list[Linear]]:
    segments, failures, linears = find_segments(recording)
    groups: dict[Any, list[Segment]] = {}
    for segment in segments:
        key = (frozenset().union(*(up.parameters for up in segment.ups)), segment.down.parameters)
        groups.setdefault(key, []).append(segment)
    candidates = []
    judged: dict[Any, str | None] = {}
    for group in groups.values():
        candidate = Candidate(recording, group)
        candidates.append(candidate)
        candidate.experts = fused.recognise(group)
        if candidate.experts is not None:
            continue
        broken = next((reason for each in group if (reason := _broken(each, judged))), None)
        if broken is None and any(not same_function(group[0], other) for other in group[1:]):
            stacked = any(linear.weight.op is not None and linear.weight.op.name in SLICES for linear in group[0].ups)
            broken = (
                "its experts are slices of one parameter, and it does not return their weighted sum"
                if stacked
                else "its weights serve for several functions"
            )
        if broken is not None:
            candidate.reason = broken
            candidate.possible = fits(group[0])
            continue
        candidate.possible = _common_fits(recording, group)
        candidate.fit = candidate.possible[0] if candidate.possible else None
        if candidate.fit is None:
            candidate.reason = "its linear layers are no modules of their own, and no module is it and nothing else"
    return candidates, failures, linears


def _broken(segment: Segment, judged: dict[Any, str | None]) -> str | None:
    """`broken_contract`; without weights, once for all layers that are built alike."""
    if not segment.down.weight.tensor.is_meta:
        return broken_contract(segment)
    ops = segment.ops()
    shapes = tuple(tuple(value.tensor.shape) for op in ops for value in op.inputs)
    key = (tuple(op.name for op in ops), shapes, type(holder(segment)))
    if key not in judged:
        judged[key] = broken_contract(segment)
    return judged[key]


def _common_fits(recording: Recording, group: list[Segment]) -> list[Fit]:
    """The forms in which every pass of a group can be replaced, where its layers serve for nothing else."""
    found = []
    for fit in fits(group[0]):
        same = [other for segment in group for other in fits(segment) if _equal(fit, other)]
        served = [fit.block, *fit.silent, *([fit.end] if fit.end else [])]
        if len(same) == len(group) and all(len(recording.calls[module]) == len(group) for module in served):
            found.append(fit)
    return found


def _equal(one: Fit, other: Fit) -> bool:
    return one.modules == other.modules and (one.end is None) == (other.end is None)


def _decide(candidate: Candidate, include: Sequence[str], exclude: Sequence[str]) -> None:
    """Convert or leave alone, for what could be converted."""
    if candidate.reason:
        return
    row = candidate.row()
    paths = (row.path, *row.aliases)
    if any_matches(exclude, paths):
        candidate.reason = "left alone as asked (exclude)"
    elif any_matches(include, paths):
        candidate.note = "asked for (include)"
    elif row.role == "head":
        candidate.reason = "its result is the model's output (a head); name it in include to convert it all the same"
    elif row.role == "inner" and row.inputs != row.outputs:
        candidate.reason = (
            f"its result is not added to what it read and has another width ({row.inputs} to {row.outputs}: a "
            "projection, an embedding, a gate); name it in include to convert it all the same"
        )


def _check_patterns(rows: list[Candidate], failures: list[Failure], patterns: Sequence[str]) -> None:
    paths = [path for row in (each.row() for each in rows) for path in (row.path, *row.aliases)]
    paths += [failure.down.op.call.path for failure in failures if failure.feedforward]
    for pattern in patterns:
        if not any(matches(pattern, path) for path in paths):
            raise ConversionError(f"{pattern!r} matches nothing that was found; found are {', '.join(paths) or 'none'}")


def _settle_shared(recording: Recording, rows: list[Candidate]) -> None:
    """An activation may only be passed through if it serves for nothing but what is converted."""
    changed = True
    while changed:
        changed = False
        covered: dict[nn.Module, int] = {}
        for candidate in rows:
            if candidate.fit is not None and not candidate.reason:
                for module in candidate.fit.passed:
                    covered[module] = covered.get(module, 0) + len(candidate.segments)
        for candidate in rows:
            if candidate.fit is None or candidate.reason:
                continue
            shared = [m for m in candidate.fit.passed if covered[m] != len(recording.calls[m])]
            if shared:
                candidate.next_fit(f"{recording.paths[shared[0]][0]} serves for other layers too")
                changed = True


def _failed_rows(recording: Recording, failures: list[Failure]) -> list[Found]:
    """Rows for what looks like a feed-forward part and is none."""
    rows = []
    done: set[frozenset[str]] = set()
    for failure in (each for each in failures if each.feedforward):
        linears = [*failure.ups, failure.down]
        names = frozenset().union(*(linear.parameters for linear in linears))
        if names in done:
            continue
        done.add(names)
        down = failure.down
        rows.append(
            Found(
                path=down.op.call.path,
                kind=type(down.op.call.parent.module if down.op.call.parent else recording.model).__name__,
                form="none",
                inputs=failure.ups[0].inputs if failure.ups else down.inputs,
                hidden=down.inputs,
                outputs=down.outputs,
                gated=len(failure.ups) > 1,
                calls=1,
                rows=down.rows,
                weights=weights_of(recording, names),
                macs=sum(linear.rows * linear.inputs * linear.outputs for linear in linears),
                role="feed-forward",
                convert=False,
                reason=failure.reason,
                parameters=tuple(sorted(names)),
            )
        )
    return rows


def _experts_without_rows(recording: Recording, rows: list[Candidate], found: list[Found]) -> Iterator[Found]:
    """Modules beside a converted one, of its class and with its shapes, that the example did not reach."""
    model = recording.model
    known = {path for each in found for path in (each.path, *each.aliases)}
    for candidate, row in zip(rows, found, strict=False):
        if candidate.fit is None or candidate.reason or candidate.fit.form != "module":
            continue
        module = candidate.fit.block
        parent_path, _, _ = row.path.rpartition(".")
        parent = model.get_submodule(parent_path)
        if not isinstance(parent, (nn.ModuleList, nn.ModuleDict)):
            continue
        shapes = [(name, p.shape) for name, p in module.named_parameters()]
        for name, other in parent.named_children():
            path = f"{parent_path}.{name}"
            reached = any(call.ops for call in recording.calls.get(other, []))
            alike = type(other) is type(module) and [(n, p.shape) for n, p in other.named_parameters()] == shapes
            if path in known or reached or not alike or not _same_class_function(module, other, candidate.first):
                continue
            prefix = f"{row.path}."
            names = tuple(sorted(path + "." + n.removeprefix(prefix) for n in row.parameters))
            new = replace(
                row, path=path, form="experts", calls=0, rows=0, macs=0, aliases=(), places=Places(path),
                parameters=names, reason="no row of the example reached it; of the class and shapes of " + row.path,
                block_paths=(block_path("module", path, row.channels_first),),
            )  # fmt: skip
            known.add(path)
            yield new


def _same_class_function(module: nn.Module, other: nn.Module, segment: Segment) -> bool:
    """Whether `module` with the parameters of `other` computes what `other` computes."""
    state = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    like = segment.x.tensor
    x = torch.randn(8, segment.inputs, generator=torch.Generator().manual_seed(3)).to(like)
    try:
        with torch.no_grad(), evaluating(module), evaluating(other):
            return bool(torch.equal(torch.func.functional_call(module, state, (x,)), other(x)))
    except (RuntimeError, TypeError, ValueError):
        return False


def _with_dense(plan: Plan, recording: Recording, linears: list[Linear], failures: list[Failure]) -> Plan:
    """The plan with everything that stays dense: refused feed-forward parts, and all other linear layers."""
    dense: list[Dense] = []
    converted = {name for row in plan.converted for name in row.parameters}
    counted = set(converted)
    for row in plan.found:
        if row.convert or row.role != "feed-forward":
            continue
        own = frozenset(row.parameters) - counted
        counted |= own
        dense.append(Dense(row.path, weights_of(recording, own), row.macs, "feed-forward", row.reason))
    reasons = {failure.down.parameters: failure.reason for failure in failures}
    others: dict[frozenset[str], list[Linear]] = {}
    for linear in linears:
        if not linear.parameters & counted:
            others.setdefault(linear.parameters, []).append(linear)
    for names, passes in others.items():
        macs = sum(each.rows * each.inputs * each.outputs for each in passes)
        where = next(iter(sorted(names))).rpartition(".")[0]
        reason = reasons.get(names, "no feed-forward part")
        dense.append(Dense(where, weights_of(recording, names), macs, "other", reason))
    return replace(plan, left_dense=tuple(dense))


def _nothing_found(plan: Plan) -> str:
    if plan.found:
        near = sorted(plan.found, key=lambda row: -row.weights)[:3]
        told = "; ".join(f"{row.path} ({row.kind}): {row.reason}" for row in near)
        return f"{plan.model}: nothing to convert. Nearest: {told}"
    if plan.left_dense:
        linear = max(plan.left_dense, key=lambda dense: dense.weights)
        return (
            f"{plan.model}: nothing to convert: no linear layer is followed by something not linear and a linear "
            f"layer, row by row. The largest linear layer is {linear.path}"
        )
    return f"{plan.model}: nothing to convert: the forward pass of the example used no linear layer"


def refuse_converted(model: nn.Module) -> None:
    """Raises ConversionError if the model holds weightless blocks already."""
    for name, module in model.named_modules():
        if isinstance(module, WeightlessBlock):
            raise ConversionError(f"{name} is a weightless block already; make the plan on the original model")


__all__ = ["call_arguments", "find_mlps", "width"]
