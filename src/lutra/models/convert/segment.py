"""Feed-forward parts of a recording, found in the flow of data: linear layers, something not linear, a linear layer.

A segment starts at linear operations that all read the same value `x` and ends at the one linear operation that reads
what was made of their results. Where it starts and ends, and that nothing else reads what is inside, is read off the
recording; what it computes is found out by running its operations again on other rows (`Segment.run`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lutra.models.convert.record import SAME_ROWS, Op, Recording, Value
from lutra.nn.weightless import WeightlessBlock

_CONTRACTIONS = {
    "mm", "bmm", "addmm", "baddbmm", "linear", "matmul", "dot", "mv", "addmv", "_grouped_mm", "grouped_mm",
    "_scaled_mm", "addbmm", "addr", "einsum", "_cdist_forward", "_efficientzerotensor",
}  # fmt: skip
_ATTENTION = "_scaled_dot_product"
_CONVOLUTIONS = {"convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution", "convolution_overrideable"}
SPLIT = "its rows are split, each part for other slices of one parameter (experts one after the other)"
_RECURRENT = ("lstm", "gru", "rnn", "mkldnn_rnn")


@dataclass(frozen=True, eq=False, repr=False)
class Linear:
    """A linear operation on rows of data: `x W`, or a convolution that looks at one place at a time."""

    op: Op
    data: Value
    weight: Value
    channels_first: bool

    @property
    def parameters(self) -> frozenset[str]:
        """Names of everything that its weight and bias were computed from."""
        return frozenset().union(*(value.parameters for value in self.op.inputs if value.constant))

    @property
    def inputs(self) -> int:
        return self.data.tensor.shape[1 if self.channels_first else -1]

    @property
    def outputs(self) -> int:
        return self.op.outputs[0].tensor.shape[1 if self.channels_first else -1]

    @property
    def rows(self) -> int:
        return self.data.tensor.numel() // max(1, self.inputs)


def as_linear(op: Op) -> Linear | None:
    """The operation as a linear layer on its data, if it is one: exactly one factor is data, and that comes first."""
    name, inputs = op.name, op.inputs
    if name in ("mm", "bmm", "linear", "matmul", "_grouped_mm", "grouped_mm") and len(inputs) >= 2:
        data, weight = inputs[0], inputs[1]
    elif name in ("addmm", "baddbmm") and len(inputs) == 3:
        bias, data, weight = inputs
        if not bias.constant:
            return None
    elif name in _CONVOLUTIONS and _is_pointwise(op):
        data, weight = inputs[0], inputs[1]
        return None if data.constant or not weight.constant else Linear(op, data, weight, True)
    else:
        return None
    if data.constant or not weight.constant or not weight.parameters:
        return None
    return Linear(op, data, weight, False)


def _is_pointwise(op: Op) -> bool:
    """aten::convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)."""
    if op.name != "convolution" or len(op.args) < 9 or len(op.inputs) < 2:
        return False
    weight = op.inputs[1].tensor
    _, _, _, stride, padding, _, transposed, _, _ = op.args[:9]
    one_place = all(size == 1 for size in weight.shape[2:]) and all(s == 1 for s in stride)
    return one_place and all(p == 0 for p in padding) and not transposed


def mixes(op: Op) -> str | None:
    """Why an operation ends the search for a feed-forward part, or None if it may stand inside one."""
    name = op.name
    if name.startswith(_ATTENTION) or (name in _CONTRACTIONS and len(op.data()) >= 2):
        return "attention"
    if name in _CONVOLUTIONS:
        return "a convolution"
    if name in _CONTRACTIONS:
        return "a product that mixes rows"
    if name.startswith(_RECURRENT) or name in ("_fft_r2c", "_fft_c2c", "cumsum", "cumprod", "embedding_bag"):
        return f"{name} over the sequence"
    return None


def same_rows(value: Value) -> Value:
    """The earliest value with the same rows: shapes, types and copies are undone as long as the last width stays."""
    while (
        value.op is not None
        and value.known
        and value.op.name in SAME_ROWS
        and len(value.op.inputs) == 1
        and value.op.inputs[0].tensor.shape[-1:] == value.tensor.shape[-1:]
    ):
        value = value.op.inputs[0]
    return value


@dataclass(eq=False, repr=False)
class Segment:
    """One pass through a feed-forward part."""

    recording: Recording
    ups: list[Linear]
    down: Linear
    x: Value
    between: list[Op]
    """All operations between the linear ones, in the order in which they ran."""
    made_up: dict[Value, Tensor] = field(default_factory=dict)
    """Weights of a model without memory, while the segment is judged."""

    @property
    def channels_first(self) -> bool:
        return self.down.channels_first

    @property
    def inputs(self) -> int:
        return self.ups[0].inputs

    @property
    def hidden(self) -> int:
        return self.down.inputs

    @property
    def outputs(self) -> int:
        return self.down.outputs

    @property
    def y(self) -> Value:
        return self.down.op.outputs[0]

    @property
    def rows(self) -> int:
        return self.down.rows

    @property
    def macs(self) -> int:
        return sum(linear.rows * linear.inputs * linear.outputs for linear in [*self.ups, self.down])

    @property
    def parameters(self) -> frozenset[str]:
        """Names of the parameters and buffers of its linear layers and of what stands between them."""
        inner = (value.parameters for op in self.between for value in op.inputs if value.constant)
        return frozenset().union(*(linear.parameters for linear in [*self.ups, self.down]), *inner)

    def ops(self) -> list[Op]:
        """Everything from `x` to `y`, in order."""
        return sorted({*self._entries(), *self.between, *(up.op for up in self.ups), self.down.op}, key=_index)

    def _entries(self) -> Iterator[Op]:
        for up in self.ups:
            value = up.data
            while value is not self.x:
                assert value.op is not None
                yield value.op
                value = value.op.inputs[0]

    @torch.no_grad()
    def run(self, x: Tensor, replaced: dict[str, Tensor] | None = None, stop: Value | None = None) -> Tensor:
        """The segment on other rows: a tensor of the shape of `x.tensor` -> one of the shape of `y.tensor`.

        `replaced` gives parameters other values; `stop` returns that inner value instead of `y`.
        """
        values: dict[Value, Tensor] = {**self.made_up, self.x: x}
        names = replaced or {}

        def look_up(leaf: Any) -> Any:
            if not isinstance(leaf, Value):
                return leaf
            if leaf in values:
                return values[leaf]
            if leaf.op is None and leaf.parameters & names.keys():
                return names[next(iter(leaf.parameters))]
            if leaf.constant and leaf.op is not None and leaf.parameters & names.keys():
                values[leaf] = _execute(leaf.op, look_up)[leaf.op.outputs.index(leaf)]
                return values[leaf]
            return leaf.tensor if not leaf.tensor.is_meta else _made_up(leaf, self.made_up)

        for op in self.ops():
            values.update(zip(op.outputs, _execute(op, look_up), strict=True))
            if stop is not None and stop in op.outputs:
                break
        return values[self.y if stop is None else stop]

    def middle(self, hidden: list[Tensor]) -> Tensor:
        """What stands between, alone: results of the `ups` -> what `down` reads."""
        values: dict[Value, Tensor] = {up.op.outputs[0]: h for up, h in zip(self.ups, hidden, strict=True)}

        def look_up(leaf: Any) -> Any:
            if not isinstance(leaf, Value) or leaf in values:
                return values[leaf] if isinstance(leaf, Value) else leaf
            return leaf.tensor if not leaf.tensor.is_meta else _made_up(leaf, values)

        with torch.no_grad():
            for op in self.between:
                values.update(zip(op.outputs, _execute(op, look_up), strict=True))
        return values.get(self.down.data, self.down.data.tensor)


def random_like(tensor: Tensor, generator: torch.Generator, shape: tuple[int, ...] | None = None) -> Tensor:
    """Standard normal values of the shape and type of a tensor, where it lies; on the CPU for one without memory."""
    drawn = torch.randn(tensor.shape if shape is None else shape, generator=generator)
    return drawn.to(tensor.dtype) if tensor.is_meta else drawn.to(tensor)


def _made_up(value: Value, values: dict[Value, Tensor]) -> Tensor:
    """Values for a constant of a model without memory (the meta device): random weights, what follows from them."""
    if value in values:
        return values[value]
    if value.op is not None:
        made = _execute(value.op, lambda leaf: _made_up(leaf, values) if isinstance(leaf, Value) else leaf)
        values[value] = made[value.op.outputs.index(value)]
    elif value.tensor.is_floating_point():
        fan_in = max(1, value.tensor.shape[-1]) if value.tensor.dim() >= 2 else 1
        drawn = torch.rand(value.tensor.shape, generator=torch.Generator().manual_seed(value.tensor.dim()))
        values[value] = ((drawn - 0.5) * (12 / fan_in) ** 0.5).to(value.tensor.dtype)
    else:
        values[value] = torch.zeros(value.tensor.shape, dtype=value.tensor.dtype)
    return values[value]


def _index(op: Op) -> int:
    return op.index


def _execute(op: Op, look_up: Any) -> list[Tensor]:
    """Run an operation on other values, never writing into what it was given."""
    args, kwargs = tree_map(look_up, (op.args, op.kwargs))
    if str(kwargs.get("device")) == "meta":
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if op.func._schema.is_mutable:
        args = tuple(leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in args)
    result = op.func(*args, **kwargs)
    found = [leaf for leaf in (result if isinstance(result, (list, tuple)) else [result]) if isinstance(leaf, Tensor)]
    return found or [leaf for leaf in args if isinstance(leaf, Tensor)][:1]


@dataclass(frozen=True, eq=False, repr=False)
class Failure:
    """A linear layer after something that is not a feed-forward part, and why."""

    down: Linear
    reason: str
    feedforward: bool
    """Whether it looks like one all the same, so that its weights count as feed-forward weights."""
    ups: tuple[Linear, ...] = ()
    segment: Segment | None = None


def find_segments(recording: Recording) -> tuple[list[Segment], list[Failure], list[Linear]]:
    """Segments, linear layers that end something else with the reason, and all linear operations."""
    linears = {op: linear for op in recording.ops if (linear := as_linear(op)) is not None and not _in_a_block(op)}
    segments: list[Segment] = []
    failures: list[Failure] = []
    for linear in linears.values():
        found = _trace(recording, linear, linears)
        if isinstance(found, Segment):
            segments.append(found)
        elif found is not None:
            failures.append(found)
    return segments, failures, list(linears.values())


def _in_a_block(op: Op) -> bool:
    return any(isinstance(call.module, WeightlessBlock) for call in op.call.enclosing())


def _trace(recording: Recording, down: Linear, linears: dict[Op, Linear]) -> Segment | Failure | None:
    """Walk back from a linear operation to those before it."""
    ups: list[Linear] = []
    between: set[Op] = set()
    stopped: set[str] = set()
    waiting, seen = [down.data], {down.data}
    x: Value | None = None
    while waiting:
        value = waiting.pop()
        op = value.op
        if op is None or not value.known:
            return None if op is None else Failure(down, "what it reads was changed in place through a view", False)
        if op in linears:
            up = linears[op]
            source = up.data if up.channels_first else same_rows(up.data)
            if x is not None and source is not x:
                if up.parameters != ups[0].parameters:
                    return None
                stopped.add(SPLIT)
            x = source
            if up not in ups:
                ups.append(up)
            continue
        reason = mixes(op)
        if reason == "attention":
            return None
        if reason is not None:
            stopped.add(reason)
        between.add(op)
        for before in op.data():
            if before not in seen:
                seen.add(before)
                waiting.append(before)
    if x is None:
        return None
    ups.sort(key=lambda up: up.op.index)
    segment = Segment(recording, ups, down, x, sorted(between, key=_index))
    channels = {linear.channels_first for linear in [*ups, down]}
    if SPLIT in stopped:
        return Failure(down, SPLIT, stopped == {SPLIT}, tuple(ups), segment)
    if stopped:
        convolutional = down.channels_first or any(up.channels_first for up in ups)
        reason = f"{' and '.join(sorted(stopped))} stands between its linear layers, so it mixes rows"
        return Failure(down, reason, not convolutional, tuple(ups), segment)
    if len(channels) > 1:
        return Failure(down, "rows and channels are exchanged between its linear layers", False, tuple(ups))
    return segment if segment.rows > 0 and _is_nonlinear(segment) else None


def _is_nonlinear(segment: Segment) -> bool:
    """Whether what stands between is more than a linear map or a norm.

    A linear map with a bias is odd around a constant and scales with its input; a norm is odd around a constant and
    does not scale at all. An activation is neither.
    """
    generator = torch.Generator().manual_seed(0)
    hidden = []
    for up in segment.ups:
        hidden.append(random_like(up.op.outputs[0].tensor, generator))
    try:
        zero, once, minus, twice = (segment.middle([c * h for h in hidden]).double() for c in (0.0, 1.0, -1.0, 2.0))
    except RuntimeError:
        return True  # it does not run alone; the contract will say so
    tolerance = 1e-3 if segment.y.tensor.dtype in (torch.float32, torch.float64) else 5e-2
    size = float(once.abs().mean()) + 1e-12
    parts = (once, minus, twice, zero)
    if not all(part.isfinite().all() for part in parts) or len({part.shape for part in parts}) > 1:
        return True  # nor is one whose rows depend on their values linear

    def equal(a: Tensor, b: Tensor) -> bool:
        return float((a - b).abs().mean()) <= tolerance * size

    constant = (once + minus) / 2
    odd = bool(
        float((constant - constant.reshape(-1, constant.shape[-1]).mean(dim=0)).abs().mean()) <= tolerance * size
    )
    scales = equal(twice - zero, 2 * (once - zero))
    fixed = equal(twice, once)
    return not (odd and (scales or fixed))


def ancestors(values: Iterable[Value]) -> set[Value]:
    """These values and all that they were computed from."""
    found = set(values)
    waiting = list(found)
    while waiting:
        op = waiting.pop().op
        if op is not None:
            new = set(op.data()) - found
            found |= new
            waiting += new
    return found
