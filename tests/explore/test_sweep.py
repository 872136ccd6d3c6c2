"""Explorations with a stand-in for training: what is started, resumed, kept, recorded and drawn."""

from __future__ import annotations

import os
import signal
import sys
import time
from xml.etree import ElementTree

import pytest

from lutra.errors import LutraError, RunDirectoryError
from lutra.explore import sweep
from lutra.explore.processes import exclusive
from lutra.explore.sweep import load_exploration
from lutra.explore.table import exploration_tables, failures
from lutra.runs.claim import claim_run

TWO = """
seeds = [1, 2]
[[variant]]
name = "paper"
marked = true
[[variant]]
name = "far"
group = "windows"
set = { "block.window" = 0.7, "block.thermometer_bits" = 2 }
"""
ONE_FAILS = TWO + '[[variant]]\nname = "bad"\nset = { "block.window" = 13 }\n'
ONE_WAITS = TWO + '[[variant]]\nname = "slow"\nset = { "block.window" = 77 }\n'
HALVING = """
seeds = [1, 2]
[[variant]]
name = "paper"
marked = true
set = { "block.window" = 9 }
[grid]
"block.window" = [0.4, 0.9, 13, 0.7]
[[stage]]
set = { "train.iterations" = 2 }
keep = 2
seeds = [5]
[[stage]]
set = { "train.iterations" = 4 }
keep = 1
"""


def test_baselines_are_trained_once_per_seed_for_all_variants(run_space, starts):
    record = run_space(TWO)
    assert starts.by_name() == {"mlp": 2, "none": 2, "paper": 2, "far": 2}
    assert record["finished"]
    assert [run["recovery"] for run in record["runs"]] == pytest.approx([0.99, 0.79, 0.98, 0.78])
    assert {run["cost"]["luts"] for run in record["runs"] if run["variant"] == "far"} == {18}


@pytest.mark.slow
def test_variants_that_train_differently_have_baselines_of_their_own(run_space, starts):
    record = run_space(TWO + '[[variant]]\nname = "long"\nset = { "train.iterations" = 9 }\n')
    assert starts.by_name()["mlp"] == 4
    *_, baselines = exploration_tables(record)
    assert sorted(row[0] for row in baselines.rows) == [
        f"{label}, same recipe ({variants})"
        for label in ("no MLP at all", "the MLP")
        for variants in ("long", "paper, far")
    ]


def test_what_has_finished_is_not_run_again(run_space, starts):
    first = run_space(TWO)
    assert run_space(TWO) == first
    assert len(starts.lines()) == 8
    grown = run_space(TWO.replace("[1, 2]", "[1, 2, 3]"))
    assert len(starts.lines()) == 12
    assert [row["seeds"] for row in grown["variants"]] == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.slow
def test_a_damaged_run_runs_again(run_space, starts, tmp_path):
    run_space(TWO)
    (tmp_path / "out" / "runs" / "far" / "seed-1" / "evaluate.json").write_text("{")
    run_space(TWO)
    assert starts.by_name()["far"] == 3


def test_a_time_limit_stops_and_the_same_call_goes_on(run_space, starts, tmp_path):
    record = run_space(ONE_WAITS, max_minutes=0.05)
    assert not record["finished"]
    assert all(error is None for error in (run["error"] for run in record["runs"]))
    finished = sum(run["variant"] == "paper" for run in record["runs"])
    before = starts.by_name().get("paper", 0)
    (tmp_path / "go").touch()
    assert run_space(ONE_WAITS, max_minutes=5)["finished"]
    assert starts.by_name()["paper"] - before == 2 - finished


@pytest.mark.slow
def test_runs_go_to_the_last_step_and_baselines_to_their_losses(run_space, starts):
    run_space(TWO, last_step="synth")
    assert {(line[0], line[3]) for line in starts.lines()} == {
        ("mlp", "evaluate"),
        ("none", "evaluate"),
        ("paper", "synth"),
        ("far", "synth"),
    }


def test_a_failing_variant_is_recorded_and_stops_nobody(run_space, starts, tmp_path):
    record = run_space(ONE_FAILS)
    assert {run["run"]: run["error"] for run in failures(record)} == {
        f"runs/bad/seed-{seed}": "train: the loss is nan; try smaller learning rates" for seed in (1, 2)
    }
    assert starts.by_name() == {"mlp": 2, "none": 2, "paper": 2, "far": 2, "bad": 2}
    recovered, *_ = exploration_tables(record)
    assert recovered.rows[-1][:3] == ("bad", "0 of 2", "–")
    assert "Failed: runs/bad/seed-1: train: the loss is nan" in (tmp_path / "out" / "table.md").read_text()
    run_space(ONE_FAILS)
    assert starts.by_name()["bad"] == 4


def test_stages_keep_the_best_and_the_marked(run_space, starts):
    record = run_space(HALVING)
    assert [(s["kept"], s["dropped"]) for s in record["selections"]] == [
        (["paper", "window-0.4", "window-0.7"], ["window-0.9", "window-13"]),
        (["paper", "window-0.4"], ["window-0.7"]),
    ]
    assert [row["variant"] for row in record["variants"]] == ["window-0.4", "paper"]
    ran = {(name, seed, iterations) for name, seed, iterations, *_ in starts.lines()}
    assert ("window-0.9", "5", "2") in ran
    assert {(name, seed) for name, seed, iterations in ran if iterations == "8" and name.startswith("window")} == {
        ("window-0.4", "1"),
        ("window-0.4", "2"),
    }
    assert sum(name == "mlp" for name, _, _ in ran) == 1 + 2 + 2
    before = len(starts.lines())
    assert run_space(HALVING)["selections"] == record["selections"]
    assert [line[0] for line in starts.lines()[before:]] == ["window-13"]


