"""Technology constants: every one has a value, a unit and a source (`tech/*.toml`)."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra.errors import InputError

TECHNOLOGY_FOLDER = Path(__file__).parent / "tech"


@dataclass(frozen=True)
class Constant:
    """One technology constant in SI units (areas in mm2, counts by name)."""

    value: float
    unit: str
    source: str


class Technology:
    """The constants of one file, by section and key: `technology["fpga", "clock_hz"]` is 200e6."""

    def __init__(self, path: Path) -> None:
        """Read a technology file.

        Raises:
            InputError: cannot be read, is not TOML, or a constant lacks its value, unit or source.
        """
        self.path = path
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: cannot read the technology ({error.strerror})") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not TOML: {error}") from None
        self.constants = {
            (section, key): _constant(constant, f"{path}: {section}.{key}")
            for section, keys in tree.items()
            for key, constant in _table(keys, f"{path}: {section}").items()
        }

    def __getitem__(self, place: tuple[str, str]) -> float:
        try:
            return self.constants[place].value
        except KeyError:
            raise InputError(
                f"{self.path}: no constant {'.'.join(place)}; add it with value, unit and source"
            ) from None

    def sections(self) -> list[str]:
        """The sections in the file's order."""
        return list(dict.fromkeys(section for section, _ in self.constants))


def quweit_paper() -> Technology:
    """What QuWeiT measured on xcvu9p at 200 MHz and in 45 nm at 1 GHz."""
    return Technology(TECHNOLOGY_FOLDER / "quweit_paper.toml")


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: must be a section of constants")
    return value


def _constant(constant: Any, where: str) -> Constant:
    table = _table(constant, where)
    value, unit, source = table.get("value"), table.get("unit"), table.get("source")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{where}: value must be a number, got {value!r}")
    for name, text in (("unit", unit), ("source", source)):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}: {name} is missing; write where the number comes from and in which unit")
    return Constant(value, str(unit), str(source))
