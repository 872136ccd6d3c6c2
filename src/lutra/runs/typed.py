"""Files with a schema: checked when they are written and when they are read, versioned.

What is read is the plain content, without its version, so that it can be shown and recorded as it was measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lutra.errors import LutraError, RunDirectoryError
from lutra.escape import brief
from lutra.limits import LOG_BYTES
from lutra.reading import parse_json, read_bytes
from lutra.recipes.kinds import kind_of, load_function
from lutra.recipes.sections import Experiment
from lutra.runs.files import RunFiles, read_json, write_json, write_text
from lutra.schema import explain

VERSION = "format_version"
EVIDENCE = ("evaluate", "simulate", "synth", "cost")
"""Steps that write one JSON file of their own name."""


def write_record(path: Path, schema: type[BaseModel], content: dict[str, Any]) -> None:
    """Write `content` as JSON with the version of its schema, whole or not at all.

    Raises:
        LutraError: it is not what the schema says, a number that is none among it.
    """
    try:
        plain = json.loads(json.dumps(content, allow_nan=False))
        schema.model_validate(plain)
    except ValidationError as error:
        raise LutraError(f"{path}: not written, {explain(error)}") from None
    except ValueError as error:
        raise LutraError(f"{path}: not written, a number in it is not finite ({error})") from None
    write_json(path, {VERSION: schema.model_fields[VERSION].default, **plain})


def read_record(path: Path, schema: type[BaseModel], made_by: str) -> dict[str, Any]:
    """The content of a file of `write_record`, which the step `made_by` wrote.

    Raises:
        RunDirectoryError: the file is missing, cannot be read, or is not what the schema says.
    """
    return checked(read_json(path, made_by), schema, path, f"run `lutra {made_by}` again")


def checked(content: Any, schema: type[BaseModel], path: Path, remedy: str) -> dict[str, Any]:
    """`content` without its version, if it is what the schema says.

    Raises:
        RunDirectoryError: it is not; names the first field that is off.
    """
    if not isinstance(content, dict):
        raise RunDirectoryError(f"{path}: an object is expected; {remedy}")
    known = schema.model_fields[VERSION].default
    version = content.get(VERSION, known)
    if type(version) is not int or version != known:
        raise RunDirectoryError(
            f"{path}: format_version is {brief(str(version), 40)}, this Lutra reads {known}; {remedy}"
        )
    try:
        schema.model_validate(content)
    except ValidationError as error:
        raise RunDirectoryError(f"{path}: {explain(error)}; {remedy}") from None
    return {key: value for key, value in content.items() if key != VERSION}


def write_lines(path: Path, schema: type[BaseModel], lines: Sequence[dict[str, Any]]) -> None:
    """Write a log, one JSON object per line, whole or not at all.

    Raises:
        LutraError: the last line is not what the schema says.
    """
    try:
        for line in lines[-1:]:
            schema.model_validate(line)
    except ValidationError as error:
        raise LutraError(f"{path}: not written, {explain(error)}") from None
    write_text(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))


def read_lines(path: Path, schema: type[BaseModel], remedy: str) -> list[dict[str, Any]]:
    """The lines of a log; none where there is no file.

    Raises:
        RunDirectoryError: it cannot be read, or a line is not what the schema says.
    """
    lines: list[dict[str, Any]] = []
    number = 0
    try:
        for line in read_bytes(path, LOG_BYTES).split(b"\n"):
            number += 1
            if line.strip():
                lines.append(parse_json(line))
                schema.model_validate(lines[-1])
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot read it ({error.strerror}); {remedy}") from None
    except ValidationError as error:
        raise RunDirectoryError(f"{path}: line {number}: {explain(error)}; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path}: line {number} is not JSON ({brief(str(error))}); {remedy}") from None
    return lines


def read_text(path: Path, remedy: str) -> str:
    """A text file.

    Raises:
        RunDirectoryError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        return read_bytes(path, LOG_BYTES).decode("utf-8")
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot read it ({error.strerror}); {remedy}") from None
    except UnicodeDecodeError as error:
        raise RunDirectoryError(f"{path}: not UTF-8 at byte {error.start}; {remedy}") from None


def schema_of(recipe: Experiment, file: str) -> type[BaseModel]:
    """The schema of a file (`evaluate.json`, ...) of runs of the recipe's kind."""
    schema: type[BaseModel] = load_function(kind_of(recipe).schemas[file])
    return schema


def write_evidence(files: RunFiles, recipe: Experiment, step: str, content: dict[str, Any]) -> None:
    """Write what a step of `EVIDENCE` found.

    Raises:
        LutraError: see `write_record`.
    """
    path: Path = getattr(files, step)
    write_record(path, schema_of(recipe, path.name), content)


def read_evidence(files: RunFiles, recipe: Experiment, step: str) -> dict[str, Any]:
    """What a step of `EVIDENCE` found.

    Raises:
        RunDirectoryError: see `read_record`.
    """
    path: Path = getattr(files, step)
    return read_record(path, schema_of(recipe, path.name), step)
