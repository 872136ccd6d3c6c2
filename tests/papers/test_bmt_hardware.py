"""BMT's tables of hardware: the paper's numbers with their inconsistencies, and ours from the model of the RTL."""

from __future__ import annotations

import pytest

from lutra.papers.bmt.figures import bmt_figure_10, bmt_figure_11, bmt_figure_12
from lutra.papers.bmt.hardware import TABLE_6, bmt_5, bmt_6
from lutra.papers.bmt.modules import bmt_6_modules
from lutra.papers.bmt.units import whole_modules
from lutra.papers.records import RECORDED, Records
from lutra.papers.verbs import draw_table

NONE = Records()


def row(table, quantity):
    (found,) = [each for each in table.rows if each.quantity == quantity]
    return found


def test_throughput_is_below_what_the_engines_can_do():
    table = bmt_5(NONE)
    ours = row(table, "BAT, throughput").ours
    assert ours == pytest.approx(1210, rel=0.01)
    assert ours < 1638.4
    assert "53.07" in row(table, "STA, efficiency").remark


def test_the_papers_rows_add_up():
    for place in range(5):
        parts = [values[place] for name, values in TABLE_6.items() if name != "total" and values[place] is not None]
        assert sum(parts) == pytest.approx(TABLE_6["total"][place])


def test_without_syntheses_only_the_paper_is_printed():
    assert {each.ours for each in bmt_6(NONE).rows} == {None}
    assert all("our syntheses" not in each.quantity for each in bmt_figure_10(NONE).rows)


def test_the_papers_point_is_not_the_fastest_within_its_limits():
    table = bmt_figure_10(NONE)
    point = row(table, "the paper's point, resources from the paper's Table 6")
    best = row(table, "BMT W1A4 384/1536, resources from the paper's Table 6")
    assert best.ours < 0.6 * point.ours
    assert len(table.rows) == 2 + 45


def test_energy_of_one_bit_weights_follows_from_their_bits():
    cycles = {each.quantity: each.ours for each in bmt_figure_11(NONE).rows}
    assert len(cycles) == 2 * 10
    assert cycles["W1A8"] == 128 * 48 * 6 + 5
    assert [cycles[f"W{w}A8"] / cycles["W1A8"] for w in (8, 4, 2)] == pytest.approx([8, 4, 2], rel=1e-3)
    assert cycles["W4A4, energy"] / cycles["W1A4, energy"] == pytest.approx(4, rel=1e-3)


def test_sizes_of_the_model():
    milliseconds = [each.ours for each in bmt_figure_12(NONE).rows]
    assert milliseconds == pytest.approx([18.4, 36.5, 72.9], abs=0.1)


@pytest.mark.parametrize("name", ["bmt-fig10", "bmt-fig11", "bmt-fig12"])
def test_figures_are_drawn(name, tmp_path):
    draw_table(name, tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert text.startswith("<svg")
    assert {"bmt-fig10": "the paper's point", "bmt-fig11": "W1A8", "bmt-fig12": "full-size: BAT"}[name] in text


def test_sums_of_units_are_near_parts_that_were_synthesised_whole():
    recorded = Records(RECORDED)
    modules = whole_modules(recorded)
    assert len(modules) >= 6 and sum(" module whole, " in module.name for module in modules) == 2
    for module in modules:
        assert abs(module.error("lut_packed")) < 0.15, module.name
        assert module.fitted.dsp == module.synthesised.dsp, module.name
    rows = {each.quantity: each for each in bmt_6_modules(recorded).rows}
    worst = rows["LUTs packed, the largest error"]
    assert abs(worst.ours) == pytest.approx(100 * max(abs(each.error("lut_packed")) for each in modules))
    assert f"{len(modules)} modules and parts of modules were synthesised with all that is in them" in " ".join(
        bmt_6(recorded).notes
    )
    assert rows[f"{modules[0].name}, LUTs packed"].ours == modules[0].synthesised.lut_packed
