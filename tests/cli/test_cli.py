"""The command line as a script sees it: stdout, stderr and exit status."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fabricated_run import make_finished_run, make_started_run
from lutra.cli.commands import app
from lutra.errors import MismatchError, ToolError
from lutra.recipes.kinds import KINDS
from lutra.runs import steps as run_module
from lutra.runs.files import write_json

COMMANDS = [
    "run",
    "train",
    "evaluate",
    "freeze",
    "rtl",
    "simulate",
    "synth",
    "cost",
    "report",
    "generate",
    "explore",
    "table",
    "results",
    "doctor",
]


def lutra(*arguments: object):
    """Run a command in this process; tests replace what it calls."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def step(monkeypatch):
    """Replaces every step by one function; returns the setter."""

    def replace(function):
        monkeypatch.setattr(run_module, "load_function", lambda _: function)

    return replace


def test_help_lists_every_command_without_loading_torch():
    source = (
        "import sys\nfrom lutra.cli.commands import main\nsys.argv = ['lutra', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\nassert not heavy, heavy"
    )
    ran = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"}
    )
    assert ran.returncode == 0, ran.stderr
    assert [name for name in COMMANDS if name not in ran.stdout] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    ran = lutra(name, "--help")
    assert ran.exit_code == 0
    assert "Usage" in ran.output


def test_a_step_prints_only_json_on_stdout(tmp_path, step, capfd):
    def noisy(files, recipe, **options):
        print("from the step")
        return {"designs": 3}

    step(noisy)
    make_started_run(tmp_path)
    ran = lutra("rtl", tmp_path, "--json")
    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == {"designs": 3, "finished": True}
    assert "from the step" in ran.stderr
    assert "rtl: done" in ran.stderr


def test_run_reports_steps_and_summary_as_json(tmp_path, step):
    files, _ = make_finished_run(tmp_path / "run")
    step(lambda files, recipe, **options: {})
    ran = lutra("run", files.recipe, "--out", files.root, "--from", "cost", "--to", "cost", "--json")
    assert ran.exit_code == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert list(result["steps"]) == ["cost"]
    assert result["summary"]["evaluate"]["recovery"] == 0.799


def test_run_prints_losses_proof_and_the_path_of_the_report(tmp_path, step):
    files, _ = make_finished_run(tmp_path / "run")

    def write_report(files, recipe):
        files.report.write_text("page")
        return {}

    step(write_report)
    ran = lutra("run", files.recipe, "--out", files.root, "--from", "report")
    assert ran.exit_code == 0, ran.stderr
    for text in ("1.7034", "1.6212", "2.0301", "F = all", "report:", "report.html"):
        assert text in ran.stdout
    assert ran.stdout.rstrip().endswith("report.html")


def test_simulate_passes_fold_factors_and_rows(tmp_path, step):
    given = {}
    step(lambda files, recipe, **options: given.update(options) or {})
    make_started_run(tmp_path)
    assert lutra("simulate", tmp_path, "--fold", 1, "--fold", "all", "--rows", 64).exit_code == 0
    assert given == {"fold_factors": [1, "all"], "rows": 64}


@pytest.mark.parametrize("fold", ["0", "-1", "many", "1.5"])
def test_a_wrong_fold_factor_is_wrong_input(tmp_path, fold):
    make_started_run(tmp_path)
    ran = lutra("simulate", tmp_path, f"--fold={fold}")
    assert ran.exit_code == 2
    assert ran.stderr == f'lutra: --fold {fold}: write an integer from 1, or "all"\n'


