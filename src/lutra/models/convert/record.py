"""One forward pass of any model, written down: every operation, what it read, and in which module call it ran.

Nothing here knows what a feed-forward part is. Operations are those of ATen as they reach the dispatcher, so that it
does not matter how a model spells them: modules, functions, operators, fused projections.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

SAME_ROWS = {
    "view", "_unsafe_view", "reshape", "_reshape_alias", "alias", "detach", "clone", "_to_copy", "unsqueeze", "squeeze",
    "expand", "lift_fresh", "contiguous",
}  # fmt: skip
"""Operations that only give another shape, type or copy: what they return has the same rows, if the same last width."""


SLICES = {"index", "select", "index_select"}


@dataclass(eq=False, repr=False)
class Value:
    """A tensor at one moment. `op` is None for what comes from outside: inputs, parameters, constants."""

    tensor: Tensor
    op: Op | None
    constant: bool
    parameters: frozenset[str] = frozenset()
    """Names of the parameters and buffers that a constant was computed from."""
    known: bool = True
    """False for a tensor that was changed through another one that shares its memory."""


@dataclass(eq=False, repr=False)
class Op:
    """One operation; tensors in `args` and `kwargs` are `Value`s."""

    index: int
    func: Any
    args: Any
    kwargs: Any
    inputs: list[Value]
    outputs: list[Value]
    call: Call

    @property
    def name(self) -> str:
        """Without namespace and overload: "addmm", "add_"."""
        return str(self.func._schema.name).partition("::")[2]

    def data(self) -> list[Value]:
        """What it read that depends on the model's input."""
        return [value for value in self.inputs if not value.constant]


@dataclass(eq=False, repr=False)
class Call:
    """One call of a module. The outermost, of the model itself, has no parent."""

    module: nn.Module
    path: str
    parent: Call | None
    arguments: list[Any] = field(default_factory=list)
    """Everything it was given that is not None; tensors as `Value`s."""
    results: list[Any] = field(default_factory=list)
    returns_tensor: bool = False
    ops: list[Op] = field(default_factory=list)
    """Of this call itself and of all calls inside it."""

    def enclosing(self) -> Iterator[Call]:
        """This call and those around it, from the inside."""
        call: Call | None = self
        while call is not None:
            yield call
            call = call.parent

    def input_value(self) -> Value | None:
        """Its input, if it was given one floating tensor and nothing else."""
        if len(self.arguments) != 1 or not isinstance(self.arguments[0], Value):
            return None
        value: Value = self.arguments[0]
        return value if value.tensor.is_floating_point() else None

    def output_value(self) -> Value | None:
        """What it returned, if that was one tensor."""
        return self.results[0] if self.returns_tensor else None


class Recording:
    """Everything that happened in one forward pass."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.ops: list[Op] = []
        self.calls: dict[nn.Module, list[Call]] = {}
        self.paths: dict[nn.Module, list[str]] = {}
        """Every path that leads to a module, in the order of registration."""
        for path, module in model.named_modules(remove_duplicate=False):
            self.paths.setdefault(module, []).append(path)
        self.outputs: list[Value] = []
        self.users: dict[Value, list[Op]] = {}
        self.root = Call(model, "", None)
        self._values: dict[int, Value] = {}
        self._alive: list[Tensor] = []
        self._by_storage: dict[int, list[Tensor]] = {}
        self._by_name: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._named: dict[int, str] = {id(tensor): name for name, tensor in self._by_name.items()}
        self._inputs: set[int] = set()

    def value(self, tensor: Tensor) -> Value:
        """The present value of a tensor."""
        found = self._values.get(id(tensor))
        if found is None:
            name = self._named.get(id(tensor))
            constant = id(tensor) not in self._inputs
            found = Value(tensor, None, constant, frozenset({name}) if name else frozenset())
            self._set(tensor, found)
        return found

    def name_of(self, parameter: Tensor) -> str:
        """The name of a parameter or buffer of the model."""
        return self._named[id(parameter)]

    def named(self, name: str) -> Tensor:
        """A parameter or buffer by its name."""
        return self._by_name[name]

    def _set(self, tensor: Tensor, value: Value) -> None:
        self._values[id(tensor)] = value
        self._alive.append(tensor)  # so that no other tensor gets its id
        storage = _storage(tensor)
        if storage:
            self._by_storage.setdefault(storage, []).append(tensor)

    def add(self, func: Any, args: Any, kwargs: Any, result: Any, call: Call) -> None:
        """Write down an operation that has just run."""
        changed = _changed(func, args, kwargs)
        described = tree_map(self._described, (args, kwargs))
        inputs = [leaf for leaf in tree_leaves(described) if isinstance(leaf, Value)]
        op = Op(len(self.ops), func, described[0], described[1], inputs, [], call)
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)] or changed
        if not outputs:
            return
        data = any(not value.constant for value in inputs) and not _takes_a_slice(op)
        sources = frozenset().union(*(value.parameters for value in inputs if value.constant))
        for tensor in outputs:
            value = Value(tensor, op, not data, frozenset() if data else sources)
            op.outputs.append(value)
        for tensor in changed:
            for other in self._by_storage.get(_storage(tensor), []):
                if not any(other is output for output in outputs):
                    self._values[id(other)] = Value(other, op, not data, known=False)
        for value in op.outputs:
            self._set(value.tensor, value)
        for value in inputs:
            self.users.setdefault(value, []).append(op)
        self.ops.append(op)
        for around in call.enclosing():
            around.ops.append(op)

    def _described(self, leaf: Any) -> Any:
        return self.value(leaf) if isinstance(leaf, Tensor) else leaf

    def begin(self, call: Call, args: Any, kwargs: Any) -> None:
        call.arguments = [self._described(leaf) for leaf in tree_leaves((args, kwargs)) if leaf is not None]
        self.calls.setdefault(call.module, []).append(call)

    def end(self, call: Call, result: Any) -> None:
        call.results = [self._described(leaf) for leaf in tree_leaves(result) if leaf is not None]
        call.returns_tensor = isinstance(result, Tensor)

    def give(self, inputs: Any) -> None:
        """Tell which tensors are the model's input."""
        tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
        self._inputs |= {id(tensor) for tensor in tensors}
        self._alive += tensors


