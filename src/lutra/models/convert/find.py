"""`find_mlps`: what in a model is a feed-forward part, by what it does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lutra.errors import ConversionError
from lutra.models.convert import fused
from lutra.models.convert.contract import adds_to_input, broken_contract, looks_like_one, role_of, same_function
from lutra.models.convert.forms import Fit, fits
from lutra.models.convert.fused import one_expert_at_a_time as _loop
from lutra.models.convert.places import Surgery, block_path, paths_of, put_row
from lutra.models.convert.plan import Dense, Found, Places, Plan, any_matches, matches
from lutra.models.convert.record import (
    SLICES,
    Recording,
    evaluating,
    output_tensors,
    plain_attention,
    record,
)
from lutra.models.convert.segment import Failure, Linear, Segment, find_segments

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
    exact = None if structure_only else _try_out(model, args, kwargs, recording, rows)
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


@dataclass(eq=False)
class _Candidate:
    """Segments of the same layers, and what is to become of them."""

    recording: Recording
    segments: list[Segment]
    reason: str = ""
    """Why it is not converted; empty if it is."""
    possible: list[Fit] = field(default_factory=list)
    fit: Fit | None = None
    note: str = ""
    experts: fused.Experts | None = None

    @property
    def first(self) -> Segment:
        return self.segments[0]

    def next_fit(self, reason: str) -> None:
        """Give up the present form, and take the next one or none."""
        self.possible = self.possible[1:]
        self.fit = self.possible[0] if self.possible else None
        if self.fit is None:
            self.reason = reason

    def row(self) -> Found:
        segment, recording = self.first, self.recording
        model = recording.model
        shown = self.fit or (self.possible[0] if self.possible else None)
        home = shown.block if shown is not None else segment.down.op.call.module
        paths = paths_of(model, home) or [segment.down.op.call.path]
        kind = type(_holder(segment)).__name__ if self.fit is None or self.fit.form != "module" else type(home).__name__
        places, blocks = Places(), tuple[str, ...]()
        if self.fit is not None:
            first = {module: paths_of(model, module)[0] for module in self.fit.modules}
            end = first[self.fit.end] if self.fit.end is not None else ""
            passed, silent = (tuple(first[m] for m in part) for part in (self.fit.passed, self.fit.silent))
            places = Places(first[self.fit.block], passed, silent, end)
            blocks = (block_path(self.fit.form, places.block, segment.channels_first),)
        if self.experts is not None:
            blocks = tuple(f"{paths[0]}.experts.{index}" for index in range(self.experts.count))
            places = Places(paths[0])
        convert = not self.reason
        form = "none" if not convert else "fused_experts" if self.experts else self.fit.form  # type: ignore[union-attr]
        names = _linear_parameters(self.segments)
        return Found(
            path=paths[0],
            kind=kind,
            form=form,
            inputs=segment.inputs,
            hidden=segment.hidden,
            outputs=segment.outputs,
            gated=len(segment.ups) > 1 or sum(up.outputs for up in segment.ups) > segment.hidden,
            calls=len(self.segments),
            rows=sum(each.rows for each in self.segments),
            weights=_weights(recording, names),
            macs=sum(each.macs for each in self.segments),
            role=role_of(segment),
            convert=convert,
            reason=self.reason or self._what(),
            aliases=tuple(paths[1:]),
            places=places,
            channels_first=segment.channels_first,
            block_paths=blocks,
            parameters=tuple(sorted(names)),
            adds_to_input=adds_to_input(segment),
        )

    def _what(self) -> str:
        text = f"{self.first.inputs} to {self.first.outputs} features"
        if self.experts is not None:
            text += f", {self.experts.count} experts"
        elif self.fit is not None and self.fit.form in ("pair", "sequential", "inline"):
            end = self.fit.end or self.fit.passed[-1]
            text += f", in place of everything up to {paths_of(self.recording.model, end)[0]}"
        return text + (f"; {self.note}" if self.note else "")


def _holder(segment: Segment) -> nn.Module:
    """The innermost module in which all of a segment runs."""
    for call in segment.down.op.call.enclosing():
        if all(up.op in call.ops for up in segment.ups):
            return call.module
    return segment.recording.model


def _candidates(recording: Recording) -> tuple[list[_Candidate], list[Failure], list[Linear]]:
    segments, failures, linears = find_segments(recording)
    groups: dict[Any, list[Segment]] = {}
    for segment in segments:
        key = (frozenset().union(*(up.parameters for up in segment.ups)), segment.down.parameters)
        groups.setdefault(key, []).append(segment)
    candidates = []
    judged: dict[Any, str | None] = {}
    for group in groups.values():
        candidate = _Candidate(recording, group)
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
    key = (tuple(op.name for op in ops), shapes, type(_holder(segment)))
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


def _decide(candidate: _Candidate, include: Sequence[str], exclude: Sequence[str]) -> None:
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


def _check_patterns(rows: list[_Candidate], failures: list[Failure], patterns: Sequence[str]) -> None:
    paths = [path for row in (each.row() for each in rows) for path in (row.path, *row.aliases)]
    paths += [failure.down.op.call.path for failure in failures if failure.feedforward]
    for pattern in patterns:
        if not any(matches(pattern, path) for path in paths):
            raise ConversionError(f"{pattern!r} matches nothing that was found; found are {', '.join(paths) or 'none'}")


def _settle_shared(recording: Recording, rows: list[_Candidate]) -> None:
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
                candidate.next_fit(f"{paths_of(recording.model, shared[0])[0]} serves for other layers too")
                changed = True


class _Original(nn.Module):
    """The original function, out of the recording, in a block's place."""

    def __init__(self, candidate: _Candidate) -> None:
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


def _try_out(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], recording: Recording, rows: list[_Candidate]
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
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], expected: list[Tensor], chosen: list[_Candidate]
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
                weights=_weights(recording, names),
                macs=sum(linear.rows * linear.inputs * linear.outputs for linear in linears),
                role="feed-forward",
                convert=False,
                reason=failure.reason,
                parameters=tuple(sorted(names)),
            )
        )
    return rows


def _experts_without_rows(recording: Recording, rows: list[_Candidate], found: list[Found]) -> Iterator[Found]:
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


def _linear_parameters(segments: list[Segment]) -> frozenset[str]:
    linears = [linear for segment in segments for linear in (*segment.ups, segment.down)]
    return frozenset().union(*(linear.parameters for linear in linears))


def _weights(recording: Recording, names: frozenset[str]) -> int:
    """Number of weights in matrices: biases and scales are no weights of a product."""
    return sum(t.numel() for name in names if (t := recording.named(name)).dim() >= 2)


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
        dense.append(Dense(row.path, _weights(recording, own), row.macs, "feed-forward", row.reason))
    reasons = {failure.down.parameters: failure.reason for failure in failures}
    others: dict[frozenset[str], list[Linear]] = {}
    for linear in linears:
        if not linear.parameters & counted:
            others.setdefault(linear.parameters, []).append(linear)
    for names, passes in others.items():
        macs = sum(each.rows * each.inputs * each.outputs for each in passes)
        where = next(iter(sorted(names))).rpartition(".")[0]
        reason = reasons.get(names, "no feed-forward part")
        dense.append(Dense(where, _weights(recording, names), macs, "other", reason))
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
