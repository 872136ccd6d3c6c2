"""The models of QuWeiT's Table 4 for the transformer machine, and the sizes at which it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.image import Image
from lutra.cost.shapes import preset, vision_shape
from lutra.cost.workload import TransformerShape
from lutra.frozen.graph import Graph
from lutra.frozen.random_transformer import DEFAULT_BLOCK, Feedforward, random_gpt, random_vit

SEED = 0
NORM_LANES = 4
SIZES = (8, 16, 32, 64)
"""Arrays that the paper measured."""
BUILT_SIZES = (8, 16, 32)
"""Those of them with which machines are synthesised."""
FOLDS = (4, 8, 12, 16, 24, 32, 48)
"""Outputs per cycle of a block's trees."""


@dataclass(frozen=True)
class MachineModel:
    """A model, as it is frozen whole; `build(rng, ffn=...)` gives it random contents."""

    label: str
    shape: TransformerShape
    printed_ratio: float | None
    """Of energy, in Table 4."""
    build: Callable[..., Graph]

    def image(self, ffn: Feedforward, size: int, overlap: bool = False) -> Image:
        """On the smallest machine with an array of `size` that runs it; with `overlap`, one whose steps do."""
        program = self.build(np.random.default_rng(SEED), ffn=ffn, block=DEFAULT_BLOCK)
        return compile_model(program, sized_for(program, size, norm_lanes=NORM_LANES, overlap=overlap))


def _gpt(name: str) -> Callable[..., Graph]:
    shape = preset(name)
    return partial(
        random_gpt,
        layers=shape.layers,
        width=shape.width,
        heads=shape.heads,
        context=shape.tokens,
        vocabulary=shape.vocabulary,
    )


MODELS = {
    "ivit-t": MachineModel(
        "I-ViT-T",
        vision_shape("I-ViT-T", 192, 3, classes=10),
        2.2,
        partial(random_vit, layers=12, width=192, heads=3, image=(224, 224), patch=16, classes=10, only_class=True),
    ),
    "gpt-baby": MachineModel("nanoGPT-baby", preset("gpt-baby"), 2.5, _gpt("gpt-baby")),
    "gpt-mini": MachineModel("gpt-mini", preset("gpt-mini"), None, _gpt("gpt-mini")),
}
