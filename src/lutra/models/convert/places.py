"""The modules that stand in a converted model beside the blocks, and the surgery that puts them there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lutra.errors import ConversionError
from lutra.models.convert.plan import Found


class Passed(nn.Module):
    """Stands where an activation or a last linear layer stood: gives back what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class ChannelsFirst(nn.Module):
    """A block for images: (N, C, ...) -> (N, C_out, ...)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x.movedim(1, -1))
        return y.movedim(-1, 1)


class Carrier(nn.Module):
    """A block in the place of the first linear layer whose result comes out where the last one stood.

    What the model does in between, with functions of its own, it does to zeros of the width that it expects.
    """

    def __init__(self, block: nn.Module, hidden: int, channels_first: bool) -> None:
        super().__init__()
        self.block, self.hidden, self.channels_first = block, hidden, channels_first
        self.carried: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.carried[:] = [self.block(x)]  # a pass that failed half-way may have left one
        return zeros(x, self.hidden, self.channels_first)

    def extra_repr(self) -> str:
        return f"hidden={self.hidden}"


class Massive(nn.Module):
    """A block, and a row of its own for tokens whose result is massive: `y = row where x[feature] > threshold`.

    Some models answer one token (the first, a separator) with values a hundred times as large as all others. One
    comparison tells it apart; in the block it would take the whole range of the integers. Without such tokens the
    threshold is infinite and this is the block.
    """

    def __init__(self, block: nn.Module, outputs: int) -> None:
        super().__init__()
        self.block = block
        self.feature: Tensor
        self.threshold: Tensor
        self.row: Tensor
        self.register_buffer("feature", torch.zeros((), dtype=torch.int64))
        self.register_buffer("threshold", torch.tensor(torch.inf))
        self.register_buffer("row", torch.zeros(outputs))

    def is_massive(self, x: Tensor) -> Tensor:
        """(..., D) -> (...), bool."""
        return x.index_select(-1, self.feature.reshape(1))[..., 0] > self.threshold

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return torch.where(self.is_massive(x)[..., None], self.row.to(y.dtype), y)


class Nothing(nn.Module):
    """No feed-forward part at all: zeros. The baseline that every conversion must beat."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], self.outputs)


class Silent(nn.Module):
    """Stands where a linear layer beside the first stood (the other half of a gate)."""

    def __init__(self, outputs: int, channels_first: bool) -> None:
        super().__init__()
        self.outputs, self.channels_first = outputs, channels_first

    def forward(self, x: Tensor) -> Tensor:
        return zeros(x, self.outputs, self.channels_first)


class End(nn.Module):
    """Stands where the last linear layer stood: the carried result comes out here, once."""

    def __init__(self, carrier: Carrier) -> None:
        super().__init__()
        self._carrier = (carrier,)  # in a tuple, so that its parameters are not registered twice

    def forward(self, x: Tensor) -> Tensor:
        (carrier,) = self._carrier
        if not carrier.carried:
            raise ConversionError("the end of a converted feed-forward part ran without its beginning")
        return carrier.carried.pop()


def zeros(x: Tensor, width: int, channels_first: bool) -> Tensor:
    """Zeros of the shape of `x` but for `width` features."""
    shape = list(x.shape)
    shape[1 if channels_first else -1] = width
    return x.new_zeros(()).expand(shape)


class Surgery:
    """Puts modules into places of a model, everywhere they are registered, and can take all of it back."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._paths: dict[nn.Module, list[tuple[nn.Module, str]]] = {}
        for parent in model.modules():
            for name, child in parent._modules.items():
                if child is not None:
                    self._paths.setdefault(child, []).append((parent, name))
        self._before: list[tuple[nn.Module, str, nn.Module]] = []

    def put(self, old: nn.Module, new: nn.Module) -> None:
        """`new` in every place of `old`, in its mode."""
        places = self._paths.get(old)
        if not places:
            raise ConversionError(
                f"a {type(old).__name__} stands in no place of the model any more; make the plan again"
            )
        for module in new.modules():
            module.training = old.training
        for parent, name in places:
            self._before.append((parent, name, old))
            parent._modules[name] = new
        self._paths[new] = self._paths.pop(old)

    def undo(self) -> None:
        for parent, name, old in reversed(self._before):
            parent._modules[name] = old
        self._before.clear()


def put_row(surgery: Surgery, row: Found, block: nn.Module) -> None:
    """Put `block` into the places of one row of a plan."""
    model = surgery.model
    get = model.get_submodule
    if row.form in ("module", "pair", "sequential", "experts"):
        old = {path: get(path) for path in (row.places.block, *row.places.passed)}
        surgery.put(old[row.places.block], ChannelsFirst(block) if row.channels_first else block)
        for path in row.places.passed:
            if not isinstance(old[path], Passed):  # an activation that several parts share
                surgery.put(old[path], Passed())
    elif row.form == "inline":
        first, end = get(row.places.block), get(row.places.end)
        others = [(get(path), width(get(path))) for path in row.places.silent]
        carrier = Carrier(ChannelsFirst(block) if row.channels_first else block, width(first), row.channels_first)
        surgery.put(first, carrier)
        for module, outputs in others:
            surgery.put(module, Silent(outputs, row.channels_first))
        surgery.put(end, End(carrier))
    else:
        raise ConversionError(f"{row.path}: form {row.form} is not one that blocks are put in")
    _slow_path(model)


def width(module: nn.Module) -> int:
    """Output features of a linear layer or of a convolution.

    Raises:
        ConversionError: it is neither.
    """
    for name in ("out_features", "out_channels", "nf"):
        found = getattr(module, name, None)
        if isinstance(found, int):
            return found
    if isinstance(module, Carrier):
        return module.hidden
    raise ConversionError(f"a {type(module).__name__} does not say how many features it returns")


def _slow_path(model: nn.Module) -> None:
    """Switch off what PyTorch does in evaluation behind the back of the modules of `nn.TransformerEncoder`."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and not isinstance(module.linear1, nn.Linear):
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder) and any(
            isinstance(layer, nn.TransformerEncoderLayer) and not isinstance(layer.linear1, nn.Linear)
            for layer in module.layers
        ):
            module.enable_nested_tensor = module.use_nested_tensor = False


def block_path(form: str, path: str, channels_first: bool) -> str:
    """Where the weightless block itself stands when it is put at `path`."""
    return path + (".block" if form == "inline" else "") + (".block" if channels_first else "")
