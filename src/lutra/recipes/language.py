"""Recipes of kind "language": model, block, data, training and hardware of one language model; never torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lutra.limits import (
    ELEMENTS,
    FOLD_FACTOR,
    HEADS,
    ITERATIONS,
    LAYERS,
    PARAMETERS,
    POSITIONS,
    ROWS,
    THRESHOLDS,
    WIDTH,
)
from lutra.limits import THREADS as MOST_THREADS
from lutra.recipes.sections import THREADS, Experiment, Section, read_overridden, validate

Feedforward = Literal["mlp", "weightless", "none"]
_LUTS = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,9})?|)(?P<multiple>D?)", re.ASCII)


def resolve_width(luts: str | int, width: int) -> int:
    """Number of tables of a layer in a model of `width`: 768 is 768, "4D" is four times the width (rounded).

    Raises:
        ValueError: neither a positive integer nor a positive multiple such as "4D".
    """
    match = _LUTS.fullmatch(str(luts))
    count = 0
    if match and match["multiple"]:
        count = round(float(match["number"] or 1) * width)
    elif match and match["number"].isdecimal():
        count = int(match["number"])
    if not 1 <= count <= WIDTH:
        raise ValueError(
            f'luts must be a positive integer or a multiple of the width such as "4D", at most {WIDTH}, got {luts!r}'
        )
    return count


class LutLayerConfig(Section):
    """One layer of lookup tables."""

    luts: str | int = "D"
    """Number of tables: an integer, or a multiple of the model width such as "4D" or "0.5D"."""
    inputs: int = Field(6, ge=2, le=8)
    """Inputs per table, n; a table has 2^n entries."""
    mapping: Literal["random", "candidate", "learnable"] = "random"
    """How table inputs are connected: drawn once; chosen among `candidates`; chosen among all bits."""
    candidates: int = Field(32, ge=2, le=WIDTH)
    mapping_temperature: float = Field(0.001, gt=0)
    table_init: Literal["uniform", "smooth", "residual"] = "uniform"
    """Start of the tables: uniform in (-1, 1); a random linear threshold function of the inputs; or a copy of the first
    input with such a function beneath it, so that a deep block starts as a shallow one."""

    @field_validator("luts")
    @classmethod
    def _check_luts(cls, luts: str | int) -> str | int:
        resolve_width(luts, 64)
        return luts


class BlockConfig(Section):
    """The weightless block that replaces an MLP (QuWeiT section 3.1)."""

    thermometer_bits: int = Field(8, ge=1, le=THRESHOLDS)
    thresholds: Literal["uniform", "gaussian", "distributive", "learned"] = "gaussian"
    """How thresholds are calibrated from activations; "learned" starts as gaussian and is then trained."""
    per_feature: bool = True
    """One set of thresholds per feature, or one for the whole tensor."""
    input_gradient: Literal["identity", "mean", "window"] = "window"
    """Gradient of a thermometer bit to its input: 1, 1/T, or a window around the threshold."""
    window: float = Field(0.5, gt=0)
    """Half width of the window, in standard deviations of the calibrated input."""
    lut_layers: tuple[LutLayerConfig, ...] = Field(
        (LutLayerConfig(luts="8D", mapping="candidate", table_init="smooth"),), min_length=1
    )
    """One wide layer recovers more than the paper's two at the same cost (docs/recovery.md)."""
    efd: Literal["exponential", "normalised"] = "exponential"
    """Weights of the extended finite difference: alpha * beta^H, or 1/(H+1) divided by their sum."""
    sum_reads: tuple[int, ...] = ()
    """Whose bits the conditional summation reads: 0 the thermometer, k LUT layer k; empty: the last layer."""
    groups: int = Field(8, ge=1, le=WIDTH)
    """1: dense, every output sums every bit; G: outputs and bits are cut into G groups, each summed within itself."""
    centred: bool = True
    """Train with bits as -1/2 and +1/2 (the constant is folded into the bias) instead of 0 and 1."""
    encoded_std: float = Field(0.02, ge=0)
    """Standard deviation of the encoded values at the start."""
    encoded_values: Literal["int", "power_of_two"] = "int"
    """What encoded values become in integers: any integer, or 0 and plus or minus a power of two."""
    encoded_bits: int = Field(8, ge=2, le=8)
    """Bits of the integers, in a symmetric range: of 8 bits 127 ("int") or 64 is the largest; 2 bits are ternary."""
    encoded_scale: Literal["block", "output"] = "block"
    """One scale for all encoded values of a block, or each output's own power of two of it (outliers among outputs)."""
    encoded_kept: float = Field(1.0, gt=0, le=1)
    """Fraction of a block's encoded values, those of largest magnitude, that does not become 0 in integers."""
    output_bits: int = Field(16, ge=4, le=32)

    @model_validator(mode="after")
    def _check_sum_reads(self) -> BlockConfig:
        bad = [source for source in self.sum_reads if not 0 <= source <= len(self.lut_layers)]
        last = len(self.lut_layers)
        if bad or len(set(self.sum_reads)) != len(self.sum_reads) or (self.sum_reads and last not in self.sum_reads):
            allowed = f"distinct layers from 0 to {last}, the last among them"
            raise ValueError(f"sum_reads must be {allowed}, got {list(self.sum_reads)}")
        return self

    @property
    def sum_sources(self) -> tuple[int, ...]:
        """The layers that the summation reads, in ascending order."""
        return tuple(sorted(self.sum_reads)) or (len(self.lut_layers),)


