"""Draw the pictures of the documentation: `python docs/draw.py` writes them beside this file."""

from __future__ import annotations

import graphlib
import itertools
import runpy
import textwrap
from dataclasses import dataclass
from pathlib import Path

from lutra.papers.quweit.shares import figure_workloads
from lutra.report.figures import BlockShape, block_picture, standalone, svg_picture, svg_text
from lutra.report.shares_figure import shares_figure
from lutra.runs.files import write_text

PAPER_BLOCK = BlockShape(
    input_width=192,
    input_bits=8,
    thermometer_bits=8,
    luts=(768, 192),
    lut_inputs=(6, 6),
    sum_sources=(2,),
    groups=1,
    output_width=192,
    output_bits=16,
)
"""The block of QuWeiT's I-ViT-T."""
WORDS = {
    "kernels": "train the block fast",
    "nn": "trainable parts",
    "models": "whole models",
    "data": "data sets by name",
    "train": "resumes to the bit",
    "freeze": "to exact numbers",
    "evaluate": "losses and scores",
    "export": "ONNX",
    "frozen": "the exact meaning",
    "runtime": "fast on a CPU",
    "hardware": "what designs share",
    "synth": "tools and netlists",
    "accelerators.block": "accelerator of tables",
    "accelerators.systolic": "accelerator for int8",
    "accelerators.bat": "binary transformers",
    "accelerators.transformer": "whole transformers",
    "cost": "cycles and energy",
    "report": "a run's page, records",
    "papers": "their tables, and ours",
    "explore": "many runs",
}
"""What the picture of the house says about a room."""


def pictures() -> dict[str, str]:
    """SVG text by file name."""
    return {
        "block.svg": standalone(block_picture(PAPER_BLOCK)),
        "house.svg": standalone(_house_picture(House.of_the_code())),
        "quweit_fig1.svg": standalone(shares_figure(figure_workloads())),
    }


@dataclass(frozen=True)
class House:
    """The rooms of Lutra that are neither ground nor roof, and who imports whom."""

    ground: list[str]
    roof: list[str]
    torch: set[str]
    """Rooms that reach PyTorch."""
    arrows: dict[str, list[str]]
    """Which rooms each room imports, without those that other arrows lead to as well."""

    @classmethod
    def of_the_code(cls) -> House:
        """As the imports are; which room is ground, roof or neither says `tests/test_layers.py`."""
        layers = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "test_layers.py"))
        rooms = [room for room in layers["ALLOWED"] if room not in layers["COMMON"]]
        found = layers["imports_of"](layers["PACKAGE"])
        torch = {layers["room_of"](module) for module in layers["modules_that_reach"]("torch", found)}
        pairs = {each.layers for each in found if each.ours and not each.for_types}
        direct = {
            room: {below for above, below in pairs if above == room != below and below in rooms} for room in rooms
        }
        arrows = {
            room: [below for below in rooms if below in names - _reached(direct, names)]
            for room, names in direct.items()
        }
        roof = sorted(layers["STARTS_STEPS"] - {"", "__main__"})
        return cls(sorted(layers["COMMON"]), roof, torch, arrows)

    def floors(self) -> dict[str, int]:
        """The floor of every room, 0 at the bottom: right below the lowest room that imports it."""
        users = {room: [above for above, below in self.arrows.items() if room in below] for room in self.arrows}
        heights: dict[str, int] = {}
        for room in graphlib.TopologicalSorter(self.arrows).static_order():
            heights[room] = 1 + max((heights[below] for below in self.arrows[room]), default=-1)
        for room in graphlib.TopologicalSorter(users).static_order():
            heights[room] = min((heights[above] - 1 for above in users[room]), default=heights[room])
        return heights