def test_a_stage_in_which_nothing_finishes_ends_the_exploration(run_space):
    space = 'seeds = [1]\n[[variant]]\nname = "bad"\nset = { "block.window" = 13 }\n[[stage]]\nkeep = 1\n'
    with pytest.raises(LutraError, match="stage 1: no run finished; the first: train: the loss is nan"):
        run_space(space)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stop_ends_every_process_and_the_next_call_goes_on(start_space, starts, tmp_path, run_space, number):
    process = start_space(ONE_WAITS)
    wait_for(lambda: starts.by_name()["slow"] == 1 and starts.by_name()["far"] == 1)
    process.send_signal(number)
    assert process.wait(20) == 130
    assert not any(is_alive(int(line[-1])) for line in starts.lines())
    assert not load_exploration(tmp_path / "out")["finished"]
    (tmp_path / "go").touch()
    before = starts.by_name()
    assert run_space(ONE_WAITS)["finished"]
    again = starts.by_name() - before
    assert again["slow"] == 2
    assert again["paper"] <= 1  # that of the second seed


@pytest.mark.slow
def test_a_killed_run_is_recorded_and_runs_again(start_space, starts, tmp_path, run_space):
    process = start_space(ONE_WAITS.replace("[1, 2]", "[1]"))
    wait_for(lambda: starts.by_name()["slow"] == 1)
    (pid,) = (int(line[-1]) for line in starts.lines() if line[0] == "slow")
    os.kill(pid, signal.SIGKILL)
    assert process.wait(20) == 0
    assert [run["error"] for run in failures(load_exploration(tmp_path / "out"))] == ["killed by SIGKILL"]
    (tmp_path / "go").touch()
    assert failures(run_space(ONE_WAITS.replace("[1, 2]", "[1]"))) == []


def test_the_runs_of_a_killed_exploration_end_with_it(start_space, starts, tmp_path, run_space):
    process = start_space(ONE_WAITS)
    wait_for(lambda: starts.by_name()["slow"] == 1)
    process.kill()
    process.wait()

    def is_free():
        try:
            with exclusive(tmp_path / "out"):
                return True
        except RunDirectoryError:  # a run that works there keeps the folder
            return False

    wait_for(is_free)  # though none of them was told to go on
    (tmp_path / "go").touch()
    assert run_space(ONE_WAITS)["finished"]


def test_a_changed_variant_or_a_foreign_folder_is_refused(run_space, tmp_path, starts):
    run_space(TWO)
    with pytest.raises(RunDirectoryError, match=r"runs/far/seed-1: belongs to another recipe, block.window is 0.7"):
        run_space(TWO.replace("0.7", "0.6"))
    record = tmp_path / "out" / "explore.json"
    record.write_text(record.read_text().replace('"small"', '"another"'))
    with pytest.raises(RunDirectoryError, match="belongs to the exploration another"):
        run_space(TWO)
    record.unlink()
    with pytest.raises(RunDirectoryError, match="not an exploration and not empty"):
        run_space(TWO)
    assert len(starts.lines()) == 8


def test_an_exploration_that_was_killed_before_it_started_a_run_goes_on(run_space, tmp_path, monkeypatch):
    def claim_and_die(files, recipe):
        claim_run(files, recipe)
        sys.exit(9)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(sweep, "claim_run", claim_and_die)
        run_space(TWO)
    assert load_exploration(tmp_path / "out")["finished"] is False
    assert run_space(TWO)["finished"]


def test_table_and_figure_show_every_variant_and_mark_the_paper(run_space, tmp_path):
    record = run_space(TWO)
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| paper (paper) | 2 | 0.985 ± 0.007 | 0.980 to 0.990 | 1.0150 ± 0.0071 | 23 |" in table
    assert "| far | 2 | 0.785 ± 0.007 | 0.780 to 0.790 | 1.2150 ± 0.0071 | 18 |" in table
    assert "| the MLP, same recipe | 2 | 1.0000 ± 0.0000 |" in table
    assert [row["pareto"] for row in record["variants"]] == [True, True]
    recovered, costs, _ = exploration_tables(record)
    assert recovered.rows[0] == ("paper (paper)", "2", "0.985 ± 0.007", "0.980 to 0.990", "1.0150 ± 0.0071")
    comparators = record["variants"][1]["cost"]["distinct_comparators"]
    assert 0 < comparators <= 16  # 8 features with 2 bits each
    # 64 encoded values take 48 bytes: they are no more than 64 different ones, which 6 bits tell apart.
    assert costs.rows[1] == ("far", "18", f"{comparators:.0f}", "64", "48", "yes", "2")
    svg = ElementTree.parse(tmp_path / "out" / "figure.svg").getroot()
    texts = [node.text for node in svg.iter() if node.tag.endswith("text")]
    assert {"1  paper (paper)", "2  far", "LUTs", "comparators", "additions per token"} <= set(texts)
    assert "paper 0.985" in svg.attrib["aria-label"]
    assert not any("http" in value for node in svg.iter() for value in node.attrib.values())
    bars = [node for node in svg.iter() if node.attrib.get("id", "").startswith("LineCollection")]
    assert len(bars) == 3 * 2  # an error bar per panel and variant


def test_one_seed_has_no_deviation_and_no_recovery_leaves_no_figure(run_space, tmp_path):
    run_space('seeds = [1]\n[[variant]]\nname = "plain"\nset = { "model.ffn" = "mlp" }\n')
    assert "| plain | 1 | 1.000 | – | 1.0000 | – | – | – | – |  | 2 |" in (tmp_path / "out" / "table.md").read_text()
    assert not (tmp_path / "out" / "figure.svg").exists()
