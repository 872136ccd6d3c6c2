"""Lutra: transformers without multipliers, from PyTorch to verified hardware.

The verbs below are imported when they are first used, so that `import lutra` is quick and works without PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lutra.version import __version__ as __version__

if TYPE_CHECKING:
    from lutra.accelerators.block.emit import generate_rtl
    from lutra.accelerators.block.simulate import simulate_graphs
    from lutra.convert import replace_mlp
    from lutra.evaluate.trained import load
    from lutra.freeze.block import freeze_model
    from lutra.models.zoo import create_model
    from lutra.nn.weightless import calibrate_
    from lutra.recipes.language import BlockConfig, LutLayerConfig, Recipe, load_recipe

_HOMES = {
    "BlockConfig": "lutra.recipes.language",
    "LutLayerConfig": "lutra.recipes.language",
    "Recipe": "lutra.recipes.language",
    "calibrate_": "lutra.nn.weightless",
    "create_model": "lutra.models.zoo",
    "freeze_model": "lutra.freeze.block",
    "generate_rtl": "lutra.accelerators.block.emit",
    "load": "lutra.evaluate.trained",
    "load_recipe": "lutra.recipes.language",
    "replace_mlp": "lutra.convert",
    "simulate_graphs": "lutra.accelerators.block.simulate",
}

__all__ = [
    "BlockConfig",
    "LutLayerConfig",
    "Recipe",
    "calibrate_",
    "create_model",
    "freeze_model",
    "generate_rtl",
    "load",
    "load_recipe",
    "replace_mlp",
    "simulate_graphs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lutra' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
