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
    from lutra.evaluate.trained import load
    from lutra.export.onnx import graph_to_onnx
    from lutra.freeze.block import freeze_model
    from lutra.freeze.capture import capture
    from lutra.freeze.onnx import export_onnx
    from lutra.frozen.folder import save_frozen
    from lutra.models.convert.find import find_mlps
    from lutra.models.convert.plan import Plan
    from lutra.models.convert.replace import remove_mlps, replace_mlp
    from lutra.models.convert.save import from_pretrained, save_pretrained
    from lutra.models.zoo import create_model
    from lutra.nn.calibrate import calibrate_
    from lutra.recipes.language import BlockConfig, LutLayerConfig, Recipe, load_recipe
    from lutra.train.callbacks import lightning_callback, trainer_callback
    from lutra.train.healing.fit import fit_
    from lutra.train.healing.heal import heal
    from lutra.train.parts import TrainingSchedule, constrain_, parameter_groups, quantise_

_HOMES = {
    "BlockConfig": "lutra.recipes.language",
    "LutLayerConfig": "lutra.recipes.language",
    "Plan": "lutra.models.convert.plan",
    "Recipe": "lutra.recipes.language",
    "TrainingSchedule": "lutra.train.parts",
    "calibrate_": "lutra.nn.calibrate",
    "capture": "lutra.freeze.capture",
    "constrain_": "lutra.train.parts",
    "create_model": "lutra.models.zoo",
    "export_onnx": "lutra.freeze.onnx",
    "find_mlps": "lutra.models.convert.find",
    "fit_": "lutra.train.healing.fit",
    "freeze_model": "lutra.freeze.block",
    "from_pretrained": "lutra.models.convert.save",
    "generate_rtl": "lutra.accelerators.block.emit",
    "graph_to_onnx": "lutra.export.onnx",
    "heal": "lutra.train.healing.heal",
    "lightning_callback": "lutra.train.callbacks",
    "load": "lutra.evaluate.trained",
    "load_recipe": "lutra.recipes.language",
    "parameter_groups": "lutra.train.parts",
    "quantise_": "lutra.train.parts",
    "remove_mlps": "lutra.models.convert.replace",
    "replace_mlp": "lutra.models.convert.replace",
    "save_frozen": "lutra.frozen.folder",
    "save_pretrained": "lutra.models.convert.save",
    "simulate_graphs": "lutra.accelerators.block.simulate",
    "trainer_callback": "lutra.train.callbacks",
}

__all__ = [
    "BlockConfig",
    "LutLayerConfig",
    "Plan",
    "Recipe",
    "TrainingSchedule",
    "calibrate_",
    "capture",
    "constrain_",
    "create_model",
    "export_onnx",
    "find_mlps",
    "fit_",
    "freeze_model",
    "from_pretrained",
    "generate_rtl",
    "graph_to_onnx",
    "heal",
    "lightning_callback",
    "load",
    "load_recipe",
    "parameter_groups",
    "quantise_",
    "remove_mlps",
    "replace_mlp",
    "save_frozen",
    "save_pretrained",
    "simulate_graphs",
    "trainer_callback",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lutra' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
