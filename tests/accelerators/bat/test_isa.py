"""The page that describes BAT's programs is complete, and tells what the table of fields says."""

from __future__ import annotations

import re
from pathlib import Path

from lutra.accelerators.bat import program
from lutra.accelerators.bat.weights import SECTIONS

PAGE = (Path(program.__file__).parent / "isa.md").read_text(encoding="utf-8")


def rows(heading):
    """Rows of the table below a heading, cells stripped."""
    section = PAGE[PAGE.index(heading) :]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in table[0].splitlines()[2:]]


def test_flags_are_described_in_their_order():
    assert [row[0] for row in rows("### Flags")] == [f"`{flag}`" for flag in program.FLAGS]


def test_fields_are_described_with_their_places():
    described = {}
    for places, names, _ in rows("### Fields"):
        numbers = [int(each) for each in re.findall(r"\d+", re.sub(r"\(\d+( bits)?\)", "", places))]
        first = list(range(numbers[0], numbers[1] + 1)) if " to " in places else numbers
        described |= dict(zip(re.findall(r"`(\w+)`", names), first, strict=True))
    assert described == program.PLACES


def test_long_fields_are_described_with_their_bits():
    text = " ".join(f"{places} {names}" for places, names, _ in rows("### Fields"))
    for name, bits in program.LONG.items():
        place = program.PLACES[name]
        assert re.search(rf"\b{place} \((32|24)( bits)?\)|\b{place}, \d+ \({bits} bits\)", text), name


def test_sections_of_a_blob_are_described():
    assert len(rows("### Blobs")) == len(SECTIONS)  # gains and biases share a row, the tables have one
