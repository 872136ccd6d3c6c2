"""In which places of the module tree a segment can be replaced."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lutra.models.convert.plan import Form
from lutra.models.convert.record import SAME_ROWS, Call, Op, Value
from lutra.models.convert.segment import Linear, Segment, same_rows


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """The modules that change when a segment is replaced in one of the forms of `plan.Form`."""

    form: Form
    block: nn.Module
    passed: tuple[nn.Module, ...] = ()
    silent: tuple[nn.Module, ...] = ()
    end: nn.Module | None = None

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return (self.block, *self.passed, *self.silent, *((self.end,) if self.end is not None else ()))


def fits(segment: Segment) -> list[Fit]:
    """All ways to replace a segment, the cleanest first."""
    found: list[Fit] = []
    if (call := _own_module(segment)) is not None:
        found.append(Fit("module", call.module))
    owners = [_owner(linear) for linear in (*segment.ups, segment.down)]
    if any(owner is None for owner in owners):
        return found
    ups = [owner.module for owner in owners[:-1] if owner is not None]
    assert owners[-1] is not None
    down = owners[-1].module
    if len(ups) == 1 and (passed := _passable(segment)) is not None:
        modules = (*passed, down)
        parents = {call.parent for call in [*_calls_of(segment, modules), owners[0]] if call is not None}
        in_sequence = len(parents) == 1 and all(p is not None and isinstance(p.module, nn.Sequential) for p in parents)
        found.append(Fit("sequential" if in_sequence else "pair", ups[0], modules))
    if len({*ups, down}) == len(ups) + 1:
        found.append(Fit("inline", ups[0], (), tuple(ups[1:]), down))
    return found


def _calls_of(segment: Segment, modules: tuple[nn.Module, ...]) -> list[Call]:
    ops = [*segment.between, segment.down.op]
    return [call for op in ops for call in op.call.enclosing() if call.module in modules]


def _own_module(segment: Segment) -> Call | None:
    """The innermost module, not the model itself, that is the segment: its input, its output, and nothing else."""
    x, y = _start(segment.x, segment.channels_first), segment.y
    allowed = set(segment.ops())
    for call in segment.down.op.call.enclosing():
        if call.parent is None:
            return None
        given, returned = call.input_value(), call.output_value()
        if given is None or returned is None or any(up.op not in call.ops for up in segment.ups):
            continue
        if _start(given, segment.channels_first) is not x or _start(returned, segment.channels_first) is not y:
            continue
        names = {segment.recording.name_of(parameter) for parameter in call.module.parameters()}
        if all(op in allowed or _harmless(op) for op in call.ops) and names <= segment.parameters:
            return call
    return None


def _start(value: Value, channels_first: bool) -> Value:
    return value if channels_first else same_rows(value)


def _owner(linear: Linear) -> Call | None:
    """The call of a module that is this linear operation and nothing else."""
    call = linear.op.call
    given, returned = call.input_value(), call.output_value()
    if call.parent is None or given is None or returned is None:
        return None
    data, result = _start(linear.data, linear.channels_first), linear.op.outputs[0]
    if _start(given, linear.channels_first) is not data or _start(returned, linear.channels_first) is not result:
        return None
    return call if all(op is linear.op or _harmless(op) for op in call.ops) else None


def _harmless(op: Op) -> bool:
    return op.name in SAME_ROWS or all(output.constant for output in op.outputs)


def _passable(segment: Segment) -> tuple[nn.Module, ...] | None:
    """The modules between the linear layers if they can all become identities, in order; None if they cannot."""
    between = set(segment.between)
    modules: dict[nn.Module, None] = {}
    for op in segment.between:
        call = _outermost(op, between)
        if call is None:
            if op.name in SAME_ROWS:
                continue
            return None
        given, returned = call.input_value(), call.output_value()
        if given is None or returned is None:
            return None
        modules[call.module] = None
    return tuple(modules)


def _outermost(op: Op, between: set[Op]) -> Call | None:
    found = None
    for call in op.call.enclosing():
        if call.parent is None or not all(each in between or _harmless(each) for each in call.ops):
            break
        found = call
    return found