@pytest.mark.parametrize("result", [{"mismatches": 1, "cycles_match": True}, {"mismatches": 0, "cycles_match": False}])
def test_a_mismatch_fails_the_command_after_its_result(tmp_path, step, result):
    step(lambda files, recipe, **options: result)
    make_started_run(tmp_path)
    ran = lutra("simulate", tmp_path, "--json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["mismatches"] == result["mismatches"]
    assert "differs from the frozen model" in ran.stderr


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (
            MismatchError("block 0, output 3, row 7: RTL 4, golden 5"),
            1,
            "lutra: block 0, output 3, row 7: RTL 4, golden 5",
        ),
        (ToolError("verilator:\n  not found"), 1, "lutra: verilator: not found"),
        (KeyboardInterrupt(), 130, "lutra: interrupted; the same command goes on where it stopped"),
        (ZeroDivisionError("oh"), 1, "lutra: ZeroDivisionError: oh (unexpected; LUTRA_DEBUG=1 shows where)"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_status(tmp_path, step, monkeypatch, error, status, line):
    def fail(*_, **__):
        raise error

    monkeypatch.delenv("LUTRA_DEBUG", raising=False)
    step(fail)
    make_started_run(tmp_path)
    ran = lutra("rtl", tmp_path)
    assert ran.exit_code == status
    assert ran.stdout == ""
    assert ran.stderr == f"rtl ...\n{line}\n"


def test_debug_shows_the_traceback(tmp_path, step, monkeypatch):
    monkeypatch.setenv("LUTRA_DEBUG", "1")
    step(lambda *_, **__: {}["nothing"])
    make_started_run(tmp_path)
    ran = lutra("rtl", tmp_path)
    assert ran.exit_code == 1
    assert "Traceback" in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "missing.toml"],
        ["train", "missing"],
        ["report", "missing", "--json"],
        ["synth", "missing", "--liberty", "missing.lib"],
        ["results", "list", "--from", "missing"],
        ["generate", "missing", "--prompt", "x"],
    ],
)
def test_missing_files_are_wrong_input_in_one_line(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    ran = lutra(*arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1
    assert "missing" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert"],
        ["train"],
        ["run", "x", "--max-minutes", "soon"],
        ["generate", "x", "--prompt", "y", "--engine", "gpu"],
    ],
)
def test_wrong_usage_exits_with_2(arguments):
    ran = lutra(*arguments)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr


def test_another_recipe_in_the_same_folder_is_refused(tmp_path):
    files, _ = make_started_run(tmp_path / "run")
    ran = lutra("run", files.recipe, "--out", files.root, "--set", "train.iterations=7")
    assert ran.exit_code == 2
    assert "train.iterations is 2000 there and 7 here; choose another folder" in ran.stderr


def test_results_are_recorded_per_seed_and_listed(tmp_path):
    files, _ = make_finished_run(tmp_path / "run")
    record = tmp_path / "results"
    for _ in range(2):  # the second time replaces the first
        ran = lutra("results", "add", files.root, "--into", record, "--json")
        assert ran.exit_code == 0, ran.stderr
    entry = json.loads(ran.stdout)
    assert entry["evaluate"]["validation_loss"]["golden"] == 1.7034
    assert entry["steps"]["train"]["seconds"] == 431.0
    listed = json.loads(lutra("results", "list", "--from", record, "--json").stdout)
    assert [(found["recipe"]["name"], found["recipe"]["seed"]) for found in listed] == [("fabricated", 1337)]
    assert "0.799" in lutra("results", "list", "--from", record).stdout


def test_without_a_folder_the_own_record_and_the_one_that_comes_with_lutra_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = json.loads(lutra("results", "list", "--json").stdout)
    assert "gpt-mini" in {entry["recipe"]["name"] for entry in ours if "recipe" in entry}
    files, _ = make_finished_run(tmp_path / "run")
    assert lutra("results", "add", files.root).exit_code == 0
    both = json.loads(lutra("results", "list", "--json").stdout)
    assert both[0]["recipe"]["name"] == "fabricated" and len(both) == len(ours) + 1


