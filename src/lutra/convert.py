"""Surgery on any `nn.Module` tree: replace MLPs with weightless blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from lutra.errors import ConversionError
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig

ModuleFilter = Callable[[str, nn.Module], bool]

_MLP_CLASS = re.compile(r"mlp|feed_?forward|ffn", re.IGNORECASE)
_INLINE_LINEARS = ("linear1", "linear2")


@dataclass(frozen=True)
class Replacement:
    """One module that looked like an MLP, and what became of it."""

    name: str
    kind: str
    replaced: bool
    reason: str


class _Widths(NamedTuple):
    inputs: int
    outputs: int


def replace_mlp(
    model: nn.Module, config: BlockConfig | None = None, filter: ModuleFilter | None = None, seed: int = 0
) -> list[Replacement]:
    """Replace MLPs in `model` with weightless blocks, in place (QuWeiT section 3.2).

    An MLP is a module whose class is named like one (Mlp, MLP, GPT2MLP, LlamaMLP, FeedForward, FFN ...), or a
    `Sequential` of two or more linear layers with other modules between them. `filter(name, module)` may refuse any of
    them. The new blocks must see data once: `lutra.nn.weightless.calibrate_(model, batch)`.

    Returns: every module that looked like an MLP, replaced or skipped, with the reason.

    Raises:
        ConversionError: `model` itself is an MLP (nothing holds it, so it cannot be replaced in place).
    """
    config = config or BlockConfig()
    report: list[Replacement] = []
    done: tuple[str, ...] = ()
    for name, module in list(model.named_modules()):
        if name.startswith(done) or not _looks_like_mlp(module):
            continue
        done = (*done, f"{name}.")
        reason = _reason_to_skip(name, module, filter)
        if reason is None:
            if not name:
                raise ConversionError(f"the model itself is a {type(module).__name__}; wrap it, e.g. in nn.Sequential")
            widths = _widths(module)
            assert widths is not None
            block = WeightlessBlock(widths.inputs, config, seed + len(report), widths.outputs)
            parent, _, attribute = name.rpartition(".")
            weight = next(module.parameters())
            setattr(model.get_submodule(parent), attribute, block.to(weight.device))
            reason = f"weightless block, {widths.inputs} to {widths.outputs} features"
            report.append(Replacement(name, type(module).__name__, True, reason))
        else:
            report.append(Replacement(name, type(module).__name__, False, reason))
    return report


def _looks_like_mlp(module: nn.Module) -> bool:
    if isinstance(module, (WeightlessBlock, nn.ModuleList, nn.ModuleDict)):
        return False
    if isinstance(module, nn.Sequential):
        linears = [_is_linear(child) for child in module]
        return sum(linears) >= 2 and not all(linears) and linears[0]
    inline = all(_is_linear(getattr(module, name, None)) for name in _INLINE_LINEARS)
    return inline or bool(_MLP_CLASS.search(type(module).__name__))


def _reason_to_skip(name: str, module: nn.Module, filter: ModuleFilter | None) -> str | None:
    if any(isinstance(part, WeightlessBlock) for part in module.modules()):
        return "is weightless already"
    if any(isinstance(part, nn.MultiheadAttention) for part in module.modules()):
        return "its linear layers stand in the middle of a larger module; give it an MLP module of its own"
    if _widths(module) is None:
        return "has no pair of linear layers to take its widths from"
    if filter is not None and not filter(name, module):
        return "refused by the filter"
    return None


def _widths(module: nn.Module) -> _Widths | None:
    """Input and output width: of the first and the last linear layer inside."""
    linears = [part for part in module.modules() if _is_linear(part)]
    if len(linears) < 2:
        return None
    return _Widths(_linear_widths(linears[0]).inputs, _linear_widths(linears[-1]).outputs)


def _is_linear(module: object) -> bool:
    # Conv1D is Hugging Face's transposed linear layer (GPT-2); recognised by name so that transformers is not needed.
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _linear_widths(module: nn.Module) -> _Widths:
    if isinstance(module, nn.Linear):
        return _Widths(module.in_features, module.out_features)
    inputs, outputs = module.weight.shape  # type: ignore[union-attr,misc]
    return _Widths(int(inputs), int(outputs))
