"""The table against peers says of every system what was measured, or why nothing was."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def peers(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("peers")
    for name in ("peers", "peers_systems", "peers_digits", "harness", "whole_baselines"):
        sys.modules.pop(name, None)


def test_a_missing_or_failing_peer_is_a_row_and_the_others_are_measured(peers, monkeypatch, tmp_path, capsys):
    from peers_systems import Hardware, Trained

    def fails(seed):
        raise RuntimeError("no such\nmachine")

    systems = {
        "ours": (
            None,
            lambda seed: Trained(90.0 + seed, 2.0, lambda rows: lambda: rows, lambda: Hardware(7, 5, 3, "ok")),
        ),
        "gone": ("no-such-package-at-all", fails),
        "broken": ("torch", fails),
    }
    monkeypatch.setattr(peers, "SYSTEMS", systems)
    out = tmp_path / "record.json"

    def printed(*options):
        monkeypatch.setattr(sys, "argv", ["peers.py", "--out", str(out), *options])
        peers.main()
        return capsys.readouterr().out.splitlines()[2:]

    lines = printed("--seeds", "1", "3")
    rows = json.loads(out.read_text())["rows"]
    assert rows[0]["accuracies"] == [91.0, 93.0] and rows[0]["us_a_row_of_500"] < rows[0]["us_a_row_of_1"]
    ours, gone, broken = lines
    assert ours.startswith("| ours | 2 | 92.0 ± 1.4 | 2.0 | 7 | 5 | 3 |") and ours.endswith("| ok |")
    assert "not installed" in gone and "RuntimeError: no such machine" in broken
    assert len({line.count("|") for line in (ours, gone, broken)}) == 1
    systems["added"] = (None, lambda seed: Trained(50.0, 1.0, None, lambda: fails(seed)))
    again = printed("--seeds", "1")  # what is in the record is not measured again
    assert again[:3] == lines and again[3].startswith("| added | 1 | 50.0 |") and "RuntimeError" in again[3]
    assert printed("--read") == again


def test_the_row_without_a_hidden_part_comes_first(peers):
    assert next(iter(peers.SYSTEMS)).startswith("none")
    assert all(package is None or package.isidentifier() for package, _ in peers.SYSTEMS.values())


def test_the_task_is_the_same_for_every_seed_and_half_of_it_is_odd(peers):
    from peers_digits import digits, real

    data = digits()
    assert len(data.test) == 500 and data.train.min() == 0 and data.train.max() == 16
    assert 0.45 < data.train_labels.mean() < 0.55
    assert real(data.test).max() == 1 and data.accuracy(data.test_labels) == 100
