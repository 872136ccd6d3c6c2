"""Recipes of kind "bert": a GLUE task, the methods to compare on it, and the stages that lead to them; never torch.

A method is "full" (the fine-tuned checkpoint), "half" (narrowed, distilled from it), or NAME-wXaY with X weight and Y
activation bits:

    q8          symmetric weights and activations of the full model, an 8-bit embedding (Q8BERT)
    ternarybert of the full model (TernaryBERT)
    ternary     the same of the half model, for a split
    binarybert  two binary copies split from the ternary model, LSQ (BinaryBERT)
    tws         the same with elastic quantisation
    bmt         the same with column scales as well, that is WTWS (BMT)
    bit         one binary weight, elastic; one-bit activations by way of two-bit ones (BiT)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from lutra.limits import EPOCHS, ITERATIONS, THREADS, WIDTH
from lutra.names import FileName, Text
from lutra.recipes.bert_config import QuantisationConfig
from lutra.recipes.sections import Experiment, Section

LessonKind = Literal["labels", "width", "intermediate", "logits", "joint"]
Origin = Literal["checkpoint", "narrow", "requantise", "split"]


class OptimiserConfig(Section):
    """What every stage has: warm-up, then linear decay to 0; defaults are BinaryBERT's."""

    batch: int = Field(16, ge=1, le=WIDTH)
    step_learning_rate: float = Field(1e-4, gt=0)
    """Of quantiser steps and column scales, which do not decay."""
    step_start: Literal["magnitude", "error"] = "magnitude"
    """Where the first batch puts the steps of quantisers: by LSQ's rule, or where the squared error is least. Idle in
    stages without quantisers, or whose steps are copied from the ternary model (`binary`)."""
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0)
    """Largest norm of each parameter's gradient by itself."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    evaluate_every: int = Field(100, ge=1, le=ITERATIONS)


class OneLesson(OptimiserConfig):
    """A stage that learns in one go."""

    learning_rate: float = Field(gt=0)
    epochs: float = Field(gt=0, le=EPOCHS)


class TwoLessons(OptimiserConfig):
    """A stage that learns scores and hidden states of its teacher, then the logits."""

    second_lesson: Literal["logits", "joint"] = "logits"
    """The logits alone, or hidden states with them."""
    hand_over: Literal["best", "last"] = "best"
    """Weights from which the second lesson starts: the first lesson's best on the development set, or its last. The
    first one trains no logits, so that its scores say little of what it has learned."""

    intermediate_learning_rate: float = Field(gt=0)
    intermediate_epochs: float = Field(ge=0, le=EPOCHS)
    """0: the logits only."""
    logits_learning_rate: float = Field(gt=0)
    logits_epochs: float = Field(gt=0, le=EPOCHS)


class FineTuneConfig(OneLesson):
    """The checkpoint learns the labels."""

    learning_rate: float = Field(5e-5, gt=0)
    epochs: float = Field(3.0, gt=0, le=EPOCHS)


class WidthConfig(OneLesson):
    """The half model learns logits and hidden states of the full one (DynaBERT)."""

    learning_rate: float = Field(5e-5, gt=0)
    epochs: float = Field(3.0, gt=0, le=EPOCHS)


class Q8Config(OneLesson):
    """The quantised full model learns the labels (Q8BERT)."""

    learning_rate: float = Field(2e-5, gt=0)
    epochs: float = Field(3.0, gt=0, le=EPOCHS)


class TernaryConfig(TwoLessons):
    """The ternary model learns scores and hidden states of the half one, then its logits."""

    intermediate_learning_rate: float = Field(2.5e-5, gt=0)
    intermediate_epochs: float = Field(2.0, ge=0, le=EPOCHS)
    logits_learning_rate: float = Field(1e-5, gt=0)
    logits_epochs: float = Field(2.0, gt=0, le=EPOCHS)


class BinaryConfig(TwoLessons):
    """The split model learns the same once more."""

    intermediate_learning_rate: float = Field(1.25e-4, gt=0)
    intermediate_epochs: float = Field(2.0, ge=0, le=EPOCHS)
    logits_learning_rate: float = Field(5e-5, gt=0)
    logits_epochs: float = Field(2.0, gt=0, le=EPOCHS)


class BitConfig(OneLesson):
    """One stage on hidden states and logits together; the chain starts from, and is taught by, `start`."""

    learning_rate: float = Field(5e-4, gt=0)
    epochs: float = Field(20.0, gt=0, le=EPOCHS)
    start: Literal["full", "half"] = "full"
    """BiT binarises the full width, whose size is that of two binary copies of the half width."""


class ModuleConfig(Section):
    """Parallelism of one module of the accelerator; accelerators/bat/config.py says what fits together."""

    p_dpu: int = Field(16, ge=1)
    """Dot product units of the engine."""
    p_pe: int = Field(128, ge=1)
    """Products that each adds up per cycle."""
    p_vu: int = Field(32, ge=1)
    """Lanes of the vector unit."""
    p_quan: int = Field(32, ge=1)
    """Lanes of the quantisation unit."""
    p_ln: int = Field(8, ge=1)
    """Lanes of the layer norm."""
    p_softmax: int = Field(4, ge=1)
    """Lanes of the softmax, in the module that runs attention."""


class AcceleratorConfig(Section):
    """BAT, for the methods with one-bit weights: RTL, simulation, synthesis."""

    modules: Literal[1, 2] = 2
    """One that runs whole layers, or two that take turns: one for attention, one for feed-forward blocks."""
    attention: ModuleConfig = ModuleConfig()
    """The first or only module."""
    feed_forward: ModuleConfig = ModuleConfig()
    """The second one, if there are two."""
    sums: Literal["count", "pe"] = "count"
    """How a dot product unit adds: ones counted per bit, or the paper's processing elements."""
    memory_latency: int = Field(32, ge=1, le=4096)
    """Cycles from the address of a burst to its first beat."""
    memory_gap: int = Field(1, ge=1, le=64)
    """Cycles per beat of 16 bytes."""
    clock_mhz: float = Field(200.0, ge=1, le=2000)
    """What cycles are turned into milliseconds with."""
    device: FileName = "zcu102"
    """The FPGA whose LUTs, flip-flops, BRAM and DSP it must not exceed (accelerators/bat/devices.toml), or "none"."""
    sentences: int = Field(8, ge=1, le=64)
    """Of the development set that are simulated."""


