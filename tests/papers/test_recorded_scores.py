"""Recorded scores in BMT's Table 4: grouped over seeds, differences within a run, damaged records."""

import json
import statistics

import pytest

from lutra.errors import InputError
from lutra.papers.bmt.recorded_scores import difference, read_entries, scores
from lutra.papers.catalogue import table
from lutra.papers.records import Records


def record(results, seed, settings="a", task="MRPC", day="2025-01-01", **points):
    """One run's entry, as `lutra results add` writes it."""
    entry = {
        "recipe": {"name": "x", "seed": seed, "hash": f"{settings}{seed}", "settings": settings},
        "task": task,
        "metric": "accuracy",
        "dev_split": "dev_matched" if task == "MNLI" else "dev",
        "checkpoint": {"name": "small-bert", "sha256": "0"},
        "methods": {
            name.replace("_", "-"): {
                "dev": {"dev": {"accuracy": score}}
                if task != "MNLI"
                else {"dev_matched": {"accuracy": score}, "dev_mismatched": {"accuracy": score + 1}},
                "size_mib": 5.5,
                "score": score,
                "gflops": 1.0,
            }
            for name, score in points.items()
        },
        "recorded": day,
    }
    path = results / "bert" / f"{task}-seed{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = json.loads(path.read_text())["results"] if path.exists() else []
    path.write_text(json.dumps({"name": path.stem, "results": [*earlier, entry]}))


def rows_of(results):
    return {row.quantity: row for row in table("bmt-4", Records(results)).rows}


def test_seeds_are_averaged_beside_the_papers_value(tmp_path):
    values = {1: 80.0, 2: 82.0, 3: 83.5}
    for seed, value in values.items():
        record(tmp_path, seed, bmt_w1a4=value, tws_w1a4=value - seed, binarybert_w1a4=value - 2)
    rows = rows_of(tmp_path)
    row = rows["BMT W1A4, MRPC"]
    assert row.paper == 87.5 and row.ours == pytest.approx(statistics.mean(values.values()))
    assert row.remark == f"± {statistics.stdev(values.values()):.2f} over 3 seeds, small-bert, 5.5 MiB"
    assert rows["WTWS - TWS, both elastic, W1A4, MRPC"].ours == pytest.approx(2)
    assert rows["WTWS - TWS, both elastic, W1A4, MRPC"].remark == "± 1.00 over 3 seeds, small-bert"
    assert rows["BMT - BinaryBERT, elastic against LSQ, W1A4, MRPC"].ours == pytest.approx(2)
    own = rows["tws-w1a4, MRPC"]
    assert own.paper is None and own.remark.startswith("not in the paper; ±")
    assert rows["BMT W1A2, MRPC"].ours is None and rows["BMT W1A2, MRPC"].remark == "not run"


def test_other_settings_are_not_mixed_in(tmp_path):
    record(tmp_path, 1, "a", full=80.0)
    record(tmp_path, 2, "a", full=82.0)
    record(tmp_path, 1, "b", full=10.0, day="2025-02-01")
    assert scores(read_entries(Records(tmp_path)), "MRPC", "full").values == (80.0, 82.0)
    record(tmp_path, 2, "b", full=20.0, day="2025-02-01")
    assert scores(read_entries(Records(tmp_path)), "MRPC", "full").values == (10.0, 20.0)  # recorded last


def test_a_difference_needs_both_methods_in_one_run(tmp_path):
    record(tmp_path, 1, bmt_w1a4=80.0)
    record(tmp_path, 2, tws_w1a4=70.0)
    assert difference(read_entries(Records(tmp_path)), "MRPC", "bmt-w1a4", "tws-w1a4") is None
    record(tmp_path, 3, bmt_w1a4=80.0, tws_w1a4=79.0)
    sample = difference(read_entries(Records(tmp_path)), "MRPC", "bmt-w1a4", "tws-w1a4")
    assert sample.values == (1.0,) and sample.spread == "one seed"


def test_both_development_sets_of_mnli(tmp_path):
    record(tmp_path, 1, task="MNLI", full=70.0)
    rows = rows_of(tmp_path)
    assert (rows["BERT, MNLI-m"].ours, rows["BERT, MNLI-mm"].ours) == (70.0, 71.0)


def test_robustness_stands_in_the_table_with_what_it_was_measured_on(tmp_path):
    for seed, ratio, engine in ((1, 10.0, "runtime"), (2, 20.0, "runtime"), (3, "infinite", "runtime")):
        record(tmp_path, seed, bmt_w1a4=80.0, tws_w1a4=79.0, full=82.0)
        path = tmp_path / "bert" / f"MRPC-seed{seed}.json"
        content = json.loads(path.read_text())
        methods = content["results"][0]["methods"]
        methods["bmt-w1a4"]["robustness"] = {"ratio": ratio, "clean": 80.0, "noisy": [72.0, 88.0], "engine": engine}
        methods["tws-w1a4"]["robustness"] = {"ratio": 2 * seed, "clean": 79.0, "noisy": [70.0]}
        methods["full"]["robustness"] = None
        path.write_text(json.dumps(content))
    rows = rows_of(tmp_path)
    row = rows["BMT W1A4, R on MRPC, frozen model"]
    assert (row.paper, row.ours) == (None, 15.0)
    assert row.remark == f"± {statistics.stdev((10, 20)):.2f} over 2 seeds, small-bert"
    assert rows["tws-w1a4, R on MRPC, float model"].ours == 4.0
    assert not {"BERT, R on MRPC, float model", "tws-w1a4, R on MRPC, frozen model"} & rows.keys()
    record(tmp_path, 4, "b", bmt_w1a4=80.0)
    path = tmp_path / "bert" / "MRPC-seed4.json"
    content = json.loads(path.read_text())
    content["results"][0]["methods"]["bmt-w1a4"]["robustness"] = {"ratio": 99.0, "clean": 80.0, "noisy": [79.0]}
    path.write_text(json.dumps(content))
    rows = rows_of(tmp_path)  # what was measured on another model stands apart
    assert rows["BMT W1A4, R on MRPC, frozen model"].ours == 15.0
    assert rows["BMT W1A4, R on MRPC, float model"].ours == 99.0


@pytest.mark.parametrize("content", ["[]", '{"results": [{"task": "MRPC"}]}'])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "MRPC-seed1.json").write_text(content)
    with pytest.raises(InputError, match=r"MRPC-seed1\.json: "):
        table("bmt-4", Records(tmp_path))
