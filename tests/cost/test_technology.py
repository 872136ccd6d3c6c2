"""Every technology constant carries its value, unit and source."""

from __future__ import annotations

import tomllib

import pytest

from lutra.cost.technology import TECHNOLOGY_FOLDER, Technology, quweit_paper
from lutra.errors import InputError

FILES = sorted(TECHNOLOGY_FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_constant_is_complete(path):
    read = Technology(path).constants
    written = [(section, key) for section, keys in tomllib.loads(path.read_text()).items() for key in keys]
    assert list(read) == written
    assert written


def test_the_papers_technology_is_there():
    assert [path.name for path in FILES] == ["horowitz_45nm.toml", "quweit_paper.toml"]
    assert quweit_paper()["fpga", "clock_hz"] == 200e6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[a]\nb = { value = 1, unit = "V" }', r"a\.b: source is missing"),
        ('[a]\nb = { value = 1, source = "x" }', r"a\.b: unit is missing"),
        ('[a]\nb = { unit = "V", source = "x" }', r"a\.b: value must be a number, got None"),
        ('[a]\nb = { value = "1", unit = "V", source = "x" }', r"a\.b: value must be a number, got '1'"),
        ("[a]\nb = 1", r"a\.b: must be a section"),
        ("a = 1", r"a: must be a section"),
        ("a =", "not TOML"),
    ],
)
def test_incomplete_constants_are_refused(tmp_path, text, message):
    path = tmp_path / "tech.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Technology(path)


def test_missing_constants_and_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no constant fpga\.mass; add it with value, unit and source"):
        quweit_paper()["fpga", "mass"]
    with pytest.raises(InputError, match="cannot read the technology"):
        Technology(tmp_path / "none.toml")