_METHOD = re.compile(r"(q8|ternarybert|ternary|binarybert|tws|bmt|bit)-w(\d)a(\d)")
_BITS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "q8": ((2, 4, 8), (8,)),
    "ternarybert": ((2,), (2, 4, 8)),
    "ternary": ((2,), (2, 4, 8)),
    "binarybert": ((1,), (2, 4, 8)),
    "tws": ((1,), (2, 4, 8)),
    "bmt": ((1,), (2, 4, 8)),
    "bit": ((1,), (1, 2, 4, 8)),
}
"""Weight and activation bits of every named method."""


class BertRecipe(Experiment):
    """A chain of stages from a float checkpoint to quantised models of one task."""

    kind: ClassVar[str] = "bert"
    newer: ClassVar[frozenset[str]] = frozenset({"accelerator"})

    task: Literal["MNLI", "QQP", "QNLI", "SST-2", "CoLA", "STS-B", "MRPC", "RTE"]
    checkpoint: Text = Field(min_length=1)
    """Folder of a Hugging Face BERT, an installed Python package that carries one, or a name on the hub."""
    methods: tuple[str, ...] = Field(min_length=1)
    max_length: int = Field(128, ge=8, le=512)
    train_split: FileName = "train"
    width_fraction: float = Field(0.5, gt=0, le=1)
    """Heads and neurons of the half model, of those of the full one."""
    activation: Literal["relu", "gelu"] = "relu"
    """Of quantised models; the float ones keep the checkpoint's."""
    dropout: float = Field(0.1, ge=0, lt=1)
    teacher_mode: Literal["eval", "train"] = "eval"
    """BinaryBERT's scripts leave the teacher's dropout on: "train"."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of the matrix products in training; weights stay, and evaluations run, in float32."""
    threads: int = Field(1, ge=1, le=THREADS)
    """Of the processor; results repeat to the bit with the same number."""
    fine_tune: FineTuneConfig = FineTuneConfig()
    width: WidthConfig = WidthConfig()
    q8: Q8Config = Q8Config()
    ternary: TernaryConfig = TernaryConfig()
    binary: BinaryConfig = BinaryConfig()
    bit: BitConfig = BitConfig()
    accelerator: AcceleratorConfig = AcceleratorConfig()

    @property
    def record_name(self) -> str:
        """One file for a task and seed."""
        return f"{self.task}-seed{self.seed}"

    @property
    def processor_threads(self) -> int:
        return self.threads

    def settings_hash(self) -> str:
        """As `content_hash`, of what must be equal for seeds to belong together: all but name, seed and methods."""
        return self.model_copy(update={"name": "", "seed": 0, "methods": ()}).content_hash()

    @field_validator("methods")
    @classmethod
    def _check_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            _check_method(method)
        if len(set(methods)) != len(methods):
            raise ValueError(f"methods must differ from each other, got {list(methods)}")
        return methods


