"""The report's contents: numbers as they stand in the run directory, and nothing that does not."""

from __future__ import annotations

import json
import re

import pytest

from fabricated_run import make_finished_run, make_started_run, small_recipe
from lutra.errors import FrozenModelError, RunDirectoryError
from lutra.report.build import report_run
from lutra.report.tables import summary_tables
from lutra.runs.files import RunFiles, write_json


@pytest.fixture
def finished(tmp_path):
    return make_finished_run(tmp_path / "finished")


def page_of(run) -> str:
    report_run(*run)
    return run[0].report.read_text(encoding="utf-8")


def test_the_page_is_one_small_file_that_needs_nothing_else(finished):
    result = report_run(*finished)
    page = finished[0].report.read_text(encoding="utf-8")
    assert result == {"report": str(finished[0].report), "bytes": len(page.encode()), "not_run": []}
    assert result["bytes"] < 500_000
    assert re.findall(r"<script|<link(?! rel=\"icon\" href=\"data:,\")|@import|url\((?!#)|src=", page) == []
    assert [link for link in re.findall(r"https?://[^\"' <]+", page) if "www.w3.org" not in link] == []


def test_the_result_and_its_baselines_stand_in_the_first_sentence(finished):
    lead = re.search(r'<p class="lead">(.*?)</p>', page_of(finished), re.DOTALL)[1]
    for text in (
        "1.703",
        "1.621 with the MLP",
        "2.030 with no MLP at all",
        "recovers 80 %",
        "bit for bit on 1,536 rows",
    ):
        assert text in lead


def test_sample_text_is_shown_as_text(finished):
    assert "What &lt;light&gt; &amp; shade, no markup here?" in page_of(finished)


def test_the_same_run_gives_the_same_page(finished):
    assert page_of(finished) == page_of(finished)


def test_mismatches_are_said_first_and_plainly(finished):
    files, _ = finished
    simulation = json.loads(files.simulate.read_text())
    simulation["designs"][0]["blocks"][0]["mismatches"] = 12
    write_json(files.simulate, simulation | {"mismatches": 12})
    page = page_of(finished)
    assert "The RTL differs from the frozen model: 12 mismatches" in page
    assert "bit for bit on" not in page
    assert '<span class="figure bad">12</span>' in page


def test_results_of_an_earlier_frozen_model_are_marked(finished):
    files, _ = finished
    write_json(files.synth, json.loads(files.synth.read_text()) | {"frozen_hash": "0" * 64})
    assert "synth.json was made from an earlier frozen model" in page_of(finished)


def test_a_run_without_baselines_claims_no_recovery(finished):
    files, _ = finished
    evaluation = json.loads(files.evaluate.read_text()) | {"baselines": {}, "recovery": None}
    write_json(files.evaluate, evaluation)
    page = page_of(finished)
    assert "recovers" not in page
    assert "Recovery of the MLP" not in page


def test_damaged_files_are_named_and_the_old_page_stays(finished):
    files, _ = finished
    page_before = page_of(finished)
    files.train_log.write_text('{"iteration": 1')
    with pytest.raises(RunDirectoryError, match=r"log\.jsonl: line 1 is not JSON"):
        report_run(*finished)
    files.train_log.unlink()
    files.frozen.joinpath("model.json").write_text("{}")
    with pytest.raises(FrozenModelError):
        report_run(*finished)
    assert files.report.read_text(encoding="utf-8") == page_before


def test_costs_stand_beside_the_baseline_and_unknown_ones_stay_unknown(finished):
    table = next(table for table in summary_tables(*finished) if table.title.startswith("One layer"))
    assert table.rows == (
        ("block, F = 1", "16", "21", "1,029", "1,001", "456", "0.79", "0.64", "1.87"),
        ("block, F = 4", "4", "9", "261", "–", "–", "–", "–", "–"),
        ("block, F = all", "1", "6", "69", "–", "–", "–", "–", "–"),
        ("MLP, 32 × 32 array", "8", "–", "512", "–", "–", "1.5", "–", "1.00"),
    )
    page = page_of(finished)
    assert "at most 2.21×" in page
    assert "asic was not synthesised: no cell library" in page


def test_terminal_tables_show_only_what_has_run(finished, tmp_path):
    titles = [table.title for table in summary_tables(*finished)]
    assert titles[:2] == ["Validation loss, nats per token", "RTL against the frozen model, every output bit"]
    assert summary_tables(*make_started_run(tmp_path / "started")) == []
    for table in summary_tables(*finished):
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_a_model_without_blocks_has_no_sections_on_them(tmp_path):
    recipe = small_recipe(baselines=[], model={"layers": 2, "heads": 2, "width": 16, "context": 64, "ffn": "mlp"})
    result = report_run(RunFiles(tmp_path), recipe)
    assert {"learning", "sample", "block"} >= set(result["not_run"])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search("lutra (simulate|cost) ", page)
