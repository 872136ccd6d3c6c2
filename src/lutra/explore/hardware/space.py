"""Spaces of hardware: a TOML file of kind "bat" in, models and grids of BAT's configuration out; never torch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from lutra.accelerators.bat.config import ModuleConfig
from lutra.accelerators.bat.latency import Memory
from lutra.accelerators.bat.search import PARALLELISMS, Device, Method, devices
from lutra.accelerators.bat.search import Space as Grid
from lutra.errors import InputError, RecipeError
from lutra.frozen.bert import LARGEST_WIDTH
from lutra.names import FileName, Text
from lutra.papers.bmt.recorded_scores import Entry, read_entries, robustness, scores
from lutra.papers.records import RECORDED, Records
from lutra.recipes.sections import Section, read_toml, validate

KIND = "bat"
MODULES = 2000
"""Most configurations of one module: a table of a method holds the square of it."""
Counts = Annotated[tuple[Annotated[int, Field(ge=1, le=4 * LARGEST_WIDTH)], ...], Field(min_length=1, max_length=64)]
OBJECTIVES = ("accuracy", "robustness", "latency", "lut", "energy")
Objective = Literal["accuracy", "robustness", "latency", "lut", "energy"]


class Trained(Section):
    """Where the scores of a model come from: recorded runs of a method on a task, their mean over seeds."""

    task: Text
    method: Text


class MethodRow(Section):
    """Models: every combination of bits, heads and intermediate widths; scores belong to a row of one model."""

    name: Text
    copies: Literal[1, 2]
    """Binary copies that add up to a weight."""
    bits: tuple[Literal[1, 2, 4, 8], ...] = Field(min_length=1)
    elastic: bool = True
    """Quantisers have biases (BMT, BiT), which are loaded with the weights; BinaryBERT's have none."""
    heads: Counts
    intermediate: Counts
    accuracy: float | None = Field(None, gt=0, le=100)
    """In points, on the development set."""
    robustness: float | None = Field(None, gt=0)
    trained: Trained | None = None
    """Instead of accuracy and robustness."""


class ModelSizes(Section):
    """What all models share."""

    layers: int = Field(12, ge=1, le=1024)
    width: int = Field(768, ge=1, le=LARGEST_WIDTH)
    head_width: int = Field(64, ge=1, le=256)
    tokens: int = Field(128, ge=1, le=512)
    """Of a sentence."""


class Modules(Section):
    """Parallelisms that each of the two modules may have; `p_pe`, `p_softmax` and `sums` are the same in both."""

    p_dpu: Counts
    p_quan: Counts
    p_vu: Counts
    p_ln: Counts
    p_pe: Counts = (128,)
    p_softmax: Counts = (4,)
    sums: tuple[Literal["count", "pe"], ...] = ("count",)


class MemoryPort(Section):
    """Of each module: 16 bytes per beat."""

    latency: int = Field(32, ge=1, le=4096)
    gap: int = Field(1, ge=1, le=64)


class Limits(Section):
    """What a configuration must keep to."""

    fraction: float = Field(0.8, gt=0, le=1)
    """Of every resource of the device, at most."""
    bytes_per_second: float | None = Field(None, gt=0)
    """Of the external memory, both ports together."""
    milliseconds: float | None = Field(None, gt=0)
    """For two sentences."""
    accuracy_loss: float | None = Field(None, ge=0, le=100)
    """Points below `full`."""
    full: float | Trained | None = None
    """Points of the model in full precision."""
    robustness_quantile: float | None = Field(None, ge=0, lt=1)
    """Only models above this quantile of those whose robustness is known."""


class Marked(Section):
    """A configuration that stands out: in the paper's space what the paper chose."""

    name: Text
    method: Text
    """As the search names it, such as "BMT W1A4 384/1536"."""
    attention: dict[str, int]
    feed_forward: dict[str, int]


class HardwareSpace(Section):
    """A space file as written."""

    kind: Literal["bat"]
    name: FileName
    device: Text = "zcu102"
    clock_hz: float = Field(200e6, ge=1e6, le=2e9)
    """What cycles are turned into milliseconds with; nothing places the RTL."""
    objectives: tuple[Objective, ...] = ("accuracy", "robustness", "latency", "lut")
    resources: Literal["units", "paper"] = "units"
    """Which resources limits and choices go by: our syntheses, or the paper's Table 6 scaled. Both are reported."""
    compared_p_pe: tuple[Annotated[int, Field(ge=8, le=512)], ...] = ()
    """More values for the slider of the page, which are no points of the space."""
    model: ModelSizes = ModelSizes()
    modules: Modules
    memory: MemoryPort = MemoryPort()
    limits: Limits = Limits()
    method: tuple[MethodRow, ...] = Field(min_length=1)
    marked: Marked | None = None

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if device not in devices():
            raise ValueError(f"device must be one of {', '.join(devices())}, got {device!r}")
        return device


@dataclass(frozen=True)
class Scores:
    """Of a model, None where no training is behind it. Accuracy in points."""

    accuracy: float | None = None
    robustness: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class HardwarePlan:
    """A checked space."""

    space: HardwareSpace
    grids: tuple[Grid, ...]
    """One for every p_pe, p_softmax and sums; all have the same methods."""
    compared: tuple[Grid, ...]
    """For the page only."""
    scores: dict[str, Scores]
    """By name of a method."""
    full: float | None
    """Accuracy of the model in full precision."""

    @property
    def points(self) -> int:
        return sum(grid.points for grid in self.grids)

    @property
    def device(self) -> Device:
        return devices()[self.space.device]