class BinaryAttentionConfig(Section):
    """Attention with 1-bit weights: the linear layers and quantisers of BMT (docs/recovery.md, joined models)."""

    activation_bits: Literal[2, 4, 8] = 8
    """Of all that is multiplied: the inputs of the linear layers, queries, keys, values and probabilities."""
    copies: Literal[1, 2] = 1
    """Binary matrices that are added up to one weight: BMT has two in a layer of half the width."""
    column_scales: bool = True
    """A learned factor per copy and output (BMT's weighted splitting); otherwise one scale per matrix."""
    step_learning_rate: float = Field(1e-3, gt=0)
    """Of the quantisers' steps and the column scales, which do not decay."""


class ModelConfig(Section):
    """A decoder-only transformer in nanoGPT's shapes."""

    kind: Literal["gpt"] = "gpt"
    layers: int = Field(4, ge=1, le=LAYERS)
    heads: int = Field(4, ge=1, le=HEADS)
    width: int = Field(128, ge=1, le=WIDTH)
    context: int = Field(64, ge=1, le=POSITIONS)
    dropout: float = Field(0.0, ge=0, lt=1)
    bias: bool = False
    ffn: Feedforward = "weightless"
    binary_attention: BinaryAttentionConfig | None = None
    """Present: attention has 1-bit weights; absent: float ones."""

    @model_validator(mode="after")
    def _check_heads(self) -> ModelConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self


class DataConfig(Section):
    """The training text."""

    dataset: Literal["shakespeare-char"] = "shakespeare-char"


