"""Spaces of recipes: TOML in, one recipe per variant, seed and stage out; never imports torch."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from lutra.errors import RecipeError
from lutra.limits import SEED
from lutra.names import FileName, Text
from lutra.recipes.language import Recipe, load_recipe
from lutra.recipes.sections import Section, parse_override, read_toml, set_value, validate

BASELINES: tuple[Literal["mlp", "none"], ...] = ("mlp", "none")
_GIVEN_BY_THE_SPACE = {
    "name": "the variant's name is used",
    "seed": "write seeds",
    "baselines": "both are always trained, once for all variants",
}

Seed = Annotated[int, Field(ge=0, le=SEED)]


class _Section(Section):
    """As of a recipe; new values of keys stay as they are, lists too."""


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"batch": 4}}`, as TOML reads an unquoted dotted key, is `{"train.batch": 4}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _check_changes(changes: dict[str, Any]) -> dict[str, Any]:
    flat = _flatten(changes)
    for key in flat.keys() & _GIVEN_BY_THE_SPACE.keys():
        raise ValueError(f"{key} cannot be changed here: {_GIVEN_BY_THE_SPACE[key]}")
    return flat


def _check_distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(seeds) != len(frozenset(seeds)):
        raise ValueError(f"seeds must differ from each other, got {list(seeds)}")
    return seeds


class Variant(_Section):
    """One alternative: what it changes in the base recipe."""

    name: FileName
    set: dict[str, Any] = Field(default_factory=dict)
    """New values by key of the recipe, such as "block.window"."""
    group: FileName | None = None
    """Variants of one group share a marker in the figure."""
    marked: bool = False
    """The paper's configuration: stands out in table and figure, and no stage drops it."""

    _changes = field_validator("set")(_check_changes)


class Stage(_Section):
    """A cheap round before the real one: only the best variants go on."""

    set: dict[str, Any] = Field(default_factory=dict)
    """Changes on top of the variant's, such as fewer iterations."""
    keep: int = Field(ge=1)
    """How many variants go on, the best by mean recovery; marked ones go on beside them."""
    seeds: tuple[Seed, ...] = ()
    """Empty: those of the space."""

    _changes = field_validator("set")(_check_changes)
    _distinct = field_validator("seeds")(_check_distinct)


class Space(_Section):
    """A space file as written."""

    name: FileName
    base: Text
    """Path of the base recipe, relative to the space's file."""
    seeds: tuple[Seed, ...] = Field(min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    """Changes that all variants share."""
    variant: tuple[Variant, ...] = ()
    grid: dict[str, Any] = Field(default_factory=dict)
    """Lists of values by key: every combination is one more variant."""
    stage: tuple[Stage, ...] = ()

    _changes = field_validator("set")(_check_changes)
    _distinct = field_validator("seeds")(_check_distinct)

    @field_validator("grid")
    @classmethod
    def _check_grid(cls, grid: dict[str, Any]) -> dict[str, Any]:
        flat = _check_changes(grid)
        for key, values in flat.items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key} must be a list of values to try, got {values!r}")
        return flat


@dataclass(frozen=True)
class Plan:
    """A checked space: all its recipes are valid."""

    space: Space
    base: Recipe
    variants: tuple[Variant, ...]
    """The written ones, then those of the grid that none of them equals."""
    source: str
    """The space's file, for messages."""

    @property
    def stages(self) -> tuple[Stage | None, ...]:
        """The cheap rounds, then None: the real one."""
        return (*self.space.stage, None)

    def seeds(self, stage: Stage | None) -> tuple[int, ...]:
        return (stage.seeds if stage else ()) or self.space.seeds

    def recipe(self, variant: Variant, seed: int, stage: Stage | None) -> Recipe:
        """The recipe of one run; its baselines are runs of their own, see `baseline_recipe`.

        Raises:
            RecipeError: the changes do not make a valid recipe.
        """
        source = f"{self.source}: variant {variant.name}"
        tree = self.base.model_dump(mode="json", exclude_none=True)
        for key, value in (self.space.set | variant.set | (stage.set if stage else {})).items():
            set_value(tree, key, value, source)
        return validate(Recipe, tree | {"name": variant.name, "seed": seed, "baselines": []}, source)


def baseline_recipe(recipe: Recipe, ffn: Literal["mlp", "none"]) -> Recipe:
    """The baseline of a variant's recipe: equal for all variants that differ in their blocks alone."""
    return recipe.without_block().with_ffn(ffn).model_copy(update={"name": ffn})


def load_space(path: Path, overrides: list[str] | None = None) -> Plan:
    """Read a space and its base recipe, and check every recipe that they make; `overrides` change all of them.

    Raises:
        RecipeError: a file is missing or not TOML, a key is unknown, a value is not allowed, names repeat, or there is
            nothing to vary.
    """
    tree = read_toml(path)
    for override in overrides or []:
        changes = tree.setdefault("set", {})
        if not isinstance(changes, dict):
            raise RecipeError(f"{path}: set must be a table")
        key, value = parse_override(override)
        changes[key] = value
    space = validate(Space, tree, str(path))
    variants = (*space.variant, *_grid_variants(space.grid))
    names = [variant.name for variant in variants]
    if not variants:
        raise RecipeError(f"{path}: nothing to explore; add [[variant]] with a name and set, or a [grid]")
    if repeated := {name for name in names if names.count(name) > 1}:
        raise RecipeError(f"{path}: {', '.join(sorted(repeated))} names several variants; every name must be unique")
    plan = Plan(space, load_recipe(path.parent / space.base), variants, str(path))
    contents = {variant.name: _check_recipes(plan, variant) for variant in variants}
    written = {contents[variant.name] for variant in space.variant}
    grid = (variant for variant in variants[len(space.variant) :] if contents[variant.name] not in written)
    return replace(plan, variants=(*space.variant, *grid))


def _check_recipes(plan: Plan, variant: Variant) -> str:
    """Make the recipes of a variant; returns what identifies the last one but for its name."""
    recipes = [plan.recipe(variant, plan.space.seeds[0], stage) for stage in plan.stages]
    return recipes[-1].model_copy(update={"name": ""}).content_hash()


def _grid_variants(grid: dict[str, Any]) -> list[Variant]:
    if not grid:
        return []
    labels = _shortest_labels(list(grid))
    choices = [
        [(key, value, f"{labels[key]}-{_value_label(value, number)}") for number, value in enumerate(values, start=1)]
        for key, values in grid.items()
    ]
    return [
        Variant(name="_".join(label for _, _, label in chosen), set={key: value for key, value, _ in chosen})
        for chosen in itertools.product(*choices)
    ]


def _shortest_labels(keys: list[str]) -> dict[str, str]:
    """Per key its shortest ending, in whole parts, that no other key ends with."""
    labels = {}
    for key in keys:
        parts = key.split(".")
        endings = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        clashes = [other for other in keys if other != key]
        labels[key] = next(
            (end for end in endings if not any(f".{other}".endswith(f".{end}") for other in clashes)), key
        )
    return labels


def _value_label(value: Any, number: int) -> str:
    """A number, word or truth value as itself; a list by its place in the grid."""
    if isinstance(value, list):
        return str(number)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"[^A-Za-z0-9.-]", "-", text)
