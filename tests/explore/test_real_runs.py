"""An exploration of real, tiny trainings on a short text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lutra.cli.commands import app
from lutra.explore import sweep
from lutra.frozen import store
from lutra.runs.files import RunFiles

SHORT_LUTRA = (sys.executable, str(Path(__file__).parents[1] / "fuzz" / "short_lutra.py"))
SPACE = """
seeds = [1]
set = { "hardware.rows" = 64 }
[[variant]]
name = "paper"
marked = true
[[variant]]
name = "bad"
set = { "hardware.rows" = 1024 }
"""


@pytest.fixture
def explored(write_space, tmp_path, monkeypatch):
    """`lutra explore` of SPACE with --json; returns what it printed and how it ended."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sweep.explore, "__defaults__", ("evaluate", SHORT_LUTRA, None))
    return CliRunner().invoke(
        app, ["explore", str(write_space(SPACE)), "--out", str(tmp_path / "out"), "--jobs", "2", "--json"]
    )


@pytest.mark.slow
def test_losses_costs_and_failures_of_real_runs(explored, tmp_path):
    record = json.loads(explored.stdout)
    good, bad = sorted(record["runs"], key=lambda run: run["variant"] == "bad")
    folder = tmp_path / "out" / good["run"]
    assert good["validation_loss"] == json.loads((folder / "evaluate.json").read_text())["validation_loss"]
    assert good["validation_loss"].keys() == {"float", "fake_quantised", "golden"}
    blocks = store.load(RunFiles(folder).frozen).graphs
    assert good["cost"]["additions_per_token"] == 12 * 12 / 2 * len(blocks)  # in two groups
    assert good["cost"]["luts"] == (24 + 12) * len(blocks)
    assert good["training_seconds"] > 0
    assert good["last_validation_loss"] >= good["validation_loss"]["fake_quantised"]
    assert bad["error"] == "hardware.rows: the validation data has fewer than 1024 rows"
    none, mlp = (next(b for b in record["baselines"] if b["ffn"] == ffn)["validation_loss"] for ffn in ("none", "mlp"))
    benefit = none["golden"] - mlp["golden"]
    expected = (none["golden"] - good["validation_loss"]["golden"]) / benefit if benefit > 0 else None
    assert good["recovery"] == expected
    assert explored.exit_code == 1
    assert "1 of 4 runs failed, the first runs/bad/seed-1: hardware.rows: the validation" in explored.stderr
    assert "4 done, 0 running, 0 left" in explored.stderr

    again = CliRunner().invoke(app, ["explore", str(tmp_path / "out"), "--json"])
    assert (again.exit_code, json.loads(again.stdout)) == (0, record)
    shown = CliRunner().invoke(app, ["explore", str(tmp_path / "out")])
    assert "paper (paper)" in shown.stdout
