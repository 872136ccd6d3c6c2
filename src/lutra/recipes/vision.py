"""Recipes of kind "vision": a vision transformer on images of classes; never torch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from lutra.limits import HEADS, IMAGE, ITERATIONS, LAYERS, WIDTH
from lutra.names import Text
from lutra.recipes.language import BlockConfig, Feedforward, HardwareConfig, MachineConfig, TrainConfig
from lutra.recipes.sections import Experiment, Section, read_overridden, validate

Dataset = Literal["cifar10", "cifar100"]
CLASSES: dict[str, int] = {"cifar10": 10, "cifar100": 100}
CHANNELS = 3


class VisionModelConfig(Section):
    """A vision transformer in DeiT's shapes; defaults are those of DeiT-T, QuWeiT's I-ViT-T."""

    kind: Literal["vit"] = "vit"
    layers: int = Field(12, ge=1, le=LAYERS)
    heads: int = Field(3, ge=1, le=HEADS)
    width: int = Field(192, ge=1, le=WIDTH)
    image: int = Field(224, ge=1, le=IMAGE)
    """Side of the square image that the model sees; images of another size are resized to it."""
    patch: int = Field(16, ge=1, le=IMAGE)
    """Side of a patch, in pixels."""
    pool: Literal["class", "mean"] = "class"
    """What the head reads: the class token, or the mean over the patches (which then have no class token)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Probability that the last layer's branches are dropped for an image; it grows linearly from 0 at the first."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Of the three channels in [0, 1], subtracted before the patch embedding (folded into its weights in integers)."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    ffn: Feedforward = "weightless"

    @model_validator(mode="after")
    def _check_shapes(self) -> VisionModelConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.image % self.patch:
            raise ValueError(f"image {self.image} must be a multiple of patch {self.patch}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {list(self.std)}")
        return self

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image // self.patch) ** 2

    @property
    def tokens(self) -> int:
        """Rows that the layers see: the patches, and the class token where there is one."""
        return self.patches + (self.pool == "class")


class AugmentConfig(Section):
    """What training does to images; defaults are DeiT's, `crop_padding` is for small images."""

    crop: Literal["resized", "padded", "none"] = "resized"
    """A random part of the image (8 to 100 % of its area) resized; or the image shifted by up to `crop_padding`."""
    crop_padding: int = Field(4, ge=0, le=IMAGE)
    flip: bool = True
    randaugment: int = Field(2, ge=0, le=16)
    """Operations of RandAugment for each image; 0 is none."""
    randaugment_magnitude: float = Field(9.0, ge=0, le=10)
    randaugment_std: float = Field(0.5, ge=0)
    erasing: float = Field(0.25, ge=0, le=1)
    """Probability of random erasing."""
    mixup: float = Field(0.8, ge=0)
    """Alpha of the beta distribution; 0 switches it off. Where both are on, a batch takes one of the two."""
    cutmix: float = Field(1.0, ge=0)
    smoothing: float = Field(0.1, ge=0, lt=1)
    """Of the labels."""


class VisionDataConfig(Section):
    """The images."""

    dataset: Dataset = "cifar10"
    folder: Text = ""
    """Where the official files lie; empty: the folder that LUTRA_IMAGES names."""
    train_images: int = Field(0, ge=0, le=ITERATIONS)
    """Only so many of the training images (the first), to try something; 0 is all of them."""


class VisionTrainConfig(TrainConfig):
    """Optimisation; `iterations` counts batches."""

    iterations: int = Field(117_188, ge=1, le=ITERATIONS)
    """The default is the paper's 600 epochs of CIFAR's 50,000 images in batches of 256."""
    batch: int = Field(256, ge=1, le=WIDTH)
    learning_rate: float = Field(5e-4, gt=0)
    min_learning_rate: float = Field(1e-5, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    beta2: float = Field(0.999, ge=0, lt=1)
    warmup_iterations: int = Field(977, ge=0, le=ITERATIONS)
    evaluate_every: int = Field(1954, ge=1, le=ITERATIONS)
    checkpoint_every: int = Field(1954, ge=1, le=ITERATIONS)
    evaluate_batch: int = Field(250, ge=1, le=WIDTH)


class VisionRecipe(Experiment):
    """One experiment with a vision transformer: everything that decides its result."""

    kind: ClassVar[str] = "vision"
    newer: ClassVar[frozenset[str]] = frozenset({"functions", "machine"})
    model: VisionModelConfig = VisionModelConfig()
    block: BlockConfig = BlockConfig()
    data: VisionDataConfig = VisionDataConfig()
    augment: AugmentConfig = AugmentConfig()
    train: VisionTrainConfig = VisionTrainConfig()
    hardware: HardwareConfig = HardwareConfig()
    machine: MachineConfig = MachineConfig()
    functions: Literal["exact", "i-vit"] = "exact"
    """Softmax, GELU and layer norm of the frozen model: exact to half a step, or as I-ViT computes them."""
    baselines: tuple[Literal["mlp", "none"], ...] = ("mlp", "none")
    """Models trained beside ours with the same recipe, for the recovery and the report."""

    @property
    def processor_threads(self) -> int:
        return self.train.threads

    @property
    def has_blocks(self) -> bool:
        return self.model.ffn == "weightless"

    @property
    def has_hardware(self) -> bool:
        return self.has_blocks or self.machine.size > 0

    @property
    def classes(self) -> int:
        return CLASSES[self.data.dataset]

    def with_ffn(self, ffn: Feedforward) -> VisionRecipe:
        """The same recipe with another feed-forward part and no baselines of its own."""
        model = self.model.model_copy(update={"ffn": ffn})
        return self.model_copy(update={"name": f"{self.name}-{ffn}", "model": model, "baselines": ()})


def load_vision_recipe(path: Path, overrides: list[str] | None = None) -> VisionRecipe:
    """Read a recipe of kind "vision" and apply overrides.

    Raises:
        RecipeError: no such file, not TOML, of another kind, or not a valid recipe.
    """
    return validate(VisionRecipe, read_overridden(path, overrides, VisionRecipe), str(path))