def _reached(direct: dict[str, set[str]], starts: set[str]) -> set[str]:
    """All rooms that the imports of `starts` lead to."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        more = direct[waiting.pop()] - found
        found |= more
        waiting += more
    return found


_BOX, _GAP, _LANE = (138, 46), 18, 24
"""Width and height of a room, the space between two of them, and the width that a passing arrow takes."""
_FLOOR = 92
_MARGIN = 20


@dataclass
class _Place:
    """A room, or the point where an arrow passes a floor between its two rooms."""

    room: str
    floor: int
    left: bool
    """Whether it stands in the wing of PyTorch."""
    below: list[_Place]
    is_room: bool = True
    x: float = 0.0

    @property
    def width(self) -> float:
        return _BOX[0] if self.is_room else _LANE


@dataclass
class _Row:
    """The places of one floor of a wing, from left to right, and where the wing lies."""

    places: list[_Place]
    start: float
    width: float


def _house_picture(house: House) -> str:
    """Rooms as boxes in floors, an arrow from each to those that it imports; the wing of PyTorch on the left."""
    places = _places(house)
    floors = 1 + max(place.floor for place in places)
    start, top, height = 1.0, 96.0, floors * _FLOOR + 34
    panels, rows = [], []
    for left, title in ((True, "imports PyTorch"), (False, "NumPy and compilers only")):
        wing = [[place for place in places if place.left == left and place.floor == floor] for floor in range(floors)]
        width = max(map(_row_width, wing)) + 2 * _MARGIN
        panels.append(_panel(start, top, width, height, title))
        rows += [_Row(row, start, width) for row in wing]
        start += width + _GAP
    _arrange(rows, places)
    width, foot = start - _GAP, top + height
    lines = textwrap.wrap(", ".join(house.ground), int(width / 11))
    parts = [
        _roof(width, ", ".join(house.roof), "start what a call needs"),
        *panels,
        *_arrows(places, foot),
        *(_room_box(place.x, _top(place, foot), place.room) for place in places if place.is_room),
        _ground(foot + _GAP, width, lines, "the ground: every room may import it"),
    ]
    label = "The rooms of Lutra in floors: " + "; ".join(
        f"{room} imports {', '.join(below)}" for room, below in house.arrows.items() if below
    )
    return svg_picture(width + 1, foot + _GAP + 42 + 20 * len(lines), label, parts)


def _places(house: House) -> list[_Place]:
    """A place for every room, and one for every floor that an arrow passes between."""
    floors = house.floors()
    rooms = {room: _Place(room, floors[room], room in house.torch, []) for room in house.arrows}
    places: list[_Place] = []
    for room, below in house.arrows.items():
        for name in below:
            upper, target = rooms[room], rooms[name]
            for floor in range(upper.floor - 1, target.floor, -1):
                passing = _Place(name, floor, target.left, [], is_room=False)
                places.append(passing)
                upper.below.append(passing)
                upper = passing
            upper.below.append(target)
    return places + list(rooms.values())


def _row_width(row: list[_Place]) -> float:
    return sum(place.width for place in row) + _GAP * (len(row) - 1)


def _arrange(rows: list[_Row], places: list[_Place]) -> None:
    """Set the x of every place: rows centred in their wings, neighbours exchanged as long as that gets arrows apart."""
    for row in rows:
        _spread(row)
    best, improved = _disorder(places), True
    while improved:
        improved = False
        for row in rows:
            for left in range(len(row.places) - 1):
                _exchange(row, left)
                if (found := _disorder(places)) < best:
                    best, improved = found, True
                else:
                    _exchange(row, left)


def _exchange(row: _Row, left: int) -> None:
    row.places[left], row.places[left + 1] = row.places[left + 1], row.places[left]
    _spread(row)


def _disorder(places: list[_Place]) -> tuple[int, float]:
    """How many arrows cross each other, and how far they run sideways."""
    arrows = [(upper, lower) for upper in places for lower in upper.below]
    crossings = sum(
        (a.x - c.x) * (b.x - d.x) < 0 and a.floor == c.floor for (a, b), (c, d) in itertools.combinations(arrows, 2)
    )
    return crossings, round(sum(abs(upper.x - lower.x) for upper, lower in arrows), 3)


def _spread(row: _Row) -> None:
    x = row.start + (row.width - _row_width(row.places)) / 2
    for place in row.places:
        place.x = x + place.width / 2
        x += place.width + _GAP


def _top(place: _Place, foot: float) -> float:
    """The upper edge of a place's box."""
    return foot - 22 - _BOX[1] - place.floor * _FLOOR


