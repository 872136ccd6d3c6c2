"""Values that all schemas are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from lutra.limits import FOLD_FACTOR, LARGEST_COUNT, LARGEST_REAL, SEED
from lutra.names import text_problem
from lutra.schema import Strict

Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Integer = Annotated[int, Field(ge=-LARGEST_COUNT, le=LARGEST_COUNT)]
Real = Annotated[float, Field(ge=-LARGEST_REAL, le=LARGEST_REAL)]
Amount = Annotated[float, Field(ge=0, le=LARGEST_REAL)]
"""Of seconds, bytes, energy."""
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=SEED)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
Fold = Annotated[int, Field(ge=1, le=FOLD_FACTOR)] | Literal["all"]
Dataflow = Literal["accumulate", "tree", "graph", "auto"]


def _message(text: str) -> str:
    if problem := text_problem(text):
        raise ValueError(problem)
    return text


Message = Annotated[str, AfterValidator(_message)]
"""One line that a person reads, such as a reason or what a tool is called."""


def require_equal_keys(found: dict[str, Any], wanted: set[str], what: str) -> None:
    """Raise ValueError unless `found` has these keys."""
    if found.keys() != wanted:
        raise ValueError(f"{what} must have {', '.join(sorted(wanted))}")


class Versioned(Strict):
    """A file. Those written before there were versions have none; they are read as version 1."""

    format_version: Literal[1] = 1
