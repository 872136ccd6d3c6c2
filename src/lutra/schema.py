"""Files as typed models: what all readers share.

A file that Lutra writes has a pydantic model beside its writer, made from `Strict`; every reader goes through it, so
that a damaged or foreign file ends in one line with file, field and reason.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lutra.escape import brief
from lutra.names import shown


class Strict(BaseModel):
    """No unknown keys, no conversions (8.0, "8" and true are not 8), no infinities, nothing to change afterwards."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


Model = TypeVar("Model", bound=BaseModel)


def explain(error: ValidationError) -> str:
    """The first problem that pydantic found: field, reason, and the value where it is short."""
    detail = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in detail["loc"])
    reason = detail["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    given = detail["input"]
    plain = isinstance(given, (str, int, float, bool)) or given is None
    got = "" if detail["type"] in ("missing", "value_error") or not plain else f", got {_short(given)}"
    return f"{brief(place)}: {brief(reason)}{got}" if place else f"{brief(reason)}{got}"


def _short(value: Any) -> str:
    return shown(value) if isinstance(value, str) else str(value)[:40]
