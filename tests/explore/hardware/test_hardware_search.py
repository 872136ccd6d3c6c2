"""A search of hardware: every point counted, nothing better left out, resumable, and on the command line."""

from __future__ import annotations

import csv
import io
import itertools
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from lutra.accelerators.bat.search import buildable, evaluate
from lutra.cli.commands import app
from lutra.errors import RunDirectoryError
from lutra.explore.hardware import search as searching
from lutra.explore.hardware.search import pareto_points, search
from lutra.explore.hardware.space import load_hardware_space
from lutra.explore.hardware.tables import hardware_markdown, in_words, pareto_csv
from lutra.papers.records import Records

LIMITS = "[limits]\nfraction = {fraction}\n{more}"


def searched(path, root):
    plan = load_hardware_space(path)
    return plan, search(plan, root, Records())


def without_times(record):
    left_out = ("seconds", "cpu_seconds", "peak_mib", "format_version")
    return {key: value for key, value in record.items() if key not in left_out}


def all_points(plan):
    """Every pair of every grid by itself: method, cycles, LUTs, energy, what it needs, bytes per second."""
    for grid in plan.grids:
        for result in evaluate(grid, None):
            built = buildable(grid, result.method)
            needs, energy, cycles = result.needs(plan.device), result.pair_energy_j(grid.clock_hz), result.pair_cycles()
            for place in itertools.product(range(len(built)), repeat=2):
                if built[place[0]] and built[place[1]]:
                    rate = result.bytes_per_cycle()[place] * grid.clock_hz
                    lut = result.use("lut_packed")[place]
                    yield result.method.name, cycles[place], lut, energy[place], needs[place], rate


@pytest.mark.parametrize("more", ["", "bytes_per_second = 1.5e9", "milliseconds = 0.3"])
def test_the_pareto_set_holds_what_no_point_of_all_beats(write_hardware_space, tmp_path, more):
    plan, record = searched(write_hardware_space(added=LIMITS.format(fraction=0.2, more=more)), tmp_path / "out")
    scores = {name: (scored.accuracy, scored.robustness) for name, scored in plan.scores.items()}
    allowed = [
        point for point in all_points(plan)
        if point[4] < 0.2 and ("bytes" not in more or point[5] <= 1.5e9) and ("milli" not in more or point[1] <= 60_000)
    ]  # fmt: skip
    feasible = sum(entry["columns"]["paper"]["feasible"] for entry in record["entries"])
    assert len(allowed) == feasible
    assert 0 < feasible < record["points"]
    found = {(p["method"], p["cycles"], p["lut"], round(p["energy_j"], 12)) for p in pareto_points(record, "paper")}
    expected = set()
    for group in (
        [name for name, (accuracy, _) in scores.items() if accuracy],
        *[[n] for n in scores if "Binary" in n],
    ):
        points = [point for point in allowed if point[0] in group]
        costs = np.array([[-(scores[p[0]][0] or 0), -(scores[p[0]][1] or 0), *p[1:4]] for p in points])
        for index, point in enumerate(points):
            beaten = (costs <= costs[index]).all(1) & (costs < costs[index]).any(1)
            if not beaten.any():
                expected.add((point[0], point[1], round(point[2]), round(point[3], 12)))
    assert found == expected


def test_what_is_chosen_meets_the_constraints(write_hardware_space, tmp_path):
    more = "accuracy_loss = 5.0\nfull = 82.0\nrobustness_quantile = 0.5"
    _, record = searched(write_hardware_space(added=LIMITS.format(fraction=0.8, more=more)), tmp_path / "out")
    assert record["constraints"] == {"accuracy": 77.0, "robustness": 35.0}
    chosen = record["chosen"]["paper"]
    assert chosen["best"]["method"] == "BMT W1A4 64/192"
    assert chosen["fastest"]["cycles"] == min(
        entry["columns"]["paper"]["frontier"][0]["cycles"] for entry in record["entries"]
    )
    assert chosen["fastest"]["cycles"] <= chosen["best"]["cycles"]
    words = " ".join(in_words(record))
    assert "accuracy of at least 77.00 and robustness of at least 35.00: BMT W1A4 64/192" in words
    assert "By the paper's Table 6, scaled ours takes" in words


