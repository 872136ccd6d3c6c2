"""`steps.json`: which steps of a run have finished, on what evidence, and which have failed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError

from lutra.errors import RunDirectoryError
from lutra.names import Name, PathBelow, Text
from lutra.reading import digest
from lutra.runs.files import RunFiles, read_json, write_json
from lutra.runs.schemas.values import Amount, Hash
from lutra.schema import Strict, explain

VERSION = 2


class Finished(Strict):
    """Evidence of a step that did all that the recipe asks."""

    recipe: Name | Literal[""] = ""
    """The recipe's hash; empty in files that are not complete records."""
    inputs: dict[PathBelow, Hash] = Field(default_factory=dict)
    """SHA-256 by path below the run directory."""
    outputs: dict[PathBelow, Hash] = Field(default_factory=dict)
    seconds: Amount
    ended: Text
    environment: dict[Name, Text]
    """Versions by package, the machine."""


class Steps(Strict):
    """The file. Version 1 had the finished steps alone, by name."""

    format_version: Literal[2]
    finished: dict[Name, Finished]
    failed: dict[Name, Text]
    """Steps that began and did not come to their end, with the reason."""


def finished_steps(files: RunFiles) -> dict[str, dict[str, Any]]:
    """The record of every finished step, by name; empty for a run that has none.

    Raises:
        RunDirectoryError: the record is damaged.
    """
    return {name: record.model_dump() for name, record in read_steps(files).finished.items()}


def failed_steps(files: RunFiles) -> dict[str, str]:
    """Why each step that did not come to its end failed, by name. What such a step has left is no result.

    Raises:
        RunDirectoryError: the record is damaged.
    """
    return dict(read_steps(files).failed)


def changed_outputs(files: RunFiles) -> list[str]:
    """What finished steps have written and somebody has changed or removed since, by path below the run directory.

    Raises:
        RunDirectoryError: the record is damaged.
    """
    outputs = {path: found for step in read_steps(files).finished.values() for path, found in step.outputs.items()}
    places = {path: files.root / path for path in outputs}
    return [path for path, place in places.items() if not place.is_file() or digest(place) != outputs[path]]


def read_steps(files: RunFiles) -> Steps:
    """The record of a run, empty where there is none yet.

    Raises:
        RunDirectoryError: the record is damaged.
    """
    if not files.steps.exists():
        return Steps(format_version=2, finished={}, failed={})
    found = read_json(files.steps, "run")
    if isinstance(found, dict) and "format_version" not in found:
        found = {"format_version": VERSION, "finished": found, "failed": {}}
    try:
        return Steps.model_validate(found)
    except ValidationError as error:
        raise RunDirectoryError(f"{files.steps}: {explain(error)}; delete it and run `lutra run` again") from None


def write_steps(files: RunFiles, finished: dict[str, Any], failed: dict[str, str]) -> None:
    """Write the record, whole or not at all.

    Raises:
        RunDirectoryError: a file among the evidence has a name that is no text of one line.
    """
    try:
        content = Steps.model_validate({"format_version": VERSION, "finished": finished, "failed": failed})
    except ValidationError as error:
        raise RunDirectoryError(f"{files.steps}: not written, {explain(error)}; rename or move that file") from None
    write_json(files.steps, content.model_dump())