class _Mode(TorchDispatchMode):
    def __init__(self, recording: Recording) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording, self.call = recording, recording.root

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.recording.add(func, args, kwargs or {}, result, self.call)
        return result


def record(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
    """Run `model` once in evaluation mode and write everything down; modes and hooks are as before afterwards."""
    recording = Recording(model)
    recording.give((args, kwargs))
    mode = _Mode(recording)
    handles: list[Any] = []
    names = {module: name for name, module in model.named_modules()}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        if module is model and mode.call.parent is None and model not in recording.calls:
            recording.begin(recording.root, args, kwargs)
            return
        mode.call = Call(module, names[module], mode.call)
        recording.begin(mode.call, args, kwargs)

    def after(module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        recording.end(mode.call, result)
        mode.call = mode.call.parent or recording.root

    try:
        for module in model.modules():
            if not isinstance(module, torch.jit.ScriptModule):
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                handles.append(module.register_forward_hook(after, with_kwargs=True))
        with evaluating(model), torch.no_grad(), plain_attention(), mode:
            result = model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    recording.outputs = [recording.value(leaf) for leaf in output_tensors(result)]
    return recording


def output_tensors(result: Any) -> list[Tensor]:
    """Every tensor in what a model returned: tensors, tuples, dictionaries, output and cache objects."""
    found: list[Tensor] = []
    seen: set[int] = set()

    def visit(item: Any, depth: int) -> None:
        if isinstance(item, Tensor):
            found.append(item)
        elif id(item) in seen or depth > 6 or isinstance(item, (str, bytes, int, float, type(None), nn.Module)):
            return
        elif isinstance(item, dict):
            seen.add(id(item))
            _each(item.values(), depth)
        elif isinstance(item, (list, tuple, set)):
            seen.add(id(item))
            _each(item, depth)
        elif hasattr(item, "__dict__"):
            seen.add(id(item))
            _each(vars(item).values(), depth)

    def _each(items: Iterable[Any], depth: int) -> None:
        for item in items:
            visit(item, depth + 1)

    visit(result, 0)
    return found


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; every module is in its own mode again afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Without the fused path of `nn.TransformerEncoder`, which passes its linear layers by."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _takes_a_slice(op: Op) -> bool:
    """One expert's slice of a parameter: whichever it is, it is a weight and no data."""
    if op.name not in SLICES or not op.inputs[0].parameters:
        return False
    return all(value.constant or value.tensor.numel() == 1 for value in op.inputs)


def _storage(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # sparse, functional and other tensors without a memory of their own
        return 0


def _changed(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The arguments that an operation writes into."""
    if not func._schema.is_mutable:
        return []
    changed: list[Any] = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            changed += tree_flatten(given)[0]
    return [leaf for leaf in changed if isinstance(leaf, Tensor)]
