"""BMT's tables of hardware: the paper's numbers with their inconsistencies, and ours from the model of the RTL."""

from __future__ import annotations

import pytest

from lutra.papers.bmt_hardware import TABLE_6, bmt_5, bmt_6, bmt_figure_10, bmt_figure_11, bmt_figure_12
from lutra.papers.records import Records

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
    assert len(cycles) == 10
    assert [cycles[f"W{w}A8"] / cycles["W1A8"] for w in (8, 4, 2)] == [8, 4, 2]


def test_sizes_of_the_model():
    milliseconds = [each.ours for each in bmt_figure_12(NONE).rows]
    assert milliseconds == pytest.approx([18.4, 36.5, 72.9], abs=0.1)
