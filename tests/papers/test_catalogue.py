"""The paper's tables: printed values, ours, and the records that measured values come from."""

from __future__ import annotations

import json

import pytest

from lutra.errors import InputError
from lutra.papers.catalogue import TABLES, table
from lutra.papers.records import RECORDED, Records
from lutra.runs.files import write_json


@pytest.mark.parametrize("name", TABLES)
def test_every_table_renders(name, tmp_path):
    built = table(name, Records(tmp_path))
    assert built.name == name
    markdown = built.to_markdown()
    assert all(row.quantity in markdown for row in built.rows)
    width = markdown.splitlines()[2].count("|")
    assert all(line.count("|") == width for line in markdown.splitlines() if line.startswith("|"))
    assert len(json.loads(json.dumps(built.to_json(), allow_nan=False))["rows"]) == len(built.rows)


def rows(name, results):
    return {row.quantity: row for row in table(name, Records(results)).rows}


def test_table_1_agrees_with_the_paper(tmp_path):
    for row in table("quweit-1", Records(tmp_path)).rows:
        assert row.paper in (None, row.ours)
    assert "2,415,919,104 with GPT-3's real context" in rows("quweit-1", tmp_path)["QK^T, MACs per token"].remark


def test_table_3_takes_luts_from_records(tmp_path):
    before = rows("quweit-3", tmp_path)
    assert before["32x32 systolic, cycles"].ratio == 1
    assert before["QuWeiT block, LUTs"].ours is None
    assert before["QuWeiT block, FPGA energy"].ours == pytest.approx(28.8, abs=0.05)
    block = {"lut_raw": 21300, "lut_packed": 17700, "ff": 6947, "bram": 0, "dsp": 0}
    targets = [
        {"target": "xcup", "tool": "Yosys 0.70", "fold_factor": 4, "blocks": [{**block, "lut_raw": 1}]},
        {"target": "xcup", "tool": "Yosys 0.70", "fold_factor": 1, "blocks": [block]},
    ]
    write_json(tmp_path / "synth" / "block.json", {"design": "weightless-ivit-t", "targets": targets})
    write_json(tmp_path / "synth" / "other.json", {"design": "another", "targets": targets})
    after = rows("quweit-3", tmp_path)["QuWeiT block, LUTs"]
    assert (after.paper, after.ours) == (23984, 21300)
    assert after.remark == "17,700 packed; F = 1, Yosys 0.70"


def test_table_3_takes_arrays_from_records(tmp_path):
    use = {"lut_raw": 6100, "lut_packed": 4000, "ff": 3400, "bram": 12, "dsp": 0}
    target = {
        "target": "xcup",
        "tool": "Yosys 0.70",
        "size": 8,
        "total": use,
        "without_requantisers": {"lut_raw": 5000},
    }
    write_json(tmp_path / "synth" / "arrays.json", {"design": "systolic-ivit-t", "targets": [target]})
    table_3 = rows("quweit-3", tmp_path)
    luts = table_3["8x8 systolic, LUTs"]
    assert (luts.paper, luts.ours, luts.remark) == (7792, 6100, "5,000 without requantisers; Yosys 0.70")
    assert table_3["8x8 systolic, flip-flops"].ours == 3400
    assert table_3["16x16 systolic, LUTs"].ours is None


def test_table_3_adds_shift_gelu_to_the_arrays(tmp_path):
    assert "8x8 systolic, ShiftGELU, LUTs" not in rows("quweit-3", tmp_path)
    activation = {"unit": 15, "shift": 23, "multiplier": 33026, "multiplier_shift": 22, "max_tiles": 96}
    use = {"lut_raw": 2183, "lut_packed": 1279, "ff": 1578, "bram": 3, "dsp": 0}
    target = {"target": "xcup", "tool": "Yosys 0.70", "size": 8, "output_lanes": 1, "total": use, **activation}
    write_json(tmp_path / "synth" / "gelu.json", {"design": "shiftgelu-ivit-t", "targets": [target]})
    table_3 = rows("quweit-3", tmp_path)
    assert table_3["8x8 systolic, ShiftGELU, LUTs"].ours == 2183
    # 96 tiles of 8 x 8 results, one per cycle, and 36 cycles in the pipeline: the quotient has 27 bits, 9 other stages.
    assert table_3["8x8 systolic, ShiftGELU, cycles"].ours == 96 * 64 + 27 + 9


