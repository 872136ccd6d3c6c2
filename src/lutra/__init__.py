"""Lutra: transformers without multipliers, from PyTorch to verified hardware.

The verbs below are imported when they are first used, so that `import lutra` is quick and works without PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lutra.freeze import freeze_model
    from lutra.models.convert.find import find_mlps
    from lutra.models.convert.replace import replace_mlp
    from lutra.models.zoo import create_model
    from lutra.nn.calibrate import calibrate_
    from lutra.recipe import BlockConfig, LutLayerConfig, Recipe, load_recipe
    from lutra.rtl.emit import generate_rtl
    from lutra.simulate.run import simulate_graphs
    from lutra.trained import load

__version__ = "0.1.0"

_HOMES = {
    "BlockConfig": "lutra.recipe",
    "LutLayerConfig": "lutra.recipe",
    "Recipe": "lutra.recipe",
    "calibrate_": "lutra.nn.calibrate",
    "create_model": "lutra.models.zoo",
    "find_mlps": "lutra.models.convert.find",
    "freeze_model": "lutra.freeze",
    "generate_rtl": "lutra.rtl.emit",
    "load": "lutra.trained",
    "load_recipe": "lutra.recipe",
    "replace_mlp": "lutra.models.convert.replace",
    "simulate_graphs": "lutra.simulate.run",
}

__all__ = [
    "BlockConfig",
    "LutLayerConfig",
    "Recipe",
    "calibrate_",
    "create_model",
    "find_mlps",
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