def test_nothing_is_chosen_where_no_training_is_behind_a_model(write_hardware_space, tmp_path):
    changes = {"accuracy = 80.0\nrobustness = 40.0": "", "accuracy = 70.0\nrobustness = 30.0": ""}
    more = LIMITS.format(fraction=0.8, more="accuracy_loss = 5.0\nfull = 82.0")
    _, record = searched(write_hardware_space(changes, more), tmp_path / "out")
    assert record["chosen"]["paper"]["best"] is None
    assert record["chosen"]["paper"]["fastest"] is not None
    assert "The fastest with accuracy of at least 77.00: none." in in_words(record)


def test_a_search_that_is_stopped_goes_on_and_ends_with_the_same(write_hardware_space, tmp_path, monkeypatch):
    path = write_hardware_space()
    plan, whole = searched(path, tmp_path / "whole")
    made, entry = [], searching._entry

    def stops(plan, task, fits):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(task.key)
        return entry(plan, task, fits)

    monkeypatch.setattr(searching, "_entry", stops)
    with pytest.raises(KeyboardInterrupt):
        search(plan, tmp_path / "stopped", Records())
    half = json.loads((tmp_path / "stopped" / "explore.json").read_text())
    assert (half["finished"], len(half["entries"])) == (False, 3)

    monkeypatch.setattr(searching, "_entry", lambda *given: made.append(given[1].key) or entry(*given))
    resumed = search(plan, tmp_path / "stopped", Records())
    assert made == [each["key"] for each in whole["entries"]]  # none twice
    assert without_times(resumed) == without_times(whole)
    assert without_times(json.loads((tmp_path / "stopped" / "explore.json").read_text())) == without_times(whole)


def test_a_space_that_changed_is_searched_afresh(write_hardware_space, tmp_path):
    _, before = searched(write_hardware_space(), tmp_path / "out")
    _, after = searched(write_hardware_space({"layers = 3": "layers = 6"}), tmp_path / "out")
    assert len(before["entries"]) == len(after["entries"]) == 8
    assert after["chosen"]["paper"]["fastest"]["cycles"] > 1.8 * before["chosen"]["paper"]["fastest"]["cycles"]


def test_a_folder_of_something_else_is_left_alone(write_hardware_space, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="not an exploration and not empty"):
        searched(write_hardware_space(), tmp_path / "out")
    searched(write_hardware_space(), tmp_path / "other")
    with pytest.raises(RunDirectoryError, match="belongs to the exploration small"):
        searched(write_hardware_space({'name = "small"': 'name = "large"'}), tmp_path / "other")


def test_csv_and_tables_hold_the_pareto_set(write_hardware_space, tmp_path):
    _, record = searched(write_hardware_space(), tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO(pareto_csv(record))))
    points = pareto_points(record, "paper")
    assert [(row["method"], int(row["cycles"]), int(row["attention_p_dpu"])) for row in rows] == [
        (point["method"], point["cycles"], point["attention"][0]) for point in points
    ]
    assert {row["accuracy"] for row in rows if row["method"].startswith("Binary")} == {""}
    text = hardware_markdown(record)
    assert all(f"| {entry['method']} |" in text for entry in record["entries"])


def test_the_command_searches_and_prints_again(write_hardware_space, tmp_path):
    path, root = write_hardware_space(), tmp_path / "out"
    first = CliRunner().invoke(app, ["explore", str(path), "--out", str(root), "--json"])
    assert first.exit_code == 0, first.output
    record = json.loads(first.stdout)
    assert (record["kind"], record["points"], record["finished"]) == ("bat", 2 * 4 * 24**2, True)
    assert {"explore.json", "table.md", "pareto.csv", "page.html"} <= {each.name for each in root.iterdir()}
    again = CliRunner().invoke(app, ["explore", str(root)])
    assert again.exit_code == 0, again.output
    assert "4,608 points" in again.stdout
    refused = CliRunner().invoke(app, ["explore", str(path), "--out", str(root), "--jobs", "2"])
    assert refused.exit_code == 2
    assert "--jobs: only for explorations of trainings" in refused.stderr