def test_table_3_shows_what_graphs_of_adders_save(tmp_path):
    assert not any(name.startswith("block of") for name in rows("quweit-3", tmp_path))
    use, sums = {"lut_packed": 800, "lut_raw": 1600, "ff": 90}, {"tree_luts": 9, "graph_luts": 7}
    design = {"use": use, "lut_packed_per_output": 12.5, "latency_cycles": 9, "sums": []}
    chosen = {**design, "lut_packed_per_output": 8.25, "sums": [{"dataflow": way, **sums} for way in ("graph", "tree")]}
    target = {"recipe": "small", "encoded_bits": 3, "outputs": 64, "tool": "Yosys", "designs": [design, chosen]}
    write_json(tmp_path / "synth" / "sums.json", {"design": "summed-blocks", "targets": [target]})
    table_3 = rows("quweit-3", tmp_path)
    assert table_3["block of small, 3-bit values, trees"].ours == 12.5
    row = table_3["block of small, 3-bit values, graphs for 1 of 2 groups"]
    assert row.ours == 8.25 and row.remark.startswith("64 outputs, F = all: 800 packed, 1,600 raw, 90 FF, latency 9 ")
    write_json(tmp_path / "synth" / "sums.json", {"design": "summed-blocks", "targets": [{"recipe": "small"}]})
    with pytest.raises(InputError, match=r"sums\.json: not a record of a synthesis"):
        table("quweit-3", Records(tmp_path))


def test_table_4_shows_the_paper_and_serial_summation(tmp_path):
    table_4 = rows("quweit-4", tmp_path)
    assert table_4["as printed, FPGA ratio"].ours == pytest.approx(2.291, abs=5e-4)
    assert table_4["as printed, ASIC ratio"].ours == pytest.approx(2.293, abs=5e-4)
    assert table_4["F = 1, FPGA ratio"].ours == pytest.approx(1.915, abs=5e-4)
    assert table_4["nanoGPT-baby, FPGA ratio"].ours == pytest.approx(2.5)
    assert table_4["baseline, FPGA energy"].ours == pytest.approx(334.63, abs=0.006)


def test_unknown_tables_and_damaged_records_are_named(tmp_path):
    with pytest.raises(InputError, match="no table quweit-9; there are quweit-1"):
        table("quweit-9", Records())
    write_json(tmp_path / "synth" / "block.json", {"targets": []})
    with pytest.raises(InputError, match=r"block\.json: not a record of a synthesis"):
        table("quweit-3", Records(tmp_path))


def test_a_users_record_hides_its_namesake(tmp_path):
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    for folder, luts in ((shipped, 100), (own, 200)):
        block = {"lut_raw": luts, "lut_packed": luts, "ff": 5, "bram": 0}
        target = {"target": "xcup", "tool": "Yosys", "fold_factor": 1, "blocks": [block]}
        write_json(folder / "synth" / "block.json", {"design": "weightless-ivit-t", "targets": [target]})
    quantity = "QuWeiT block, LUTs"
    assert {row.quantity: row for row in table("quweit-3", Records(own, shipped)).rows}[quantity].ours == 200
    assert {row.quantity: row for row in table("quweit-3", Records(shipped, own)).rows}[quantity].ours == 100


def test_the_tables_that_come_with_lutra_have_measured_values():
    assert all(row.ours is not None for row in table("quweit-3", Records(RECORDED)).rows if "LUTs" in row.quantity)