def test_results_of_another_seed_stand_beside(tmp_path):
    record = tmp_path / "results"
    for seed in (2, 1):
        files, _ = make_finished_run(tmp_path / f"run{seed}")
        files.recipe.write_text(files.recipe.read_text().replace("seed = 1337", f"seed = {seed}"))
        assert lutra("results", "add", files.root, "--into", record).exit_code == 0
    listed = json.loads(lutra("results", "list", "--from", record, "--json").stdout)
    assert [found["recipe"]["seed"] for found in listed] == [1, 2]


def test_incomplete_or_stale_runs_are_not_recorded(tmp_path):
    started, _ = make_started_run(tmp_path / "started")
    ran = lutra("results", "add", started.root, "--into", tmp_path / "results")
    assert ran.exit_code == 2
    assert "has no evaluation" in ran.stderr
    finished, _ = make_finished_run(tmp_path / "finished")
    write_json(finished.simulate, json.loads(finished.simulate.read_text()) | {"frozen_hash": 64 * "0"})
    ran = lutra("results", "add", finished.root, "--into", tmp_path / "results")
    assert ran.exit_code == 2
    assert "simulate made from an earlier frozen model" in ran.stderr
    assert not tmp_path.joinpath("results").exists()


def test_generate_hands_its_options_to_the_model(tmp_path, monkeypatch):
    given = []
    fake = types.ModuleType("lutra.evaluate.language")
    fake.generate_from_run = lambda files, recipe, *options: given.append(options) or "ROMEO: and more"
    monkeypatch.setitem(sys.modules, "lutra.evaluate.language", fake)
    make_started_run(tmp_path)
    arguments = ["generate", tmp_path, "--prompt", "ROMEO:", "--characters", 9, "--seed", 3, "--engine", "runtime"]
    assert lutra(*arguments).stdout == "ROMEO: and more\n"
    assert given == [("ROMEO:", 9, 3, 0.8, "runtime")]
    assert json.loads(lutra(*arguments, "--json").stdout)["text"] == "ROMEO: and more"


def test_every_step_names_a_function_that_exists():
    functions = [step.function for kind in KINDS.values() for step in kind.steps]
    for kind in KINDS.values():
        functions += [
            kind.tables,
            kind.summarise,
            kind.require_complete,
            kind.results_table,
            *filter(None, [kind.generate]),
        ]
    for function in functions:
        module, name = function.split(":")
        source = Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(|import {name}$", source, re.MULTILINE), function


LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": 1000,
}


def test_table_of_a_model_of_your_own(tmp_path):
    write_json(tmp_path / "config.json", LLAMA)
    result = lutra("table", "quweit-1", "--config", tmp_path / "config.json", "--tokens", 100, "--json")
    assert result.exit_code == 0
    rows = {row["quantity"]: row["ours"] for row in json.loads(result.stdout)["rows"]}
    assert rows["QKV, weights"] == 3 * 64 * (64 + 2 * 16)
    assert rows["MLP 1, MACs per sequence"] == 3 * 100 * 64 * 160 * 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["quweit-1", "--config", "none.json"], "none.json: cannot read the configuration"),
        (["quweit-4", "--config", "none.json"], "--config: the table of a model's workload is quweit-1, not quweit-4"),
        (["quweit-1", "--tokens", "5"], "--tokens: only with --config"),
        (
            ["quweit-4", "--figure", "x.svg"],
            "--figure: the tables with a figure are quweit-fig1, bmt-fig10, bmt-fig11, bmt-fig12, not quweit-4",
        ),
    ],
)
def test_wrong_options_of_tables_are_one_line(arguments, problem):
    result = lutra("table", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("lutra: ") and problem in result.stderr and result.stderr.count("\n") == 1


def test_table_with_its_figure(tmp_path):
    result = lutra("table", "quweit-fig1", "--figure", tmp_path / "figure.svg", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["name"] == "quweit-fig1"
    committed = Path(__file__).parents[2] / "docs" / "quweit_fig1.svg"
    assert (tmp_path / "figure.svg").read_text() == committed.read_text(), "run `python docs/draw.py` again"