class TrainConfig(Section):
    """Optimisation; one schedule from the first iteration to the last."""

    iterations: int = Field(2000, ge=1, le=ITERATIONS)
    batch: int = Field(12, ge=1, le=WIDTH)
    learning_rate: float = Field(1e-3, gt=0)
    min_learning_rate: float = Field(1e-4, ge=0)
    table_learning_rate: float = Field(1e-1, gt=0)
    mapping_learning_rate: float = Field(1e-1, gt=0)
    threshold_learning_rate: float = Field(1e-3, gt=0)
    encoded_learning_rate: float = Field(2e-2, gt=0)
    """Of the encoded values and the bias of the conditional summation."""
    warmup_iterations: int = Field(100, ge=0, le=ITERATIONS)
    weight_decay: float = Field(0.1, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    block_beta2: float = Field(0.999, ge=0, lt=1)
    """Of weightless blocks: few tokens address a table entry, so its gradients are sparse and want a longer memory."""
    gradient_clip: float = Field(1.0, ge=0)
    """Largest norm of the whole gradient; 0 switches clipping off."""
    evaluate_every: int = Field(250, ge=1, le=ITERATIONS)
    evaluate_batch: int = Field(64, ge=1, le=WIDTH)
    quantise_fraction: float = Field(0.1, ge=0, le=1)
    """Last part of the iterations that trains with integer (fake-quantised) blocks."""
    mapping_fraction: float | None = Field(None, ge=0, le=1)
    """First part of the iterations that trains learnable mappings; then every table input keeps the bit that it reads,
    which costs no time. Absent: all of them."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    checkpoint_every: int = Field(250, ge=1, le=ITERATIONS)
    threads: int = Field(THREADS, ge=1, le=MOST_THREADS)
    """Of the processor; results repeat to the bit with the same number."""


_BLOCK_TRAINING = (
    "table_learning_rate",
    "mapping_learning_rate",
    "threshold_learning_rate",
    "encoded_learning_rate",
    "block_beta2",
    "quantise_fraction",
    "mapping_fraction",
)
"""Keys of `TrainConfig` that only weightless blocks read."""


class HardwareConfig(Section):
    """What the generated accelerator looks like."""

    dataflow: Literal["accumulate", "tree", "graph", "auto"] = "accumulate"
    """How the sums are spread over cycles: an accumulator per output, as in the paper, or outputs whole, by trees, by
    graphs that outputs share, or by what takes fewer LUTs of these two. Graphs need fold factor "all"."""
    fold_factors: tuple[int | Literal["all"], ...] = Field((1, 4, "all"), min_length=1)
    """Bits added per cycle and output (accumulate), or outputs per cycle (others): each is generated and simulated."""
    synthesise_fold_factors: tuple[int | Literal["all"], ...] = (1,)
    """Which of them are also synthesised."""
    rows: int = Field(1024, ge=1, le=ROWS)
    """Real validation rows that each block's simulation compares."""

    @field_validator("fold_factors", "synthesise_fold_factors")
    @classmethod
    def _check_folds(cls, folds: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if any(isinstance(fold, int) and not 1 <= fold <= FOLD_FACTOR for fold in folds):
            raise ValueError(f'fold factors are integers from 1 to {FOLD_FACTOR}, or "all", got {list(folds)}')
        if len(set(folds)) != len(folds):
            raise ValueError(f"fold factors must differ from each other, got {list(folds)}")
        return folds

    @model_validator(mode="after")
    def _check_synthesised(self) -> HardwareConfig:
        if missing := set(self.synthesise_fold_factors) - set(self.fold_factors):
            raise ValueError(f"synthesise_fold_factors {sorted(map(str, missing))} must also be in fold_factors")
        return self


class MachineConfig(Section):
    """The machine that runs the whole frozen model (`accelerators.transformer`), simulated beside its blocks."""

    size: int = 0
    """Rows and columns of its array, a power of two from 2 to 64; 0: no machine."""
    lanes: int = Field(0, ge=0, le=64)
    """Results per cycle, a power of two up to `size`; 0: as many as the array has columns."""
    norm_lanes: int = Field(1, ge=1, le=64)
    """Of its layer norm, a power of two up to `lanes`."""
    overlap: bool = False
    """Whether an attention's products and softmax run at the same time: fewer cycles, a second memory of scores."""
    fold_factor: int | Literal["all"] = 8
    """Of its weightless blocks, as in `hardware.fold_factors`."""
    characters: int = Field(64, ge=1, le=1024)
    """Of a language model: tokens of the text that its simulation writes and compares; at most the context."""
    images: int = Field(2, ge=1, le=1024)
    """Of a vision model: test images that its simulation classifies and compares."""
    synthesise: bool = False
    """Whether the step `synth` takes the machine too, with this model and with the baseline's dense MLP: minutes."""

    @field_validator("fold_factor")
    @classmethod
    def _check_fold(cls, fold: int | str) -> int | str:
        if isinstance(fold, int) and not 1 <= fold <= FOLD_FACTOR:
            raise ValueError(f'fold_factor is an integer from 1 to {FOLD_FACTOR}, or "all", got {fold}')
        return fold

    @model_validator(mode="after")
    def _check_powers(self) -> MachineConfig:
        lanes = self.lanes or self.size
        for name, value in (("size", self.size), ("lanes", lanes), ("norm_lanes", self.norm_lanes)):
            if self.size and value & (value - 1):
                raise ValueError(f"{name} must be a power of two, got {value}")
        if self.size and not (2 <= self.size <= 64 and self.norm_lanes <= lanes <= self.size):
            raise ValueError(
                f"size must be from 2 to 64 and norm_lanes <= lanes <= size, got {self.size}, {lanes}, "
                f"{self.norm_lanes}"
            )
        return self


class Recipe(Experiment):
    """One experiment with a language model: everything that decides its result."""

    kind: ClassVar[str] = "language"
    newer: ClassVar[frozenset[str]] = frozenset({"functions", "machine"})

    model: ModelConfig = ModelConfig()
    block: BlockConfig = BlockConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    hardware: HardwareConfig = HardwareConfig()
    machine: MachineConfig = MachineConfig()
    functions: Literal["exact", "i-vit"] = "exact"
    """Softmax, GELU and layer norm of the frozen model: exact to half a step, or as I-ViT computes them."""
    baselines: tuple[Literal["mlp", "none"], ...] = ("mlp", "none")
    """Models trained beside ours with the same recipe, for the recovery and the report."""

    @field_validator("baselines")
    @classmethod
    def _check_baselines(cls, baselines: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(baselines)) != len(baselines):
            raise ValueError(f"baselines must differ from each other, got {list(baselines)}")
        return baselines

    @model_validator(mode="after")
    def _check_sizes(self) -> Recipe:
        """Whether model and block fit into a computer at all, before anybody tries to build them."""
        width, block = self.model.width, self.block
        bits = [width * block.thermometer_bits, *(resolve_width(layer.luts, width) for layer in block.lut_layers)]
        summed = sum(bits[source] for source in block.sum_sources)
        for before, luts, layer in zip(bits, bits[1:], block.lut_layers, strict=False):
            choices = {"random": 1, "candidate": layer.candidates, "learnable": before}[layer.mapping]
            if luts * layer.inputs * choices > ELEMENTS:
                raise ValueError(f"a {layer.mapping} mapping of {luts:,} tables is too large; take fewer")
        if max(bits) > WIDTH or summed * width > ELEMENTS:
            raise ValueError(f"blocks of {max(bits):,} bits and {summed * width:,} encoded values are too large")
        if (parameters := 12 * self.model.layers * width**2 + self.model.context * width) > PARAMETERS:
            raise ValueError(f"a model with {parameters:,} parameters is too large, at most {PARAMETERS:,} fit")
        return self

    @property
    def processor_threads(self) -> int:
        return self.train.threads

    @property
    def has_blocks(self) -> bool:
        """Whether the model has weightless blocks."""
        return self.model.ffn == "weightless"

    @property
    def has_hardware(self) -> bool:
        return self.has_blocks or self.machine.size > 0

    def with_ffn(self, ffn: Feedforward) -> Recipe:
        """The same recipe with another feed-forward part and no baselines of its own."""
        model = self.model.model_copy(update={"ffn": ffn})
        return self.model_copy(update={"name": f"{self.name}-{ffn}", "model": model, "baselines": ()})

    def without_block(self) -> Recipe:
        """The same recipe with defaults for all that only weightless blocks and their hardware read.

        Recipes that are equal then have the same baselines.
        """
        defaults = {key: TrainConfig.model_fields[key].default for key in _BLOCK_TRAINING}
        train = self.train.model_copy(update=defaults)
        hardware = {"hardware": HardwareConfig(), "machine": MachineConfig()}
        return self.model_copy(update={"block": BlockConfig(), "train": train, **hardware})


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a language model's recipe and apply `key.path=value` overrides (TOML values; bare words are strings).

    Raises:
        RecipeError: no such file, not TOML, or not a valid recipe.
    """
    return validate(Recipe, read_overridden(path, overrides, Recipe), str(path))
