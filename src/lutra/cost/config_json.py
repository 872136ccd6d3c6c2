"""A `config.json` of Hugging Face, read so that what is missing or off is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lutra.errors import InputError
from lutra.escape import brief
from lutra.limits import JSON_BYTES, PARAMETERS
from lutra.reading import parse_json, read_bytes


class Config:
    """A Hugging Face configuration that names the key which is missing or of a wrong type."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self.values, self.source = values, source

    def integer(self, *keys: str, default: int | None = None, minimum: int = 1) -> int:
        """The first of `keys` that is there and not null, at least `minimum`."""
        for key in keys:
            value = self.values.get(key)
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int):
                    raise InputError(f"{self.source}: {key} must be an integer, got {brief(repr(value), 60)}")
                if value < minimum:
                    raise InputError(f"{self.source}: {key} must be at least {minimum}, got {value}")
                if value > PARAMETERS:
                    raise InputError(f"{self.source}: {key} must be at most {PARAMETERS}, got {brief(str(value), 60)}")
                return value
        if default is None:
            raise InputError(
                f"{self.source}: the key {' or '.join(keys)} is missing; give the model's whole config.json"
            )
        return default

    def sides(self, key: str) -> tuple[int, int]:
        """Height and width, given as two integers or, when they are equal, as one."""
        value = self.values.get(key)
        if not isinstance(value, list):
            side = self.integer(key)
            return side, side
        if len(value) != 2 or not all(isinstance(side, int) and side >= 1 for side in value):
            raise InputError(f"{self.source}: {key} must be one or two positive integers, got {brief(repr(value), 60)}")
        return value[0], value[1]

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise InputError(f"{self.source}: {key} must be true or false, got {brief(repr(value), 60)}")
        return value


def read_config(path: Path) -> Mapping[str, Any]:
    path = path / "config.json" if path.is_dir() else path
    try:
        values = parse_json(read_bytes(path, JSON_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({brief(str(error))})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold one JSON object with the keys of a model's config.json")
    return values