def is_hardware_space(path: Path) -> bool:
    """Whether a space file is one of hardware.

    Raises:
        RecipeError: no such file, or not TOML.
    """
    return "kind" in read_toml(path)


def load_hardware_space(path: Path, records: Records | None = None) -> HardwarePlan:
    """Read a space; scores come from `records`, by default those that come with Lutra.

    Raises:
        RecipeError: the file is missing or not TOML, a key is unknown, a value is not allowed, a module can not be
            built, or there are no scores of a method.
    """
    space = validate(HardwareSpace, read_toml(path), str(path))
    entries = read_entries(records or Records(RECORDED))
    try:
        methods, found = _methods(space, entries)
        grids = tuple(_grid(space, methods, *shared) for shared in _shared(space, space.modules.p_pe))
        compared = tuple(_grid(space, methods, *shared) for shared in _shared(space, space.compared_p_pe))
        _check_marked(space, grids)
        full = space.limits.full
        accuracy = _recorded(full, entries).accuracy if isinstance(full, Trained) else full
        if space.limits.accuracy_loss is not None and accuracy is None:
            raise InputError("limits.accuracy_loss is below limits.full: give that, in points")
    except InputError as error:
        raise RecipeError(f"{path}: {error}") from None
    return HardwarePlan(space, grids, compared, found, accuracy)


def _methods(space: HardwareSpace, entries: list[Entry]) -> tuple[tuple[Method, ...], dict[str, Scores]]:
    methods: dict[str, Method] = {}
    found: dict[str, Scores] = {}
    for row in space.method:
        models = list(itertools.product(row.bits, row.heads, row.intermediate))
        scored = _scores(row, entries)
        if scored.accuracy is not None and len(models) > 1:
            raise InputError(f"method {row.name}: scores are of one model, but the row has {len(models)}")
        for bits, heads, intermediate in models:
            name = f"{row.name} W1A{bits} {heads * space.model.head_width}/{intermediate}"
            if name in methods:
                raise InputError(f"method {name} is there twice")
            if heads * space.model.head_width > LARGEST_WIDTH or intermediate > 4 * LARGEST_WIDTH or heads < 1:
                raise InputError(f"method {name}: widths are at most {LARGEST_WIDTH} and {4 * LARGEST_WIDTH}")
            methods[name] = Method(name, row.copies, bits, heads, intermediate, row.elastic)
            found[name] = scored
    return tuple(methods.values()), found


def _scores(row: MethodRow, entries: list[Entry]) -> Scores:
    if row.trained is None:
        return Scores(row.accuracy, row.robustness, "" if row.accuracy is None else "as the space says")
    if row.accuracy is not None or row.robustness is not None:
        raise InputError(f"method {row.name}: scores are either recorded (trained) or written, not both")
    return _recorded(row.trained, entries)


def _recorded(trained: Trained, entries: list[Entry]) -> Scores:
    sample = scores(entries, trained.task, trained.method)
    if sample is None:
        raise InputError(f"no run of {trained.method} on {trained.task} is recorded; lutra results add RUN")
    ratio = robustness(entries, trained.task, trained.method)
    remark = f"{trained.method} on {trained.task} from {sample.base}, {sample.spread}"
    return Scores(sample.mean, None if ratio is None else ratio.mean, remark)


def _shared(space: HardwareSpace, p_pe: tuple[int, ...]) -> list[tuple[int, int, str]]:
    return list(itertools.product(p_pe, space.modules.p_softmax, space.modules.sums))


def _grid(space: HardwareSpace, methods: tuple[Method, ...], p_pe: int, p_softmax: int, sums: str) -> Grid:
    modules, model = space.modules, space.model
    lists = {name: getattr(modules, name) for name in PARALLELISMS}
    for name, values in {**lists, "p_pe": modules.p_pe, "p_softmax": modules.p_softmax}.items():
        if len(set(values)) < len(values):
            raise InputError(f"modules.{name}: a value is there twice")
    grid = Grid(
        methods,
        **lists,
        p_pe=p_pe,
        p_softmax=p_softmax,
        sums=sums,
        layers=model.layers,
        tokens=model.tokens,
        width=model.width,
        head_width=model.head_width,
        clock_hz=space.clock_hz,
        memory=Memory(space.memory.latency, space.memory.gap),
    )
    if len(grid.modules) > MODULES:
        raise InputError(f"{len(grid.modules):,} configurations of a module; at most {MODULES:,} are searched")
    return grid


def _check_marked(space: HardwareSpace, grids: tuple[Grid, ...]) -> None:
    marked = space.marked
    if marked is None:
        return
    if marked.method not in {method.name for method in grids[0].methods}:
        raise InputError(f"marked: no method {marked.method} in the space")
    for name in ("attention", "feed_forward"):
        grids[0].index(marked_module(grids[0], getattr(marked, name), f"marked.{name}"))


def marked_module(grid: Grid, values: dict[str, int], where: str) -> ModuleConfig:
    """The module that a marked point describes.

    Raises:
        InputError: names are missing or unknown.
    """
    if values.keys() != set(PARALLELISMS):
        raise InputError(f"{where} needs {', '.join(PARALLELISMS)}, and nothing else")
    return ModuleConfig(**values, p_pe=grid.p_pe, p_softmax=grid.p_softmax)


def described(plan: HardwarePlan) -> dict[str, Any]:
    """The space and its scores as a record holds them."""
    return {
        "space": plan.space.model_dump(mode="json"),
        "scores": {name: vars(scored) for name, scored in plan.scores.items()},
        "full": plan.full,
    }
