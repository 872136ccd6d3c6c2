"""`explore.json` of a search of hardware: what it holds, and reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lutra.errors import RunDirectoryError
from lutra.explore.hardware.space import KIND, HardwareSpace
from lutra.names import FileName, Name
from lutra.runs.files import read_json
from lutra.runs.schemas.values import Amount, Count, Hash, Message, Positive, Real, Versioned
from lutra.runs.typed import checked
from lutra.schema import Strict

RECORD_NAME = "explore.json"
Resources = Literal["units", "paper"]
"""The two columns of resources."""
_Module = Annotated[list[Positive], Field(min_length=4, max_length=4)]
_Needs = Annotated[list[Amount], Field(min_length=4, max_length=4)]
"""Cycles, share of the device, and the places of the two modules."""


class SpaceScores(Strict):
    """Of a method."""

    accuracy: Real | None
    robustness: Real | None
    remark: str


class SearchedDevice(Strict):
    """The FPGA of the space."""

    name: Message
    lut: Positive
    ff: Positive
    bram: Amount
    dsp: Count
    source: Message
    remark: str


class Point(Strict):
    """A pair of modules."""

    attention: _Module
    feed_forward: _Module
    cycles: Positive
    milliseconds: Amount
    lut: Count
    ff: Count
    bram: Amount
    dsp: Count
    needs: Amount
    energy_j: Amount
    bytes_per_second: Amount
    pareto: bool | None = None


class Column(Strict):
    """What one column of resources says of a method."""

    feasible: Count
    needs: list[_Needs]
    frontier: list[Point]
    marked: Point | None = None


class _OfMethod(Strict):
    method: str
    p_pe: Positive
    p_softmax: Positive
    sums: Literal["count", "pe"]
    accuracy: Real | None
    robustness: Real | None


class Entry(_OfMethod):
    """A method on a grid."""

    key: str
    compared: bool
    copies: Literal[1, 2]
    bits: Literal[1, 2, 4, 8]
    heads: Positive
    intermediate: Positive
    points: Count
    buildable: Count
    columns: dict[Resources, Column]


class ChosenPoint(Point, _OfMethod):
    """A pair of modules for one method."""


class Chosen(Strict):
    """What to build by one column of resources."""

    fastest: ChosenPoint | None
    best: ChosenPoint | None
    constrained: bool


class Constraints(Strict):
    """The least that the limits allow."""

    accuracy: Real | None
    robustness: Real | None


class HardwareSearch(Versioned):
    """The file; `constraints` and `chosen` come when the search has finished."""

    kind: Literal["bat"]
    name: FileName
    finished: bool
    identity: Hash
    space: HardwareSpace
    scores: dict[str, SpaceScores]
    full: Real | None
    device: SearchedDevice
    environment: dict[Name, Message]
    points: Count
    seconds: Amount
    cpu_seconds: Amount
    peak_mib: Amount
    columns: list[Resources] = Field(min_length=1)
    entries: list[Entry]
    constraints: Constraints | None = None
    chosen: dict[Resources, Chosen] | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> HardwareSearch:
        if self.finished and (self.constraints is None or self.chosen is None):
            raise ValueError("a finished search has constraints and chosen")
        for entry in self.entries:
            if entry.columns.keys() != set(self.columns):
                raise ValueError(f"{entry.key}: must have the columns {', '.join(self.columns)}")
            if entry.method not in self.scores:
                raise ValueError(f"{entry.key}: no scores of {entry.method}")
        return self


def kind_of_exploration(path: Path) -> tuple[str | None, str | None]:
    """Kind and name that an `explore.json` says it has; of trainings the kind is None.

    Raises:
        RunDirectoryError: it cannot be read, or is not an object.
    """
    found = read_json(path, "explore")
    if not isinstance(found, dict):
        raise RunDirectoryError(f"{path}: an object is expected; run `lutra explore` again")
    return found.get("kind"), found.get("name")


def read_search(path: Path) -> dict[str, Any]:
    """The record of a search of hardware.

    Raises:
        RunDirectoryError: it cannot be read, or is not what `HardwareSearch` says.
    """
    return checked(read_json(path, "explore"), HardwareSearch, path, "search again into another folder (--out)")


def is_hardware_exploration(root: Path) -> bool:
    """Whether a folder holds a search of hardware."""
    path = root / RECORD_NAME
    return path.is_file() and kind_of_exploration(path)[0] == KIND
