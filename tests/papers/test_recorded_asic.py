"""Recorded blocks and systolic arrays in 45 nm, and what the tables make of them."""

from __future__ import annotations

import pytest

from lutra.errors import InputError
from lutra.papers.catalogue import table
from lutra.papers.quweit.recorded_asic import recorded_array, recorded_blocks
from lutra.papers.records import Records
from lutra.runs.files import write_json


def rows(name, results):
    return {row.quantity: row for row in table(name, Records(results)).rows}


def block(gated=False, slack_ns=0.1, **changes):
    return {
        "shape": "paper-4D-D-dense",
        "dataflow": "accumulate",
        "fold_factor": 1,
        "clock_gating": gated,
        "clock_hz": 1e9,
        "cycles_per_token": 192,
        "latency_cycles": 560,
        "area_mm2": 0.15,
        "slack_ns": slack_ns,
        "power_measured": {"total_w": 0.1 if gated else 0.2},
        **changes,
    }


def write_blocks(results, *targets, model="ivit-t"):
    write_json(results / "synth" / "blocks.json", {"design": f"weightless-asic-{model}", "targets": targets})


def write_elements(results):
    """A line over the depth of an edge: 100 um2 and 2 um2 per operand; 1 mW and 10 uW, gated less, per operand."""

    def part(name, area_um2, power_w, gated=False):
        power = {"total_w": power_w}
        used = {"area_mm2": area_um2 * 1e-6, "slack_ns": 0.05, "power_measured": power}
        return {"name": name, "clock_gating": gated, **used}

    parts = [part("element_mlp_1", 1000, 2e-3), part("element_mlp_2", 1000, 1e-3), part("grid_mlp_1", 16600, 0.03)]
    for rows_of_column, slack_ns in ((8, 0.5), (32, 0.02)):
        selector = {"name": f"selector_{rows_of_column}", "area_mm2": rows_of_column * 50e-6, "slack_ns": slack_ns}
        parts.append({**selector, "clock_gating": False})
    for gated, operand_w in ((False, 10e-6), (True, 1e-6)):
        for depth in (16, 64):
            parts.append(part(f"edge_{depth}_written", 100 + 2 * depth, 1e-3 + operand_w * depth, gated))
            parts.append(part(f"edge_{depth}_read", 100 + 2 * depth, 1e-3 + operand_w * depth, gated))
    write_json(results / "synth" / "elements.json", {"design": "systolic-asic-ivit-t", "targets": parts})


def test_an_array_is_counted_up(tmp_path):
    assert recorded_array(Records(tmp_path), 8) is None
    write_elements(tmp_path)
    assert recorded_array(Records(tmp_path), 16) is None
    array = recorded_array(Records(tmp_path), 8)
    # 64 elements, 16 edge lanes, and in each of 8 columns a selector of 8 rows
    assert array.area_mm2 == pytest.approx((64 * 1000 + 16 * 100 + 8 * 8 * 50) * 1e-6)
    # 16 lanes of 768 operands at 1 um2 in each of two banks
    assert array.buffer_area_mm2 == pytest.approx(16 * 768 * 1e-6)
    assert array.power_w == pytest.approx(64 * 1.5e-3 + 16 * 1e-3)
    assert array.energy_j(1000) == pytest.approx(array.power_w * 1e-6)
    # The slower of elements and selectors.
    assert (array.slack_ns, recorded_array(Records(tmp_path), 32).slack_ns) == (0.05, 0.02)


def test_a_block_reaches_the_clock_that_its_slack_leaves(tmp_path):
    write_blocks(tmp_path, block(), block(gated=True, slack_ns=-0.25, shape="8D-in-8-groups"))
    plain, gated = recorded_blocks(Records(tmp_path), 196)
    assert plain.cycles_per_sequence == 195 * 192 + 560
    assert plain.energy_j == pytest.approx(0.2 * plain.cycles_per_sequence * 1e-9)
    assert (plain.reached_hz, gated.reached_hz) == pytest.approx((1e9, 0.8e9))
    assert gated.label == "8D-in-8-groups, accumulate, F = 1, gated clocks"


def test_blocks_of_nanogpt_baby_have_rows_of_their_own(tmp_path):
    write_blocks(tmp_path, block(gated=True), model="gpt-baby")
    write_elements(tmp_path)
    table_4 = rows("quweit-4", tmp_path)
    name = "nanoGPT-baby, paper-4D-D-dense, accumulate, F = 1, gated clocks, ASIC ratio"
    assert 1 < table_4[name].ours < table_4[f"{name}, array of ours"].ours < 2.5
    assert f"{255 * 192 + 560:,} cycles" in table_4[name].remark
    assert not any(each.startswith("paper-4D-D-dense") for each in table_4)


def test_tables_show_what_is_recorded(tmp_path):
    assert rows("quweit-3", tmp_path)["QuWeiT block, ASIC area"].ours is None
    assert rows("quweit-3", tmp_path)["32x32 systolic, ASIC energy"].ours is None
    write_blocks(tmp_path, block(gated=True), block(), block(fold_factor=4, slack_ns=-0.25))
    write_elements(tmp_path)
    table_3, table_4 = rows("quweit-3", tmp_path), rows("quweit-4", tmp_path)
    assert (table_3["QuWeiT block, ASIC area"].paper, table_3["QuWeiT block, ASIC area"].ours) == (0.11, 0.15)
    assert table_3["QuWeiT block, ASIC energy"].ours == pytest.approx(0.2 * 38e3 * 1e-9 * 1e6)
    assert table_3["QuWeiT block, gated clocks, ASIC slack"].ours == 0.1
    array = recorded_array(Records(tmp_path), 32)
    assert table_3["32x32 systolic, ASIC energy"].ours == pytest.approx(array.energy_j(64_512) * 1e6)
    name = "paper-4D-D-dense, accumulate, F = 4, plain clock, ASIC ratio"
    assert "reaches 800 MHz" in table_4[name].remark
    # The paper's array draws less than ours, so that a block weighs more beside it.
    assert 1 < table_4[name].ours < table_4[f"{name}, array of ours"].ours < 2.293
    with pytest.raises(InputError, match="not a record of a synthesis"):
        write_blocks(tmp_path, {"shape": "8D-in-8-groups"})
        table("quweit-3", Records(tmp_path))
