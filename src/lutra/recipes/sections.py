"""What recipes of all kinds share: sections without unknown keys, TOML in and out, overrides, errors; never torch.

A recipe holds everything that decides a result, and the seed of every random draw. An unknown key, a wrong type or a
value out of range is one `RecipeError` that names file, key and what is allowed.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lutra.errors import RecipeError
from lutra.escape import brief, toml
from lutra.limits import SEED, TOML_BYTES
from lutra.names import FileName
from lutra.reading import read_bytes

Model = TypeVar("Model", bound=BaseModel)
THREADS = 2
"""One number for every machine, so that a run gives the same bits on each of a kind."""


class Section(BaseModel):
    """A table of a recipe: no unknown keys, nothing to change afterwards."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _lists_as_tuples(cls, given: Any) -> Any:
        """TOML and JSON have lists only; every other type must be as it is (true is not 1, "8" is not 8)."""
        if not isinstance(given, dict):
            return given
        return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


_ADDED: dict[tuple[str, str], Any] = {
    ("block", "encoded_scale"): "block",
    ("train", "threads"): THREADS,
    ("machine", "overlap"): False,
    ("machine", "synthesise"): False,
    **{(stage, "step_start"): "magnitude" for stage in ("fine_tune", "width", "q8", "ternary", "binary", "bit")},
    **{(stage, "second_lesson"): "logits" for stage in ("ternary", "binary")},
    **{(stage, "hand_over"): "best" for stage in ("ternary", "binary")},
}
"""Keys that came after results had been recorded: at their defaults they leave a recipe's hash as it was."""


