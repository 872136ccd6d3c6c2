"""Explorations in the record (runs are tested with the report's fabricated run)."""

import json

import pytest
from typer.testing import CliRunner

from fabricated_run import exploration, spread
from lutra.cli.commands import app
from lutra.errors import RunDirectoryError
from lutra.report.record import add_exploration


def explored(folder, loss):
    record = exploration(variants=[{"variant": "a", "loss": loss}])
    (folder / "explore.json").write_text(json.dumps(record))
    return record


def test_an_exploration_is_recorded_with_its_day(tmp_path):
    record = explored(tmp_path, spread(1.0))
    result = CliRunner().invoke(app, ["results", "add", str(tmp_path), "--into", str(tmp_path / "results"), "--json"])
    path = tmp_path / "results" / "explore" / "space.json"
    assert json.loads(result.stdout) == {"file": str(path)}
    recorded = json.loads(path.read_text())
    assert recorded.pop("recorded").startswith("20") and recorded.pop("format_version") == 1
    assert recorded == record


def test_nothing_finished_is_nothing_to_record(tmp_path):
    explored(tmp_path, None)
    with pytest.raises(RunDirectoryError, match="no variant has finished"):
        add_exploration(tmp_path, tmp_path / "results")
    assert not (tmp_path / "results").exists()