def _arrows(places: list[_Place], foot: float) -> list[str]:
    """A curve from every place to those below it; curves that share an edge leave and arrive side by side."""
    ends: dict[tuple[int, int], float] = {}
    above = {id(place): [upper for upper in places if place in upper.below] for place in places}
    for place in places:
        for others in (place.below, above[id(place)]):
            for index, other in enumerate(sorted(others, key=lambda other: other.x)):
                offset = 24 * (index - (len(others) - 1) / 2) if place.is_room else 0
                ends[id(place), id(other)] = place.x + offset
    return [
        _curve(
            (ends[id(place), id(other)], _top(place, foot) + _BOX[1] if place.is_room else _top(place, foot)),
            (ends[id(other), id(place)], _top(other, foot)),
            bar=None if place.is_room else _top(place, foot) + _BOX[1],
            head=other.is_room,
        )
        for place in places
        for other in place.below
    ]


def _curve(start: tuple[float, float], end: tuple[float, float], bar: float | None, head: bool) -> str:
    """A curve that leaves and arrives upright; first straight down to `bar` where it passes a floor."""
    (x0, y0), (x, y) = start, end
    straight = "" if bar is None else f"V{bar:g} "
    y0 = y0 if bar is None else bar
    y_end = y - 7 if head else y
    middle = (y0 + y_end) / 2
    path = f"M{x0:g},{start[1]:g} {straight}C{x0:g},{middle:g} {x:g},{middle:g} {x:g},{y_end:g}"
    drawn = f'<path d="{path}" fill="none" stroke="var(--muted)" stroke-width="1.3"/>'
    if head:
        drawn += f'<polygon points="{x - 4:g},{y - 9:g} {x + 4:g},{y - 9:g} {x:g},{y - 1:g}" fill="var(--muted)"/>'
    return drawn


def _panel(x: float, y: float, width: float, height: float, title: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="var(--paper)" '
        f'stroke="var(--rule)"/>' + svg_text(x + 16, y + 24, title, "start", 12, "muted")
    )


def _room_box(x: float, y: float, room: str) -> str:
    width, height = _BOX
    stroke = "ours" if room == "frozen" else "rule"
    return (
        f'<rect x="{x - width / 2:g}" y="{y:g}" width="{width}" height="{height}" rx="6" fill="var(--card)" '
        f'stroke="var(--{stroke})"/>'
        + svg_text(x, y + 20, room.rpartition(".")[2], "middle", 13, "ours" if room == "frozen" else "ink", weight=600)
        + svg_text(x, y + 36, WORDS.get(room, ""), "middle", 11, "muted")
    )


def _roof(width: float, names: str, words: str) -> str:
    middle = width / 2
    return (
        f'<polygon points="1,84 {middle:g},4 {width:g},84" fill="var(--card)" stroke="var(--rule)"/>'
        + svg_text(middle, 54, names, "middle", 13, "ink", weight=600)
        + svg_text(middle, 72, words, "middle", 11, "muted")
    )


def _ground(y: float, width: float, lines: list[str], words: str) -> str:
    height = 32 + 20 * len(lines)
    return (
        f'<rect x="1" y="{y:g}" width="{width - 1:g}" height="{height}" rx="6" fill="var(--card)" '
        f'stroke="var(--rule)"/>'
        + "".join(
            svg_text(width / 2, y + 22 + 20 * number, line, "middle", 13, "ink", weight=600)
            for number, line in enumerate(lines)
        )
        + svg_text(width / 2, y + height - 12, words, "middle", 11, "muted")
    )


if __name__ == "__main__":
    for name, svg in pictures().items():
        write_text(Path(__file__).with_name(name), svg)