class Experiment(Section):
    """What recipes of every kind have."""

    kind: ClassVar[str]
    """By which `recipes.kinds.KINDS` knows recipes of this class."""
    newer: ClassVar[frozenset[str]] = frozenset()
    """Sections that came after results were recorded: left as they are by default they do not change a hash."""

    name: FileName
    seed: int = Field(1337, ge=0, le=SEED)

    @model_validator(mode="before")
    @classmethod
    def _check_kind(cls, tree: Any) -> Any:
        """The key `kind` decides which class reads a recipe, and so is no field of it."""
        if isinstance(tree, dict) and "kind" in tree:
            if tree["kind"] != cls.kind:
                raise ValueError(f"kind {tree['kind']!r}, but only a recipe of kind {cls.kind!r} fits here")
            return {key: value for key, value in tree.items() if key != "kind"}
        return tree

    @property
    def processor_threads(self) -> int:
        """On which PyTorch computes: sums in other pieces round differently, so the number decides results."""
        return THREADS

    @property
    def has_blocks(self) -> bool:
        """Whether the model has weightless blocks."""
        return False

    @property
    def has_hardware(self) -> bool:
        """Whether RTL is generated and simulated: of blocks, or of a machine for the whole model."""
        return self.has_blocks

    @property
    def record_name(self) -> str:
        """Of the file that records its results."""
        return self.name

    def to_toml(self) -> str:
        """The recipe with its kind and every value spelled out; read back it is equal."""
        return dump_toml({"kind": self.kind, **self.model_dump(mode="json", exclude_none=True)})

    def content_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the recipe's canonical JSON."""
        fields = type(self).model_fields
        unchanged = {name for name in self.newer if getattr(self, name) == fields[name].default}
        tree = self.model_dump(mode="json", exclude=unchanged, exclude_none=True)
        for (section, key), default in _ADDED.items():
            if isinstance(tree.get(section), dict) and tree[section].get(key) == default:
                del tree[section][key]
        if self.kind != "language":  # which had no name when its first results were recorded
            tree["kind"] = self.kind
        canonical = json.dumps(tree, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def read_overridden(
    path: Path, overrides: list[str] | None = None, model: type[BaseModel] | None = None
) -> dict[str, Any]:
    """The nested dictionaries of a recipe after its overrides.

    Raises:
        RecipeError: no such file, not TOML, or an override that leads nowhere.
    """
    tree = read_toml(path)
    for override in overrides or []:
        apply_override(tree, override, model)
    return tree


def read_toml(path: Path) -> dict[str, Any]:
    """The nested dictionaries of a TOML file.

    Raises:
        RecipeError: no such file, or not TOML.
    """
    try:
        return tomllib.loads(read_bytes(path, TOML_BYTES).decode("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot read it ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # beside TOMLDecodeError: not UTF-8, a number of 5,000 digits
        raise RecipeError(f"{path}: not TOML: {brief(str(error))}") from None


def validate(model: type[Model], tree: dict[str, Any], source: str) -> Model:
    """Check nested dictionaries against a pydantic model.

    Raises:
        RecipeError: names `source`, the key, and what is allowed.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise RecipeError("; ".join(_explain(detail, model, source) for detail in error.errors()[:3])) from None


def dump_toml(tree: dict[str, Any]) -> str:
    """TOML text of nested dictionaries of strings, numbers, booleans, lists and lists of tables."""
    return "\n".join(_toml_table(tree, ())).lstrip("\n") + "\n"


def _toml_table(table: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    def is_tables(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)

    scalars = {key: value for key, value in table.items() if not isinstance(value, dict) and not is_tables(value)}
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in scalars.items()]
    for key, value in table.items():
        name = ".".join(map(_toml_key, (*path, key)))
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *_toml_table(value, (*path, key))]
        elif is_tables(value):
            for item in value:
                lines += ["", f"[[{name}]]", *_toml_table(item, (*path, key))]
    return lines


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key, re.ASCII) else toml(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, str):
        return toml(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value, allow_nan=False)


def apply_override(tree: dict[str, Any], override: str, model: type[BaseModel] | None = None) -> None:
    """Set `key.path=value` in a recipe; a list that it does not spell out is that of `model`'s defaults.

    Raises:
        RecipeError: no key, or one that leads nowhere.
    """
    key, value = parse_override(override)
    if model is not None:
        _spell_out(tree, key.split("."), model)
    set_value(tree, key, value, f"--set {brief(override)}")


def _spell_out(tree: dict[str, Any], parts: list[str], model: Any) -> None:
    """Write the default of the first list that a path leads through, where the recipe leaves it out."""
    node: Any = tree
    for part, following in pairwise(parts):
        described = isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields
        if not isinstance(node, dict) or not described:
            return
        field = model.model_fields[part]
        if part not in node and following.isdigit():
            default = field.get_default(call_default_factory=True)
            if isinstance(default, tuple):
                node[part] = [each.model_dump(mode="json") if isinstance(each, BaseModel) else each for each in default]
            return
        node, model = node.setdefault(part, {}), field.annotation


def parse_override(override: str) -> tuple[str, Any]:
    """Key and value of `key.path=value`.

    Raises:
        RecipeError: no key.
    """
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"--set {brief(override)}: write key=value, for instance train.iterations=500")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"--set {brief(override)}: {error}") from None
    return key.strip(), value


def set_value(tree: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set `key.path` in nested dictionaries and lists (positions are numbers); a missing dictionary is made.

    Raises:
        RecipeError: the path leads through something else; `source` names it.
    """
    *parents, last = key.split(".")
    node: Any = tree
    for part in parents:
        if isinstance(node, list):
            node = node[int(part)] if part.isdigit() and int(part) < len(node) else None
        elif isinstance(node, dict):
            node = node.setdefault(part, {})
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise RecipeError(f"{source}: {key} does not lead to a key of the recipe")


def _explain(detail: Any, model: type[BaseModel], source: str) -> str:
    key = brief(".".join(str(part) for part in detail["loc"])) or model.__name__.lower()
    if detail["type"] == "extra_forbidden":
        section: Any = model
        for part in detail["loc"][:-1]:
            if isinstance(part, str):
                section = _section_type(section.model_fields[part].annotation)
        return f"{source}: unknown key {key}; allowed here: {', '.join(sorted(section.model_fields))}"
    message = brief(detail["msg"].removeprefix("Value error, "), 300)
    given = "" if detail["type"] == "missing" or ", got " in message else f", got {brief(repr(detail['input']))}"
    return f"{source}: {key}: {message}{given}"


def _section_type(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(_section_type(argument) for argument in annotation.__args__ if argument is not Ellipsis)