def _check_method(method: str) -> None:
    if method in ("full", "half"):
        return
    parts = _METHOD.fullmatch(method)
    if parts is None:
        names = ", ".join(f"{name}-wXaY" for name in _BITS)
        raise ValueError(f"a method is full, half, or one of {names}, got {method!r}")
    name, weight_bits, activation_bits = parts[1], int(parts[2]), int(parts[3])
    weights, activations = _BITS[name]
    if weight_bits not in weights or activation_bits not in activations:
        raise ValueError(
            f"{name} has weight bits in {list(weights)} and activation bits in {list(activations)}, got {method!r}"
        )


@dataclass(frozen=True)
class Lesson:
    """One pass of optimisation in a stage."""

    kind: LessonKind
    learning_rate: float
    epochs: float


@dataclass(frozen=True)
class StagePlan:
    """One model of the chain: where it comes from, who teaches it, and what."""

    name: str
    origin: Origin
    start: str | None
    """The stage whose best weights it starts from; None for the checkpoint."""
    teacher: str | None
    quantisation: QuantisationConfig
    lessons: tuple[Lesson, ...]
    optimiser: OptimiserConfig


def plan_stages(recipe: BertRecipe) -> tuple[StagePlan, ...]:
    """The stages that the recipe's methods need, each once and after those that it starts from."""
    stages: dict[str, StagePlan] = {}
    for method in recipe.methods:
        _add_stage(recipe, method, stages)
    return tuple(stages.values())


def _add_stage(recipe: BertRecipe, name: str, stages: dict[str, StagePlan]) -> None:
    plan = _plan_stage(recipe, name)
    for earlier in (plan.start, plan.teacher):
        if earlier is not None and earlier not in stages:
            _add_stage(recipe, earlier, stages)
    stages[name] = plan


def _plan_stage(recipe: BertRecipe, name: str) -> StagePlan:
    match name.split("-")[0]:
        case "full":
            return _single(name, "checkpoint", None, None, "labels", recipe.fine_tune)
        case "half":
            return _single(name, "narrow", "full", "full", "width", recipe.width)
        case "q8":
            return _single(name, "requantise", "full", None, "labels", recipe.q8)
        case "bit":
            start = "bit-w1a2" if name == "bit-w1a1" else recipe.bit.start
            return _single(name, "requantise", start, start, "joint", recipe.bit)
        case "ternarybert":
            return _double(name, "requantise", "full", "full", recipe.ternary)
        case "ternary":
            return _double(name, "requantise", "half", "half", recipe.ternary)
        case _:
            return _double(name, "split", f"ternary-w2a{name[-1]}", "half", recipe.binary)


def _single(
    name: str, origin: Origin, start: str | None, teacher: str | None, kind: LessonKind, section: OneLesson
) -> StagePlan:
    lesson = Lesson(kind, section.learning_rate, section.epochs)
    return StagePlan(name, origin, start, teacher, quantisation_of(name), (lesson,), section)


def _double(name: str, origin: Origin, start: str, teacher: str, section: TwoLessons) -> StagePlan:
    lessons = (
        Lesson("intermediate", section.intermediate_learning_rate, section.intermediate_epochs),
        Lesson(section.second_lesson, section.logits_learning_rate, section.logits_epochs),
    )
    taught = tuple(lesson for lesson in lessons if lesson.epochs > 0)
    return StagePlan(name, origin, start, teacher, quantisation_of(name), taught, section)


def quantisation_of(name: str) -> QuantisationConfig:
    """Weights and activations of a method."""
    if name in ("full", "half"):
        return QuantisationConfig.model_validate({})
    method, weight_bits, activation_bits = name.split("-")[0], int(name[-3]), int(name[-1])
    given: dict[str, object] = {"method": method, "weight_bits": weight_bits, "activation_bits": activation_bits}
    match method:
        case "q8":
            given["embedding_bits"] = 8
        case "ternarybert":
            given["method"] = "ternary"
        case "binarybert":
            given["method"] = "binary"
        case "tws":
            given |= {"method": "bmt", "wtws": False}
    return QuantisationConfig.model_validate(given)
