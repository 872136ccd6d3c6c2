"""Running the syntheses behind a table again: what is kept, what is redone, and that records stay the same."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from lutra.errors import ToolError
from lutra.papers.catalogue import entry, table
from lutra.papers.experiments.run import Piece, refresh
from lutra.papers.experiments.table_3 import block_piece
from lutra.papers.records import Records
from lutra.synth.tools.find import fpga_yosys


def piece(name: str, built: list[str], record: str = "arrays", identity: str = "1", fails: bool = False) -> Piece:
    def build(folder):
        assert not list(folder.iterdir())
        if fails:
            raise ToolError(f"{name} failed")
        built.append(name)
        return {"target": name}

    return Piece(name, record, {"design": record}, identity, 10.0, build)


@pytest.mark.parametrize("jobs", [1, 3])
def test_finished_pieces_are_not_built_again(tmp_path, caplog, jobs):
    caplog.set_level(logging.INFO, "lutra")
    built: list[str] = []
    first = [piece("a", built), piece("b", built, fails=True), piece("c", built, record="blocks")]
    with pytest.raises(ToolError, match="b failed"):
        refresh(first, tmp_path, jobs)
    assert not list((tmp_path / "synth").glob("*.json"))
    before = list(built)
    assert "a" in before
    paths = refresh([piece("a", built), piece("b", built), piece("c", built, record="blocks")], tmp_path, jobs)
    assert sorted(built) == ["a", "b", "c"]
    assert [path.name for path in paths] == ["arrays.json", "blocks.json"]
    arrays = json.loads(paths[0].read_text())
    assert arrays["design"] == "arrays"
    assert arrays["targets"] == [{"target": "a"}, {"target": "b"}]
    assert arrays["lutra"] and "cores" in arrays["device"]
    assert not (tmp_path / "synth" / "pieces").exists()
    assert any("left, about" in message for message in caplog.messages)
    refresh([piece("a", built), piece("b", built)], tmp_path, jobs)
    assert built.count("a") == 2  # a complete record is made anew when it is asked for


def test_a_piece_of_another_design_is_built_again(tmp_path):
    built: list[str] = []
    failing = piece("b", built, fails=True)
    for identity in ("1", "2", "2"):
        with pytest.raises(ToolError):
            refresh([piece("a", built, identity=identity), failing], tmp_path, 1)
    assert built == ["a", "a"]


@pytest.mark.slow
def test_a_tiny_block_is_synthesised_and_the_table_reads_it(tmp_path):
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    shape = {"width": 3, "thermometer_bits": 1, "luts": (4, 3), "inputs": (3, 3), "output_bits": 8}
    refresh([block_piece(yosys, shape, 1, "tiny")], tmp_path, 1)
    record = json.loads((tmp_path / "synth" / "tiny.json").read_text())
    (block,) = record["targets"][0]["blocks"]
    assert block["lut_raw"] > 5
    assert record["shape"] == json.loads(json.dumps(shape))
    rows = {row.quantity: row.ours for row in table("quweit-3", Records(tmp_path)).rows}
    assert rows["QuWeiT block, LUTs"] == block["lut_raw"]


def test_the_pieces_of_the_tables():
    if fpga_yosys() is None:
        pytest.skip("Yosys is not installed")
    experiments = entry("quweit-3").experiments
    assert experiments is not None
    names = [each.name for each in experiments()]
    sizes = (8, 16, 32, 64)
    arrays, units = ([f"{design}_{size}" for size in sizes] for design in ("systolic", "shiftgelu"))
    assert names == ["weightless_ivit_t_fold_1", *arrays, *units]
    identities = {replace(each).identity for each in experiments()}
    assert len(identities) == len(names)
    assert entry("quweit-1").experiments is None
